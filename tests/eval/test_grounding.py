"""The threshold of grounding: what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.grounding import main


@pytest.mark.parametrize("source", ["policy=train.jsonl", "train.jsonl"])
def test_a_source_without_a_task_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    assert main(["--data", source, "--out", str(tmp_path / "r.json")]) == 1
    assert f"--data '{source}': allowed is TASK=PATH with one of qa, " in capsys.readouterr().err
