"""Where a figure or an adapter comes from: the commit of the code and the day."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ASIDE = ("adapters", "docs", "README.md", "CHANGELOG.md")
"""Adapters, which have digests of their own, and words do not change what the code computes; sets, templates and pinned
packages do."""

CODE = ("assistant/*.py", "eval/*.py")
"""Where a file that git does not know yet is imported all the same."""


def commit() -> str | None:
    """The commit of the code in short form, "+" after it where what lies here differs from it; None outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        kept = [f":(exclude){name}" for name in ASIDE]
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *kept)
        added = _git("ls-files", "--others", "--exclude-standard", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed or added else "")


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
