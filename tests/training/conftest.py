"""A folder to train in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import write_base


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny base and a small data file, as the current one."""
    write_base(tmp_path / "base")
    reviews = [{"text": f"{word} film {n}", "label": label} for n in range(8) for word, label in
               (("good", "positive"), ("bad", "negative"))]  # fmt: skip
    (tmp_path / "reviews.jsonl").write_text("\n".join(map(json.dumps, reviews)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAPBOARD_BASE", "base")
    monkeypatch.setenv("SWAPBOARD_DTYPE", "float32")
    return tmp_path
