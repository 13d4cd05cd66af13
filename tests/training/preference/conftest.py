"""A folder to learn preferences in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import write_base


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny base and pairs whose taste is plain: the answer in small letters is the better one."""
    write_base(tmp_path / "base")
    rows = [
        {"prompt": f"question {n}", "chosen": f"{chr(97 + n % 7) * 4}", "rejected": f"{chr(65 + n % 7) * 4}"}
        for n in range(24)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAPBOARD_BASE", "base")
    monkeypatch.setenv("SWAPBOARD_DTYPE", "float32")
    return tmp_path
