"""The command: what it asks, writes, records and refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from assistant.catalog import Catalog
from assistant.errors import EvaluationError
from assistant.messages import ChatRequest, Done, Failed, Part, Route, StreamEvent, TextDelta, Timing, Usage
from eval import record
from eval import run as command
from eval.run import TASKS, choose_prompt, main, measure_task
from eval.tasks.sentiment import Sentiment
from tests.fakes import write_adapter


class Reader:
    """Answers "positive" to texts that say "good", else "negative"; counts how many run at once."""

    base_digest = "b" * 64
    base_name = "fake-base"

    def __init__(self, catalog: Catalog | None = None, fails: bool = False) -> None:
        self.catalog, self.fails = catalog, fails
        self.backend = self
        self.seen: list[ChatRequest] = []
        self.running = self.most = 0
        self.is_started = False

    async def start(self) -> None:
        self.is_started = True

    async def stop(self) -> None:
        self.is_started = False

    async def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        self.seen.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        if self.fails:
            yield Failed(status=429, code="queue_full", message="too many")
            return
        text = "positive" if "good" in request.messages[-1].content else "negative"
        yield TextDelta(index=0, text=text)
        route = Route(adapter=request.adapter, confidence=1, reason="chosen by you", text="")
        part = Part(
            route=route,
            digest=None,
            decoding=request.decoding,
            text=text,
            finish_reason="stop",
            usage=Usage(),
            timing=Timing(),
        )
        yield Done(turn_id="t", parts=(part,))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """The command in an empty folder with a fake service and one adapter."""
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "mood")
    reader = Reader(Catalog(tmp_path / "adapters"))
    monkeypatch.setattr(command, "build_store", lambda settings: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(command, "build_service", lambda settings, store: reader)
    rows = [{"id": n, "text": word, "label": label} for n, (word, label) in
            enumerate([("good", "positive"), ("bad", "negative"), ("so good", "positive"), ("fine", "positive")])]  # fmt: skip
    (tmp_path / "reviews.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return reader


def test_result_holds_metrics_provenance_and_every_answer(service: Reader, tmp_path: Path) -> None:
    arguments = ["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "results/mood.json"]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "results" / "mood.json").read_text())
    assert result["metrics"]["accuracy"]["value"] == 0.75
    assert result["metrics"]["accuracy"]["low"] <= 0.75 <= result["metrics"]["accuracy"]["high"]
    assert result["adapter_digest"] == Catalog(tmp_path / "adapters").get("mood").digest
    assert result["base_digest"] == service.base_digest
    assert result["command"] == "python -m eval.run " + " ".join(arguments)
    assert result["mode"] == "tuned"
    assert result["count"] == 4
    assert [example["answer"] for example in result["examples"]] == ["positive", "negative", "positive", "negative"]
    assert not service.is_started


def test_adapter_is_asked_as_users_ask_it(service: Reader) -> None:
    main(["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "r.json"])
    assert service.seen[0].messages[0].content == "good"
    assert len(service.seen[0].messages) == 1
    assert service.seen[0].decoding.model_fields_set == {"temperature"}


def test_limit_draws_at_random_and_modes_change_the_prompt(service: Reader, tmp_path: Path) -> None:
    assert (
        main(
            ["--task", "sentiment", "--data", "reviews.jsonl", "--mode", "few-shot", "--limit", "2", "--out", "r.json"]
        )
        == 0
    )
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["count"] == 2
    assert result["adapter"] == "base"
    assert len(service.seen[0].messages) == 17


async def test_requests_run_side_by_side_within_the_bound() -> None:
    reader = Reader()
    records = [{"id": n, "text": "good", "label": "positive"} for n in range(20)]
    await measure_task(reader, Sentiment(), Sentiment.prompts[0], records, "base", concurrency=5)
    assert reader.most == 5


async def test_failed_request_ends_the_run_with_its_example() -> None:
    records = [{"id": "r1", "text": "good", "label": "positive"}]
    with pytest.raises(EvaluationError, match="example r1 of sentiment failed: queue_full"):
        await measure_task(Reader(fails=True), Sentiment(), Sentiment.prompts[0], records, "base", 1)


async def test_empty_run_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="no examples"):
        await measure_task(Reader(), Sentiment(), Sentiment.prompts[0], [], "base", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--task sentiment --mode tuned", "asks an adapter"),
        ("--task sentiment --limit 0", "--limit 0"),
        ("--task sentiment --concurrency 0", "--concurrency 0"),
        ("--task sentiment --prompt shout", "allowed: one-word, review"),
        ("--task routing --adapter mood", "routing asks no adapter"),
        ("--task sentiment --adapter modo", "near matches: mood"),
        ("--task sentiment --data absent.jsonl", "absent.jsonl: cannot be read"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    service: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert main([*arguments.split(), "--out", "r.json"]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


def test_recorded_scores_stand_on_the_card_beside_the_base(service: Reader, tmp_path: Path) -> None:
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--out", "base.json"]) == 0
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "mood.json"]) == 0
    assert record.main(["mood.json", "--against", "base.json"]) == 0
    scores = {score.metric: score for score in Catalog(tmp_path / "adapters").get("mood").card.scores}
    assert scores["accuracy"].value == scores["accuracy"].base == 0.75
    assert scores["accuracy"].command.splitlines() == [
        "python -m eval.run --task sentiment --data reviews.jsonl --out base.json",
        "python -m eval.run --task sentiment --data reviews.jsonl --adapter mood --out mood.json",
    ]


@pytest.mark.parametrize(
    ("result", "against", "message"),
    [
        ("mood.json", "own.json", "data: the adapter has 'reviews.jsonl', the base 'own'"),
        ("own.json", "own.json", "allowed: an adapter against base"),
        ("mood.json", "absent.json", "absent.json: cannot be read"),
        ("mood.json", "adapters/mood/card.json", "not a result of eval.run"),
    ],
)
def test_scores_that_cannot_be_compared_are_not_recorded(
    service: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str], result: str, against: str, message: str
) -> None:
    assert main(["--task", "sentiment", "--out", "own.json"]) == 0
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "mood.json"]) == 0
    assert record.main([result, "--against", against]) == 1
    assert message in capsys.readouterr().err
    assert Catalog(tmp_path / "adapters").get("mood").card.scores == ()


def test_scores_of_another_revision_are_not_recorded(service: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--out", "base.json"]) == 0
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "mood.json"]) == 0
    write_adapter(Path("other"), fill=0.25)
    Path("other/adapter_model.safetensors").replace("adapters/mood/adapter_model.safetensors")
    assert record.main(["mood.json", "--against", "base.json"]) == 1
    assert "another revision of 'mood'" in capsys.readouterr().err


def test_prompt_of_an_adapter_is_the_plain_one_unless_told() -> None:
    for task in TASKS.values():
        assert choose_prompt(task, "any", None, None).name == "plain"
        assert choose_prompt(task, "base", None, None).mode == "prompt"
