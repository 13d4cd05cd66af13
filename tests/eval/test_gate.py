"""The gate: what it measures, what it lets in, what it keeps out, and that nobody who is being answered notices."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from assistant.build import build_service, build_store
from assistant.catalog import Catalog, Gained, Gate, read_adapter
from assistant.errors import EvaluationError
from assistant.messages import ChatRequest, Decoding, Done, Message, PartStarted, TextDelta
from assistant.settings import load_settings
from eval.gate import figures
from eval.gate import gate as gates
from eval.gate.__main__ import main
from eval.gate.figures import gained, gained_mean
from eval.gate.gate import reasons
from eval.gate.reward import doubt
from eval.gate.spec import Measured, Rewarded, read_aim, read_measured
from eval.metrics.paired import Difference
from tests import tiny

TASKS = "sentiment=reviews.jsonl"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny base, the adapter "mood" in the catalogue, another one as the candidate, and a reward adapter."""
    base = tiny.write_base(tmp_path / "base")
    tiny.write_adapter(tmp_path / "adapters/mood", base, tiny.lora_config(), 1)
    tiny.write_adapter(tmp_path / "candidates/mood", base, tiny.lora_config(), 2)
    write_reward(tmp_path / "adapters/judge", base)
    reviews = [{"text": f"film {n}", "label": label} for n in range(2) for label in ("positive", "negative")]
    (tmp_path / "reviews.jsonl").write_text("\n".join(map(json.dumps, reviews)), encoding="utf-8")
    prompts = [{"prompt": f"question {n}"} for n in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in {"BASE": "base", "DTYPE": "float32", "THREADS": "1"}.items():
        monkeypatch.setenv(f"SWAPBOARD_{name}", value)
    return tmp_path


def write_reward(folder: Path, base: Path) -> Path:
    """A LoRA with a random head of one score, in the form that PEFT saves."""
    tiny.write_adapter(folder, base, tiny.lora_config(), 3)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config |= {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = load_file(folder / "adapter_model.safetensors")
    hidden = next(tensor.shape[1] for name, tensor in tensors.items() if name.endswith("q_proj.lora_A.weight"))
    some = next(iter(tensors.values()))
    save_file(
        {**tensors, "base_model.model.score.weight": some.new_ones(1, hidden)}, folder / "adapter_model.safetensors"
    )
    return folder


def command(**changes: object) -> list[str]:
    options = {
        "candidate": "candidates/mood",
        "against": "mood",
        "aim": "reward=judge:prompts.jsonl",
        "tasks": TASKS,
        "new-tokens": 4,
        "out": "gate.json",
        **changes,
    }
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def report(place: Path) -> dict:
    return json.loads((place / "gate.json").read_text(encoding="utf-8"))


def figure(gain: float, low: float, high: float) -> Gained:
    return Gained(figure="f", data="d", count=9, against=0, candidate=gain, gain=gain, low=low, high=high, p=0.5)


@pytest.mark.parametrize(
    ("aim", "harness", "margin", "words"),
    [
        (figure(0.2, 0.1, 0.3), figure(-0.01, -0.1, 0.1), None, None),
        (figure(0.2, 0.0, 0.3), figure(0, 0, 0), None, "not surely better on its aim"),
        (figure(0.2, 0.1, 0.3), figure(-0.2, -0.3, -0.1), None, "surely worse on f: -0.2000 (-0.3000 to -0.1000)"),
        (figure(0.2, 0.1, 0.3), figure(-0.01, -0.1, 0.1), 0.05, "may be worse by more than the margin 0.05"),
        (figure(0.2, 0.1, 0.3), figure(-0.01, -0.03, 0.1), 0.05, None),
    ],
)
def test_better_on_the_aim_and_no_worse_on_the_harness(
    aim: Gained, harness: Gained, margin: float | None, words: str | None
) -> None:
    found = reasons(aim, [harness], margin)
    assert not found if words is None else len(found) == 1 and words in found[0]


def test_of_a_figure_whose_low_values_are_good_the_gain_is_turned_round() -> None:
    one = gained("perplexity:perplexity", "d", 9, 20.0, 25.0, Difference(5.0, 1.0, 9.0, 0.01))
    assert (one.gain, one.low, one.high) == (-5.0, -9.0, -1.0) and (one.against, one.candidate) == (20.0, 25.0)
    kind = gained("legal:policy.f1", "d", 9, 0.5, 0.6, Difference(0.1, -0.1, 0.2, 0.3))
    assert (kind.gain, kind.low, kind.high) == (0.1, -0.1, 0.2)


def test_means_are_compared_in_pairs() -> None:
    one = gained_mean("f", "d", [0.0, 10.0, 20.0, 30.0], [1.0, 11.0, 21.0, 31.0])
    assert (one.gain, one.low, one.high) == (1.0, 1.0, 1.0) and one.p < 0.01 and one.count == 4


def test_aims_and_tasks_are_read() -> None:
    assert read_aim("reward=taste:a/b.jsonl@judge") == Rewarded("taste", "a/b.jsonl@judge")
    assert read_aim("legal:policy.f1=x.jsonl") == Measured("legal", "policy.f1", "x.jsonl")
    assert read_measured("qa") == Measured("qa") and read_measured("perplexity=t.txt") == Measured(
        "perplexity", None, "t.txt"
    )
    for wrong in ("reward=taste", "qa", "qa="):
        with pytest.raises(EvaluationError, match="allowed are reward=ADAPTER:PROMPTS and TASK:METRIC"):
            read_aim(wrong)
    with pytest.raises(EvaluationError, match="no task 'mood'; allowed: TASK"):
        read_measured("mood:f1")


def test_a_candidate_that_fails_stays_out_with_the_reason_on_its_card(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, measure, order = Catalog(place / "adapters").get("mood").digest, gates.on_task, []
    monkeypatch.setattr(gates, "commit", lambda: order.append("commit") or "c0ffee")
    monkeypatch.setattr(gates, "on_task", lambda *given: order.append("measured") or measure(*given))
    # On reviews that neither can label no one is better.
    assert main(command(aim="sentiment:accuracy=reviews.jsonl")) == 1
    told = report(place)
    assert told["verdict"] == "failed" and "not surely better on its aim" in told["reasons"][0]
    assert "failed" in capsys.readouterr().out
    assert Catalog(place / "adapters").get("mood").digest == served
    gate = read_adapter(place / "candidates/mood").card.gate
    assert gate is not None and gate.reasons == tuple(told["reasons"]) and gate.against_digest == served
    assert gate.command.startswith("python -m eval.gate --candidate candidates/mood") and gate.date
    assert (gate.commit, order[0]) == ("c0ffee", "commit"), "of the code that measured"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"candidate": "adapters/mood"}, "is in the catalogue already"),
        ({"candidate": "nowhere"}, "adapter_config.json is missing"),
        ({"against": "moon"}, "no adapter named 'moon'"),
        ({"aim": "reward=nobody:prompts.jsonl"}, "no adapter named 'nobody'"),
        ({"aim": "reward=judge:none.jsonl"}, "none.jsonl: cannot be read"),
        ({"tasks": "tasting"}, "no task 'tasting'"),
        ({"margin": -1}, "--margin -1: allowed are numbers from 0"),
        ({"temperature": -1}, "--temperature -1: allowed are 0 to 2"),
        ({"temperature": 2.5}, "--temperature 2.5: allowed are 0 to 2"),
        ({"limit": 0}, "--limit 0: allowed are numbers from 1"),
        ({"name": "base"}, "adapter name 'base'"),
    ],
)
def test_what_cannot_be_decided_is_refused_before_the_base_is_loaded(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, changes: dict, words: str
) -> None:
    monkeypatch.setenv("SWAPBOARD_BASE", "there is none")
    assert main(command(**changes)) == 1
    assert words in capsys.readouterr().err and not (place / "gate.json").exists()


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize("option", ["margin", "temperature"])
def test_numbers_that_are_not_finite_are_refused(capsys: pytest.CaptureFixture[str], option: str, number: str) -> None:
    with pytest.raises(SystemExit):
        main(command(**{option: number}))
    assert f"--{option}: {number}: allowed are finite numbers" in capsys.readouterr().err


async def test_one_that_passes_is_swapped_in_while_the_old_one_finishes_its_answers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings().model_copy(update={"data_dir": place / "data"})
    # A judge that likes the candidate's answers: what is tried here is what follows from it.
    monkeypatch.setattr("eval.gate.gate.by_reward", _likes)
    store = build_store(settings)
    service = build_service(settings, store)
    await service.start()
    try:
        old = service.catalog.get("mood").digest
        alone = await _answer(service, 60)
        stream = service.reply(_ask(60))
        begun = [await anext(stream), await anext(stream)]
        assert await asyncio.to_thread(main, command()) == 0
        new = service.catalog.get("mood").digest
        assert new != old and new == read_adapter(place / "candidates/mood").digest
        swapped = await _answer(service, 60)
        rest = [event async for event in stream]
        in_flight = "".join(event.text for event in [*begun, *rest] if isinstance(event, TextDelta))
        assert isinstance(begun[0], PartStarted) and begun[0].digest == old
        assert in_flight == alone != swapped and isinstance(rest[-1], Done)
        back = await service.revert_adapter("mood")
        assert back.digest == old and await _answer(service, 60) == alone
        assert [one.digest for one in await service.revisions("mood")] == [new]
    finally:
        await service.stop()
        store.close()
    gate = Gate.model_validate(report(place))
    assert gate.verdict == "passed" and gate.against == "mood" and gate.against_digest == old
    assert [one.figure for one in gate.harness] == ["sentiment:accuracy"] and gate.harness[0].count == 4


def test_answers_are_judged_by_the_reward_adapter_and_beside_the_base_it_gets_its_own_name(place: Path) -> None:
    status = main(command(against="base"))
    told = report(place)
    assert told["aim"]["figure"] == "reward" and told["aim"]["count"] == 6 and told["against_digest"] is None
    assert told["aim"]["gain"] == pytest.approx(told["aim"]["candidate"] - told["aim"]["against"])
    assert status == (0 if told["aim"]["low"] > 0 else 1)


def write_record(judge: Path, accuracy: float, count: int) -> None:
    told = {"training": {"report": {"validation_accuracy": accuracy, "validation_examples": count}}}
    (judge / "card.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(
    ("accuracy", "count", "words"),
    [
        (0.75, 24, None),
        (
            0.7083,
            24,
            "its judge is not surely better than a coin: right on 17 of 24 votes held out of its training (0.489",
        ),
        (1.0, 5, "right on 5 of 5 votes"),
        (0.25, 24, "right on 6 of 24 votes"),
    ],
)
def test_a_judge_is_right_more_often_than_a_coin(
    tmp_path: Path, accuracy: float, count: int, words: str | None
) -> None:
    write_record(tmp_path, accuracy, count)
    told = doubt(tmp_path)
    assert told is None if words is None else words in (told or "")


def test_a_judge_that_tells_of_no_votes_is_taken_at_its_word(tmp_path: Path) -> None:
    assert doubt(tmp_path) is None
    (tmp_path / "card.json").write_text('{"task": "reward"}', encoding="utf-8")
    assert doubt(tmp_path) is None


def test_more_unseen_pairs_on_its_card_speak_for_a_judge(tmp_path: Path) -> None:
    write_record(tmp_path, 0.58, 75)
    assert doubt(tmp_path) is not None
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    for low, is_enough in ((0.49, False), (0.54, True)):
        score = {"metric": "accuracy", "value": 0.58, "low": low, "high": 0.63}
        (tmp_path / "card.json").write_text(json.dumps({**card, "scores": [score]}), encoding="utf-8")
        assert (doubt(tmp_path) is None) is is_enough


def test_what_only_a_coin_likes_better_stays_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(place / "adapters/judge", 0.5, 24)
    monkeypatch.setattr("eval.gate.gate.by_reward", _likes)
    assert main(command()) == 1
    [reason] = report(place)["reasons"]
    assert reason.startswith("its judge is not surely better than a coin: right on 12 of 24")


@pytest.mark.parametrize(("task", "mode"), [("chat", "prompt"), ("instruct", "tuned")])
def test_what_is_made_for_chat_is_told_in_words_what_is_wanted_as_the_base_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, task: str, mode: str
) -> None:
    (place / "candidates/mood/card.json").write_text(json.dumps({"task": task}), encoding="utf-8")
    measure, asked = figures.measure_task, []
    monkeypatch.setattr(figures, "measure_task", lambda *given: asked.append(given[3].mode) or measure(*given))
    assert main(command(against="base", aim="sentiment:accuracy=reviews.jsonl")) == 1
    assert asked == ["prompt", mode] * 2


async def _likes(*_: object) -> Gained:
    return figure(0.2, 0.1, 0.3).model_copy(update={"figure": "reward"})


def _ask(tokens: int) -> ChatRequest:
    decoding = Decoding(temperature=0, max_tokens=tokens)
    return ChatRequest(messages=(Message(role="user", content="hello"),), adapter="mood", decoding=decoding)


async def _answer(service, tokens: int) -> str:
    *_, done = [event async for event in service.reply(_ask(tokens))]
    return done.text
