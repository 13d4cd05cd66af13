"""Where figures come from: which changes the commit tells of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from assistant.training import provenance
from assistant.training.provenance import commit

FILES = (
    "assistant/a.py",
    "eval/tasks/data/qa.jsonl",
    "adapters/qa/card.json",
    "docs/a.md",
    "README.md",
    "CHANGELOG.md",
)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose files are all committed."""
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    told = commit()
    assert told is not None and len(told) == 12


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("assistant/a.py", True),
        ("eval/tasks/data/qa.jsonl", True),
        ("assistant/new.py", True),
        ("eval/tasks/new.py", True),
        ("eval/notes.txt", False),
        ("new.py", False),
        ("eval/__pycache__/new.py", False),
        ("adapters/qa/card.json", False),
        ("docs/a.md", False),
        ("README.md", False),
        ("CHANGELOG.md", False),
    ],
)
def test_a_plus_tells_of_what_may_change_what_is_computed(checkout: Path, name: str, counts: bool) -> None:
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("new")
    assert (commit() or "").endswith("+") == counts


def test_outside_a_checkout_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert commit() is None
