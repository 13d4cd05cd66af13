"""The command: what it asks, writes, records and refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from assistant.catalog import Catalog
from assistant.errors import EvaluationError
from assistant.messages import (
    ChatRequest,
    CompletionRequest,
    Done,
    Failed,
    Part,
    Route,
    StreamEvent,
    TextDelta,
    Timing,
    TokenScore,
    Usage,
)
from assistant.training.data import Item
from assistant.training.tasks.sentiment import REVIEW
from eval import ask, record
from eval import run as command
from eval.measure import Asked, choose_prompts, measure_task
from eval.results import Result, check_same_examples, read_result
from eval.run import main
from eval.tasks.legal import LEGAL
from eval.tasks.registry import TASKS
from eval.tasks.sentiment import SENTIMENT
from tests.fakes import write_adapter


class Reader:
    """Answers "positive" to texts that say "good", else "negative", in one token; counts how many run at once."""

    base_digest = "b" * 64
    base_name = "fake-base"

    def __init__(self, catalog: Catalog | None = None, fails: bool = False) -> None:
        self.catalog, self.fails = catalog, fails
        self.backend = self
        self.seen: list[ChatRequest] = []
        self.running = self.most = 0

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
        asks = request.decoding.logprobs is not None
        part = Part(
            route=Route(adapter=request.adapter, confidence=1, reason="chosen by you", text=""),
            digest=self.catalog.get(request.adapter).digest if self.catalog and request.adapter != "base" else None,
            decoding=request.decoding,
            text=text,
            finish_reason="stop",
            usage=Usage(prompt_tokens=9, completion_tokens=2),
            timing=Timing(),
            scores=(TokenScore(token=text, token_id=1, logprob=-0.1),) if asks else (),
        )
        yield Done(turn_id="t", parts=(part,))

    def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        raise AssertionError("no raw text is asked here")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """The command in an empty folder with a fake service and one adapter."""
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "adapters" / "mood", decoding={"max_tokens": 8})
    reader = Reader(Catalog(tmp_path / "adapters"))

    @asynccontextmanager
    async def measured_service(settings: object) -> AsyncIterator[Reader]:
        yield reader

    monkeypatch.setattr(command, "measured_service", measured_service)
    rows = [("good", "positive"), ("bad", "negative"), ("so good", "positive"), ("fine", "positive")]
    lines = [json.dumps({"id": n, "text": word, "label": label}) for n, (word, label) in enumerate(rows)]
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines))
    return reader


def items(*texts: str) -> list[Item]:
    return [Item(REVIEW, {"id": f"r{n}", "text": text, "label": "positive"}, "") for n, text in enumerate(texts)]


PLAIN = {REVIEW: SENTIMENT.measured[0].prompts[0]}


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
    assert result["config"]["prompts"] == {"sentiment": "plain"}
    assert result["count"] == 4
    assert [example["answer"] for example in result["examples"]] == ["positive", "negative", "positive", "negative"]
    assert [example["accuracy"] for example in result["examples"]] == [1, 1, 1, 0]
    assert result["confusion"] == {
        "sentiment": {"positive": {"positive": 2, "negative": 1}, "negative": {"negative": 1}}
    }


def test_the_commit_is_that_of_the_code_that_measured(
    service: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "commit", lambda: "later" if service.seen else "c0ffee")
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--out", "r.json"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["commit"] == "c0ffee"


def test_cost_is_tokens_and_seconds_of_an_answer(
    service: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on by 0.5 s whenever it is read, so once for each answer. 2 tokens in 0.5 s: 4 a second."""
    monkeypatch.setattr(ask, "perf_counter", count(0, 0.5).__next__)
    main(["--task", "sentiment", "--data", "reviews.jsonl", "--concurrency", "1", "--out", "r.json"])
    cost = json.loads((tmp_path / "r.json").read_text())["cost"]
    assert {name: measure["value"] for name, measure in cost.items()} == {
        "tokens": 2,
        "seconds": 0.5,
        "tokens_per_second": 4,
    }


def test_adapter_is_asked_as_users_ask_it(service: Reader) -> None:
    main(["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "r.json"])
    assert service.seen[0].messages[0].content == "good"
    assert len(service.seen[0].messages) == 1
    assert service.seen[0].decoding.model_fields_set == {"temperature", "logprobs"}


def test_adapter_for_many_tasks_is_asked_with_the_whole_instruction(service: Reader, tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "all", task="instruct")
    main(["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "all", "--out", "r.json"])
    assert service.seen[0].messages[0].content.startswith("Is the sentiment of this text positive or negative?")


def test_answers_are_held_to_spans_where_told(service: Reader) -> None:
    told = ["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--out", "r.json"]
    main([*told, "--constraint", "span"])
    assert service.seen[0].decoding.model_fields_set == {"temperature", "logprobs", "constraint"}
    assert service.seen[0].decoding.constraint == "span"
    assert json.loads(Path("r.json").read_text())["config"]["decoding"]["sentiment"]["constraint"] == "span"


def test_base_trained_whole_is_asked_with_the_template_and_decoding_of_its_card(
    service: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tuned").mkdir()
    card = {"task": "sentiment", "template": {"system": "Judge.", "user": "{input} ?"}, "decoding": {"max_tokens": 8}}
    (tmp_path / "tuned" / "card.json").write_text(json.dumps(card))
    monkeypatch.setenv("SWAPBOARD_BASE", str(tmp_path / "tuned"))
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--mode", "tuned", "--out", "r.json"]) == 0
    assert [message.content for message in service.seen[0].messages] == ["Judge.", "good ?"]
    assert service.seen[0].decoding.max_tokens == 8
    assert service.seen[0].adapter == "base"


def test_limit_draws_at_random_and_modes_change_the_prompt(service: Reader, tmp_path: Path) -> None:
    arguments = ["--task", "sentiment", "--data", "reviews.jsonl", "--mode", "few-shot", "--limit", "2"]
    assert main([*arguments, "--out", "r.json"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["count"] == 2
    assert result["adapter"] == "base"
    assert len(service.seen[0].messages) == 17


def test_own_set_goes_by_its_place_in_the_project(service: Reader, tmp_path: Path) -> None:
    assert main(["--task", "sentiment", "--limit", "3", "--out", "r.json"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["data"] == "eval/tasks/data/sentiment.jsonl"


def measured(data: str, *more: str) -> Result:
    assert main(["--task", "sentiment", "--data", data, *more, "--out", "r.json"]) == 0
    return read_result(Path("r.json"))


def test_data_goes_by_its_content_wherever_it_lies(service: Reader, tmp_path: Path) -> None:
    first = measured("reviews.jsonl")
    Path("copy.jsonl").write_text(Path("reviews.jsonl").read_text())
    assert measured("copy.jsonl", "--limit", "2")["data_digest"] == first["data_digest"]
    Path("reviews.jsonl").write_text(Path("reviews.jsonl").read_text().replace("so good", "as good"))
    assert measured("reviews.jsonl")["data_digest"] != first["data_digest"]


def test_runs_on_a_file_that_was_changed_are_not_compared(service: Reader) -> None:
    """The wrong label was mended: the examples have the same ids and inputs."""
    first = measured("reviews.jsonl")
    Path("reviews.jsonl").write_text(Path("reviews.jsonl").read_text().replace('"negative"', '"positive"'))
    second = measured("reviews.jsonl")
    with pytest.raises(EvaluationError, match=r"data_digest: reviews.jsonl held other records in each run"):
        check_same_examples(first, second)
    # An older result does not tell its digest; one that is older still does not tell what was expected either.
    del first["data_digest"]
    with pytest.raises(EvaluationError, match="of 1 'negative' and 'positive' were expected"):
        check_same_examples(first, second)
    for example in first["examples"]:
        del example["expected"]
    check_same_examples(first, second)


async def test_requests_run_side_by_side_within_the_bound() -> None:
    reader = Reader()
    await measure_task(reader, SENTIMENT, items(*["good"] * 20), Asked("base", "prompt"), PLAIN, concurrency=5)
    assert reader.most == 5


async def test_failed_request_ends_the_run_with_its_example() -> None:
    with pytest.raises(EvaluationError, match="example r0 of sentiment failed: queue_full"):
        await measure_task(Reader(fails=True), SENTIMENT, items("good"), Asked("base", "prompt"), PLAIN, 1)


def test_adapter_that_is_replaced_meanwhile_ends_the_run(
    service: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_adapter(Path("other"), fill=0.25)
    reply = service.reply

    async def replacing(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if len(service.seen) == 2:
            Path("other/adapter_model.safetensors").replace("adapters/mood/adapter_model.safetensors")
        async for event in reply(request):
            yield event

    monkeypatch.setattr(service, "reply", replacing)
    told = ["--task", "sentiment", "--data", "reviews.jsonl", "--adapter", "mood", "--concurrency", "1"]
    assert main([*told, "--out", "r.json"]) == 1
    assert "adapter 'mood' was replaced while it was measured" in capsys.readouterr().err
    assert not Path("r.json").exists()


async def test_empty_run_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="no examples"):
        await measure_task(Reader(), SENTIMENT, [], Asked("base", "prompt"), {}, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--task sentiment --mode tuned", "card.json in its folder"),
        ("--task sentiment --limit 0", "--limit 0"),
        ("--task sentiment --concurrency 0", "--concurrency 0"),
        (
            "--task sentiment --concurrency 73",
            "--concurrency 73: allowed are 1 to 72, as 8 requests run (SWAPBOARD_MAX_BATCH) and 64 wait",
        ),
        ("--task routing --concurrency 2", "routing has no requests at the same time; leave out --concurrency"),
        ("--task retrieval --concurrency 8", "retrieval has no requests at the same time"),
        ("--task reward --adapter mood --data r.jsonl --concurrency 8", "reward has no requests at the same time"),
        ("--task sentiment --prompt one-word review", "--prompt one-word review: records of a kind are asked with one"),
        ("--task sentiment --prompt sentiment=one-word sentiment=review", "are asked with one prompt"),
        ("--task sentiment --prompt review sentiment=one-word", "are asked with one prompt"),
        ("--task sentiment --prompt shout", "allowed: one-word, review"),
        ("--task sentiment --prompt policy=quote", "no such records here; allowed: sentiment"),
        ("--task routing --adapter mood", "routing asks no adapter"),
        ("--task perplexity --mode prompt", "perplexity asks nothing"),
        ("--task routing --constraint span", "routing asks nothing"),
        ("--task injection --data hub:x/y", "--data hub:x/y: injection reads no hub; allowed: a JSON lines file"),
        ("--task reward --adapter mood --data hub:x/y", "reward reads no hub; allowed: a JSON lines file"),
        ("--task routing --data hub:x/y", "routing reads no hub; allowed: a JSON lines file"),
        ("--task retrieval --data hub:x/y", "retrieval reads no hub; allowed: a JSON lines file or a folder"),
        ("--task compare --data hub:x/y", "compare reads no hub; allowed: a folder"),
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


def test_prompt_is_named_for_all_kinds_or_for_one() -> None:
    records = LEGAL.load(None)
    both = choose_prompts(LEGAL, records, Asked("base", "few-shot"), ["turns", "policy=turns-words"])
    assert {kind.name: prompt.name for kind, prompt in both.items()} == {
        "policy": "turns-words",
        "plain-english": "turns",
    }


def test_as_many_as_the_service_takes_in_may_be_asked_at_once(service: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWAPBOARD_MAX_BATCH", "2")
    monkeypatch.setenv("SWAPBOARD_MAX_QUEUE", "1")
    assert measured("reviews.jsonl", "--concurrency", "3")["config"]["concurrency"] == 3
    assert service.most == 3
    assert main(["--task", "sentiment", "--concurrency", "4", "--out", "r.json"]) == 1


def test_prompt_of_an_adapter_is_the_plain_one_unless_told() -> None:
    for task in TASKS.values():
        records = task.load(None)
        assert {prompt.mode for prompt in choose_prompts(task, records, Asked("base", "prompt"), []).values()} == {
            "prompt"
        }
        assert {prompt.name for prompt in choose_prompts(task, records, Asked("any", "tuned"), []).values()} == {
            "plain"
        }


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
    assert "seconds" not in scores


def test_scores_of_two_files_stand_side_by_side_and_a_new_measurement_replaces_its_old_one(
    service: Reader, tmp_path: Path
) -> None:
    lines = (tmp_path / "reviews.jsonl").read_text().splitlines()
    (tmp_path / "others.jsonl").write_text("\n".join(lines[:2]))
    for data in ("reviews", "others", "reviews"):
        common = ["--task", "sentiment", "--data", f"{data}.jsonl", "--out"]
        assert main([*common, "base.json"]) == 0
        assert main([*common, "mood.json", "--adapter", "mood"]) == 0
        assert record.main(["mood.json", "--against", "base.json"]) == 0
    scores = [score for score in Catalog(tmp_path / "adapters").get("mood").card.scores if score.metric == "accuracy"]
    assert [(score.data, score.value) for score in scores] == [("others.jsonl", 1.0), ("reviews.jsonl", 0.75)]


@pytest.mark.parametrize(
    ("result", "against", "message"),
    [
        ("mood.json", "own.json", "data: 'reviews.jsonl' and 'eval/tasks/data/sentiment.jsonl'"),
        ("mood.json", "part.json", "count: 4 and 2"),
        ("own.json", "own.json", "allowed: an adapter against base"),
        ("mood.json", "absent.json", "absent.json: cannot be read"),
        ("mood.json", "adapters/mood/card.json", "not a result of eval.run"),
    ],
)
def test_scores_that_cannot_be_compared_are_not_recorded(
    service: Reader, tmp_path: Path, capsys: pytest.CaptureFixture[str], result: str, against: str, message: str
) -> None:
    assert main(["--task", "sentiment", "--out", "own.json"]) == 0
    assert main(["--task", "sentiment", "--data", "reviews.jsonl", "--limit", "2", "--out", "part.json"]) == 0
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
