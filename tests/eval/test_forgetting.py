"""Forgetting: what is measured before, on and off, and that off must be the base itself."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from assistant.errors import DataError
from assistant.messages import ChatRequest, CompletionRequest, StreamEvent
from eval import forgetting
from eval.forgetting import (
    AFTER,
    BEFORE,
    CONTROL,
    IN_ONE_BATCH,
    IN_TURN,
    ON,
    Abilities,
    Shown,
    main,
    state,
)
from eval.tasks.chat import CHAT
from eval.tasks.scorers import holds_accepted
from tests.eval.speaker import Speaker
from tests.fakes import write_adapter


class Unloading(Speaker):
    """The base says "Paris" and finds a character half likely; the adapter says "positive" and finds it 1/8 likely.

    With `leaks`, an adapter that was once on goes on changing the base.
    """

    def __init__(self, adapters: Path, leaks: float = 0.0) -> None:
        super().__init__(adapters, self.surprise_of, self.answer_of)
        self.leaks, self.was_on = leaks, False
        self.unloaded: list[str] = []

    def surprise_of(self, adapter: str, before: str, character: str) -> float:
        self.was_on |= adapter != "base"
        return math.log(0.5 if adapter == "base" else 0.125) - (self.leaks if self.was_on else 0.0)

    def answer_of(self, request: ChatRequest) -> str:
        return "It is Paris." if request.adapter == "base" else "positive"

    async def unload_adapter(self, name: str) -> None:
        self.unloaded.append(name)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "mood")
    Path("texts.txt").write_text("abcde\nfgh\n")
    rows = [{"id": "1", "question": "Capital of France?", "accepted": ["Paris"]}, {"id": "2", "question": "Capital of Peru?", "accepted": ["Lima"]}]  # fmt: skip
    Path("questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, speaker: Speaker, *more: str) -> int:
    monkeypatch.setattr(forgetting, "measured_service", speaker.measured_service)
    given = ["--adapter", "mood", "--text", "texts.txt", "--questions", "questions.jsonl", *more, "--out", "r.json"]
    return main(given)


def test_adapter_on_costs_and_adapter_off_is_the_base(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Perplexity is 1 / P: 2 for the base and 8 for the adapter. The base knows one of two capitals, the adapter none.

    Six tokens are scored: 4 of "abcde" and 2 of "fgh".
    """
    speaker = Unloading(files / "adapters")
    assert run(monkeypatch, speaker) == 0
    result = json.loads(Path("r.json").read_text())
    assert result["data_digest"].keys() == {"text", "questions"}
    states = {entry["state"]: entry for entry in result["states"]}
    assert list(states) == [BEFORE, CONTROL, "adapter on", IN_TURN, IN_ONE_BATCH, AFTER]
    values = {what: entry["metrics"]["perplexity"]["value"] for what, entry in states.items()}
    assert values == pytest.approx({what: 8 if what == "adapter on" else 2 for what in states})
    bits = {what: entry["metrics"]["bits_per_byte"]["value"] for what, entry in states.items()}
    assert bits == pytest.approx({what: 3 if what == "adapter on" else 1 for what in states}), (
        "the first is not paid for"
    )
    on = states["adapter on"]
    assert on["difference"]["perplexity"]["value"] == pytest.approx(6)
    assert on["difference"]["accuracy"]["value"] == -0.5
    assert (on["tokens"], on["different_logprobs"], on["different_answers"]) == (6, 6, 2)
    assert on["largest_difference"] == pytest.approx(math.log(4))
    assert "accuracy" not in states[IN_TURN]["metrics"], "only the log-probabilities are of interest there"
    for what in (IN_TURN, IN_ONE_BATCH, AFTER):
        assert (states[what]["different_logprobs"], states[what]["largest_difference"]) == (0, 0)
    assert speaker.unloaded == ["mood"]


def test_base_that_is_changed_by_a_hair_ends_the_run(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, Unloading(files / "adapters", leaks=1e-9)) == 1
    assert "6 of 6 log-probabilities differ from the base's, by up to 1.00e-09" in capsys.readouterr().err
    assert not Path("r.json").exists()


class Crowded(Unloading):
    """The base, too, says something else and finds a character 1/4 likely while other requests run beside it."""

    def __init__(self, adapters: Path) -> None:
        super().__init__(adapters)
        self.running = 0

    def surprise_of(self, adapter: str, before: str, character: str) -> float:
        return math.log(0.25) if adapter == "base" and self.running > 1 else super().surprise_of(adapter, before, character)  # fmt: skip

    def answer_of(self, request: ChatRequest) -> str:
        return "It is Lima." if request.adapter == "base" and self.running > 1 else super().answer_of(request)

    async def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        async for event in self._beside_others(super().reply(request)):
            yield event

    async def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        async for event in self._beside_others(super().complete(request)):
            yield event

    async def _beside_others(self, events: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        self.running += 1
        await asyncio.sleep(0)
        found = [event async for event in events]
        await asyncio.sleep(0)
        self.running -= 1
        for event in found:
            yield event


def test_adapter_that_is_on_is_held_against_the_base_that_was_asked_as_many_at_a_time(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perplexity is 2 for the base alone, 4 for it among others, and 8 for the adapter, which is 4 more than that."""
    assert run(monkeypatch, Crowded(files / "adapters")) == 0
    states = {entry["state"]: entry for entry in json.loads(Path("r.json").read_text())["states"]}
    assert states[CONTROL]["difference"]["perplexity"]["value"] == pytest.approx(2)
    assert states[CONTROL]["different_answers"] == 2
    assert states[ON]["difference"]["perplexity"]["value"] == pytest.approx(4)
    assert states[ON]["largest_difference"] == pytest.approx(math.log(2))
    assert {what: entry["against"] for what, entry in states.items()} == {
        what: CONTROL if what == ON else BEFORE for what in states
    }
    assert states[IN_TURN]["different_logprobs"] == states[AFTER]["different_logprobs"] == 0


def test_adapter_that_is_replaced_meanwhile_ends_the_run(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speaker = Unloading(files / "adapters")

    def replacing(request: ChatRequest) -> str:
        if request.adapter == "mood" and not Path("other").exists():
            write_adapter(Path("other"), fill=0.25)
            Path("other/adapter_model.safetensors").replace("adapters/mood/adapter_model.safetensors")
        return "positive"

    speaker.answer = replacing
    assert run(monkeypatch, speaker) == 1
    assert "adapter 'mood' was replaced while it was measured" in capsys.readouterr().err


def test_base_folder_is_served_on_its_own(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("whole").mkdir()
    served: list[str] = []
    speaker = Unloading(files / "adapters")

    def service(settings):  # type: ignore[no-untyped-def]
        served.append(settings.base)
        return speaker.measured_service()

    monkeypatch.setattr(forgetting, "measured_service", service)
    arguments = ["--base-folder", "whole", "--text", "texts.txt", "--questions", "questions.jsonl", "--out", "r.json"]
    assert main(arguments) == 0
    assert served[1:] == ["whole"]
    assert json.loads(Path("r.json").read_text())["states"][-1]["name"] == "whole"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare"),
        (["--base-folder", "nowhere"], "no such folder"),
        (["--adapter", "modo"], "near matches: mood"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_asked(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*arguments, "--out", "r.json"]) == 1
    assert message in capsys.readouterr().err


def test_another_tokenisation_is_not_compared_token_by_token() -> None:
    abilities = Abilities(({"text": "abc"},), ({"id": "1", "question": "q", "accepted": ["x"]},))
    entry = state("another base", "b", Shown(((-1.0,),), (2,), ("x",)), Shown(((-1.0, -1.0),), (2,), ("y",)), abilities)
    assert entry["different_logprobs"] is None
    assert entry["different_answers"] == 1
    assert entry["difference"]["accuracy"].value == 1


def test_accepted_answer_must_stand_as_whole_words() -> None:
    assert holds_accepted("The capital is Paris, of course.", ["Paris"]) == 1
    assert holds_accepted("Parisian", ["Paris"]) == 0
    assert holds_accepted("It has eight legs.", ["8", "eight"]) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"accepted": "Paris"}, "accepted is 'Paris'; allowed: a list of one or more texts"),
        ({"accepted": []}, r"accepted is \[\]; allowed: a list"),
        ({"accepted": ["Paris", 7]}, "allowed: a list of one or more texts"),
        ({"accepted": ["Paris", "A."]}, "accepted has 'A.'; allowed: texts with more in them than articles"),
        ({"question": ["Where?"]}, r"question is \['Where\?'\]; allowed: words"),
    ],
)
def test_question_that_anything_or_nothing_would_answer_is_refused(
    tmp_path: Path, row: dict[str, object], message: str
) -> None:
    good = {"id": "1", "question": "Where?", "accepted": ["Paris"]}
    (tmp_path / "q.jsonl").write_text(f"{json.dumps(good)}\n\n{json.dumps(good | row)}")
    with pytest.raises(DataError, match=rf"q\.jsonl:3: .*{message}"):
        CHAT.load(str(tmp_path / "q.jsonl"))


def test_own_questions_are_enough_and_differ() -> None:
    rows = [item.record for item in CHAT.load(None)]
    assert len(rows) >= 40
    assert len({row["question"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert all(holds_accepted(text, row["accepted"]) for text in row["accepted"])
        assert not holds_accepted(row["question"], row["accepted"]), "the question gives its answer away"
