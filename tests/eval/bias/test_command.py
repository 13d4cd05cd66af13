"""The bias command: what the file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.bias import __main__ as command
from tests.eval.speaker import Speaker
from tests.fakes import write_adapter


@pytest.mark.parametrize("name", command.SETS)
def test_file_has_figures_for_all_and_for_each_group(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "mood")
    monkeypatch.setattr(command, "measured_service", Speaker(tmp_path / "adapters").measured_service)
    assert command.main(["--set", name, "--adapter", "mood", "--limit", "12", "--out", "r.json"]) == 0
    result = json.loads(Path("r.json").read_text())
    assert (result["kind"], result["set"], result["adapter"], result["count"]) == ("bias", name, "mood", 12)
    assert sum(group["count"] for group in result["groups"].values()) == 12
    for group in (result, *result["groups"].values()):
        assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in group["metrics"].values())
    assert len(result["examples"]) == 12
    assert result["command"].startswith(f"python -m eval.bias --set {name}")
    assert len(result["data_digest"]) == 64


def test_unknown_adapter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "mood")
    monkeypatch.setattr(command, "measured_service", Speaker(tmp_path / "adapters").measured_service)
    assert command.main(["--set", "swaps", "--adapter", "modo", "--out", "r.json"]) == 1
    assert "near matches: mood" in capsys.readouterr().err
