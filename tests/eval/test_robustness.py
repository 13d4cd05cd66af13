"""Robustness: what is noised, what is counted, and what the file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.messages import Decoding, Part, Route, Timing, Usage
from assistant.training.data import Item
from eval import robustness
from eval.measure import score
from eval.robustness import main, noised, point
from eval.tasks.interface import Outcome
from eval.tasks.registry import TASKS
from tests.eval.speaker import Speaker
from tests.fakes import write_adapter

ROWS = [("good", "positive"), ("bad", "negative"), ("so good", "positive"), ("fine", "positive")]


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    """A service that says "positive" where it reads "good", and a file of four reviews."""
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "mood")
    speaker = Speaker(tmp_path / "adapters")
    monkeypatch.setattr(robustness, "measured_service", speaker.measured_service)
    rows = [{"id": n, "text": text, "label": label} for n, (text, label) in enumerate(ROWS)]
    Path("reviews.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return speaker


def ask(*more: str) -> dict:
    arguments = ["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", *more, "--out", "r.json"]
    assert main(arguments) == 0
    return json.loads(Path("r.json").read_text())


def test_rate_zero_is_the_clean_score_exactly_and_is_asked_once(speaker: Speaker) -> None:
    result = ask("--kinds", "typos", "slang", "--rates", "0", "1")
    for points in result["curves"].values():
        assert points[0]["rate"] == 0
        assert points[0]["metrics"] == result["metrics"]
        assert points[0]["changed"] == 0
        assert points[0]["drop"]["accuracy"] == {"value": 0, "low": 0, "high": 0, "p": 1}
    assert len(speaker.chats) == 4 * (1 + 2)
    assert len(result["data_digest"]) == 64


def test_drop_is_the_mean_of_the_paired_differences(speaker: Speaker) -> None:
    """Clean: 3 of 4 right ("fine" is not). With every word mistyped "good" is never read: only "bad" is right.

    Differences 1, 0, 1, 0: a drop of 0.5.
    """
    points = ask("--kinds", "typos", "--rates", "1")["curves"]["typos"]
    assert [at["rate"] for at in points] == [0, 1]
    assert points[1]["metrics"]["accuracy"]["value"] == 0.25
    assert points[1]["drop"]["accuracy"]["value"] == 0.5
    assert points[1]["drop"]["accuracy"]["low"] <= 0.5 <= points[1]["drop"]["accuracy"]["high"]
    assert points[1]["changed"] == 1.0
    assert "f1" not in points[1]["drop"], "macro F1 is no mean over the examples"


def test_noise_hits_what_the_user_says_and_nothing_else() -> None:
    for task, field in (("qa", "question"), ("sentiment", "text")):
        for item in TASKS[task].load(None):
            noisy = noised(item, "typos", 1.0, 0).record
            assert {name for name in item.record if noisy[name] != item.record[name]} == {field}


def test_record_without_text_is_refused(speaker: Speaker, capsys: pytest.CaptureFixture[str]) -> None:
    Path("short.jsonl").write_text('{"abbreviation": "bd", "meaning": "twice daily"}')
    assert main(["--task", "medical", "--data", "short.jsonl", "--out", "r.json"]) == 1
    assert "short.jsonl:1: nothing is noised in abbreviation records; allowed: " in capsys.readouterr().err
    assert not speaker.chats


def test_drop_of_graded_scores() -> None:
    """F1 1 and 0.5 clean, 0.5 and 0.5 noisy: drops 0.5 and 0, mean 0.25."""
    kind = TASKS["qa"].measured[0].kind
    records = [{"id": n, "context": "c", "question": "q", "answers": [a]} for n, a in enumerate(["old mill", "May"])]
    items = [Item(kind, record, "here") for record in records]

    def scored(*answers: str) -> Outcome:
        return score(TASKS["qa"], items, [part(answer) for answer in answers], [1.0] * len(answers))

    at = point(0.1, items, items, scored("old mill", "in May two"), scored("mill two", "in May two"))
    assert at["drop"]["f1"].value == pytest.approx(0.25)
    assert at["drop"]["em"].value == 0.5


def part(text: str) -> Part:
    route = Route(adapter="qa", confidence=1, reason="", text="")
    end = {"finish_reason": "stop", "usage": Usage(), "timing": Timing()}
    return Part(route=route, digest=None, decoding=Decoding(), text=text, **end)


@pytest.mark.parametrize(
    ("more", "message"),
    [(["--rates", "2"], "allowed are numbers from 0 to 1"), (["--adapter", "auto"], "would measure the router")],
)
def test_options_out_of_bounds_are_refused(
    speaker: Speaker, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(["--task", "sentiment", *more, "--out", "r.json"]) == 1
    assert message in capsys.readouterr().err
    assert not Path("r.json").exists()


@pytest.mark.parametrize("rates", [["nan"], ["0.2", "nan", "0.1"], ["inf"]])
def test_rates_that_are_not_finite_are_refused(capsys: pytest.CaptureFixture[str], rates: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--task", "sentiment", "--out", "r.json", "--rates", *rates])
    assert "allowed are finite numbers" in capsys.readouterr().err
