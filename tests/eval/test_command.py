"""What the commands have in common: what cannot be measured or written is refused before anything is measured."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from assistant.errors import EvaluationError
from eval import run as measuring
from eval.command import Result, add_common, check_out, run_command
from eval.gate import __main__ as gate
from eval.loop import __main__ as loop


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a folder and a file in it."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("mine")
    return tmp_path


def test_the_folder_is_made_and_nothing_else(place: Path) -> None:
    check_out(Path("new/deep/r.json"))
    assert list(Path("new/deep").iterdir()) == []
    check_out(Path("file"))
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("folder", "--out folder: this is a folder; allowed: a file"),
        ("file/r.json", "--out file/r.json: cannot be written: .*; allowed: a file in a folder that can be written to"),
        ("/proc/r.json", "--out /proc/r.json: cannot be written"),
        ("x" * 300, "cannot be written: .*too long"),
    ],
)
def test_what_cannot_be_written_is_refused(place: Path, out: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        check_out(Path(out))


@pytest.mark.parametrize(
    ("given", "message"), [("0", "--concurrency 0"), ("100", "--concurrency 100: allowed are 1 to 72")]
)
def test_more_requests_than_the_service_takes_in_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], given: str, message: str
) -> None:
    async def measure(options: argparse.Namespace) -> Result:
        raise AssertionError("measured")

    parser = argparse.ArgumentParser()
    add_common(parser)
    assert run_command("eval.x", parser, ["--concurrency", given, "--out", "r.json"], measure, print) == 1
    assert message in capsys.readouterr().err
    asked = ["--candidate", "c", "--against", "base", "--aim", "qa:f1", "--tasks", "qa", "--concurrency", given]
    assert gate.main([*asked, "--out", "r.json"]) == 1
    assert message in capsys.readouterr().err


def test_a_command_that_asks_nobody_takes_no_adapter_and_no_requests() -> None:
    parser = argparse.ArgumentParser()
    add_common(parser, asks=False)
    assert vars(parser.parse_args(["--out", "r.json"])).keys() == {"limit", "seed", "out"}


def test_every_command_looks_before_it_measures(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measure(options: argparse.Namespace) -> Result:
        raise AssertionError("measured")

    def measured(*given: object) -> None:
        raise AssertionError("measured")

    parser = argparse.ArgumentParser()
    add_common(parser)
    assert run_command("eval.x", parser, ["--out", "folder"], measure, print) == 1
    monkeypatch.setattr(measuring, "_measure", measured)
    assert measuring.main(["--task", "sentiment", "--out", "folder"]) == 1
    monkeypatch.setattr(gate, "judge", measured)
    asked = ["--candidate", "c", "--against", "base", "--aim", "qa:f1", "--tasks", "qa"]
    assert gate.main([*asked, "--out", "folder"]) == 1
    monkeypatch.setattr(loop, "circle", measured)
    assert loop.main(["--taste", "shorter", "--out", "file"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].split(": ")[0] for line in told] == [
        *["--out folder"] * 3,
        "--out file/report.json",
    ]
