"""Where a figure or an adapter comes from: the commit of the code and the day."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit() -> str | None:
    """The commit of the code in short form, "+" after it where tracked files differ; None outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        # Adapters and documents do not change what the code computes.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
