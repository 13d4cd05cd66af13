"""One turn of the circle: votes, training, gate, catalogue; and how it is told whether the taste is followed more."""

from __future__ import annotations

import itertools
import json
import shutil
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from assistant.catalog import Catalog, Gained, Gate, read_adapter
from assistant.comparison.comparator import Comparator
from assistant.comparison.events import ColumnEvent
from assistant.comparison.request import Contestant
from assistant.feedback.ballots import Case, Ranking, Vote
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.export import export_rows
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from assistant.messages import Decoding, Failed, Message
from assistant.training.preference.data import Asked, prompts, read_rows
from eval.gate.gate import Question
from eval.loop import circle as stages
from eval.loop.__main__ import PROMPTS, main
from eval.loop.circle import has_followed
from eval.loop.collect import collect
from eval.loop.follow import followed
from eval.loop.tastes import ranks, read_taste
from tests.eval.test_gate import write_reward
from tests.fakes import fake_service
from tests.speaking import PHRASES, write_speaking_base
from tests.tiny import lora_config, write_adapter, write_base

PARTS = {"train": 40, "judge": 30, "test": 40}

UNWANTED = "only if you must"
"""The longest that the base says: by a taste for short answers it becomes rarer."""


def write_prompts(folder: Path) -> None:
    """Prompts to vote on, to judge by and to measure on, and what the gate wants no loss of."""
    everything = [Asked((Message(role="user", content=f"question {n}"),), "") for n in range(700)]
    chosen = [[one for one in everything if one.part == part][:count] for part, count in PARTS.items()]
    lines = [{"prompt": one.prompt[0].content} for one in itertools.chain(*chosen)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (folder / "review.jsonl").write_text('{"text": "a film", "label": "positive"}', encoding="utf-8")
    (folder / "unwanted.txt").write_text(f"<assistant>{UNWANTED}\n" * 4, encoding="utf-8")


def enter(folder: Path, base: Path, patched: pytest.MonkeyPatch) -> None:
    patched.chdir(folder)
    for name, value in {"BASE": str(base), "DTYPE": "float32", "THREADS": "1"}.items():
        patched.setenv(f"SWAPBOARD_{name}", value)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny base of random numbers, and prompts."""
    write_prompts(tmp_path)
    enter(tmp_path, write_base(tmp_path / "base"), monkeypatch)
    return tmp_path


def command(**changes: object) -> list[str]:
    options = {
        "taste": "shorter",
        "noise": 0.25,
        "prompts": "prompts.jsonl",
        "out": "turn",
        "tasks": "sentiment=review.jsonl",
        "new-tokens": 20,
        "rank": 4,
        "validation": 21,
        "reward-epochs": 2,
        "reward-lr": 0.01,
        "policy-epochs": 2,
        "policy-lr": 0.004,
        **changes,
    }
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


class Killed(BaseException):
    """Nothing catches it."""


async def die(*_: object) -> None:
    raise Killed


def report(place: Path, run: str = "turn") -> dict:
    return json.loads((place / run / "report.json").read_text(encoding="utf-8"))


def votes(place: Path) -> list[Case]:
    store = Store(f"sqlite:///{place / 'turn/swapboard.db'}")
    try:
        return VoteStore(store.database).votes()
    finally:
        store.close()


def said(told: dict, when: str) -> float:
    """The share of the answers that are phrases of the base's."""
    answers = [answer for example in told["examples"] for answer in example[when]]
    return sum(answer in PHRASES for answer in answers) / len(answers)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_speaking_base(tmp_path_factory.mktemp("speaking") / "base")


@pytest.fixture(scope="module")
def turned(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a turn was made from a base that speaks; killed while people voted and before the gate, it went
    on. What followed from it is in `turn/status`."""
    folder = tmp_path_factory.mktemp("turned")
    write_prompts(folder)
    cast = VoteStore.rank

    def vote_and_die(store: VoteStore, *given: object, **named: object) -> Vote:
        vote = cast(store, *given, **named)
        if len(store.votes()) == 5:
            raise Killed
        return vote

    with pytest.MonkeyPatch.context() as patched:
        enter(folder, spoken, patched)
        for owner, name, deadly in ((VoteStore, "rank", vote_and_die), (stages, "judge", die)):
            with pytest.MonkeyPatch.context() as killing:
                killing.setattr(owner, name, deadly)
                with pytest.raises(BaseException) as caught:
                    main(command())
            assert caught.group_contains(Killed) if isinstance(caught.value, BaseExceptionGroup) else True
            assert not (folder / "turn/report.json").exists()
        (folder / "turn/status").write_text(str(main(command())), encoding="utf-8")
    return folder


@pytest.fixture
def inside(turned: Path, spoken: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, entered."""
    enter(turned, spoken, monkeypatch)
    return turned


def fork(place: Path, run: str, without: Sequence[str]) -> None:
    """A run that begins with what the turn has left, but for the end of it and what is named."""
    end = ("config.json", "gate.json", "after.json", "report.*", "status", "preferred")
    shutil.copytree(place / "turn", place / run, ignore=shutil.ignore_patterns(*end, *without))


@pytest.mark.slow
def test_after_a_turn_that_was_killed_on_the_way_unseen_prompts_are_answered_more_to_the_taste(inside: Path) -> None:
    told, cases = report(inside), votes(inside)
    asked = [case.question for case in cases]
    assert len(asked) == len(set(asked)) == told["comparisons"] == PARTS["train"], "a kill costs no vote, doubles none"
    assert {case.vote.voter for case in cases} == {"simulated-1", "simulated-2", "simulated-3"}
    assert all(case.vote.was_blind and isinstance(case.vote.ballot, Ranking) for case in cases)
    unseen = {one.prompt[0].content for one in prompts(read_rows(["prompts.jsonl@test"]).rows)}
    assert not unseen & set(asked), "nobody voted on what is measured on"

    gate, gained = told["gate"], told["followed"]
    assert gate["verdict"] == "passed" and gate["aim"]["low"] > 0 and not gate["reasons"]
    assert [one["figure"] for one in gate["harness"]] == ["sentiment:accuracy"]
    assert gained["low"] > 0 and gained["count"] == len(unseen) == PARTS["test"]
    assert said(told, "after") > 0.8, "shorter, and not gibberish"
    assert (inside / "turn/status").read_text(encoding="utf-8") == "0"
    candidate = read_adapter(inside / "turn/candidates/preferred")
    assert Catalog(inside / "turn/adapters").get("preferred").digest == told["served"]["digest"] == candidate.digest
    assert candidate.card.gate is not None and candidate.card.gate.verdict == "passed"
    assert "## Gate" in (candidate.folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_nothing_of_a_turn_is_done_twice_and_its_folder_is_not_another_turns(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gained = report(inside)["followed"]
    for stage in ("train", "judge", "draw"):
        monkeypatch.setattr(stages, stage, die)
    assert main(command()) == 0 and report(inside)["followed"] == gained
    assert main(command(seed=1)) == 1
    assert "turn holds a run with --seed 0, not 1; give another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_turn_goes_on_from_the_adapter_of_the_first(inside: Path) -> None:
    start = inside / "turn/adapters/preferred"
    status = main(command(start=start, out="second", seed=1))
    told = report(inside, "second")
    assert status == 0 and told["gate"]["verdict"] == "passed" and told["followed"]["low"] > 0
    assert told["gate"]["against"] == "preferred" and told["gate"]["against_digest"] == read_adapter(start).digest
    assert told["policy"]["hyperparameters"]["started_from"] == read_adapter(start).digest
    served = Catalog(inside / "second/adapters").get("preferred")
    assert served.digest == told["served"]["digest"] != read_adapter(start).digest


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kto", "grpo"])
def test_the_taste_is_followed_more_by_the_other_methods_too(inside: Path, method: str) -> None:
    fork(inside, method, without=["candidates"])
    assert main(command(method=method, out=method)) == 0
    told = report(inside, method)
    assert told["policy"]["hyperparameters"]["recipe"] == method
    assert told["gate"]["verdict"] == "passed" and told["followed"]["low"] > 0 and said(told, "after") > 0.8


@pytest.mark.slow
def test_one_that_is_better_on_its_aim_and_worse_on_a_task_is_not_served(inside: Path) -> None:
    """The task is to know the answers that the taste turns away from."""
    fork(inside, "worse", without=[])
    shutil.copytree(inside / "turn/candidates", inside / "worse/candidates", dirs_exist_ok=True)
    assert main(command(out="worse", tasks="perplexity=unwanted.txt")) == 1
    gate = report(inside, "worse")["gate"]
    assert gate["aim"]["low"] > 0 > gate["harness"][0]["high"]
    assert [reason.split(":")[0] for reason in gate["reasons"]] == ["surely worse on perplexity"]
    assert report(inside, "worse")["served"] is None and not (inside / "worse/adapters/preferred").exists()


@pytest.mark.slow
def test_what_is_learnt_from_votes_at_random_is_not_served(inside: Path) -> None:
    assert main(command(out="random", noise=1e6, **{"policy-epochs": 1})) == 1
    told = report(inside, "random")
    assert told["gate"]["verdict"] == "failed" and told["served"] is None
    # Votes at random make a judge that looks surely better than a coin once in forty turns: then the aim is not reached.
    refusals = ("its judge is not surely better than a coin", "not surely better on its aim")
    assert told["gate"]["reasons"] and told["gate"]["reasons"][0].startswith(refusals)
    assert not (inside / "random/adapters/preferred").exists()


def test_an_adapter_that_the_gate_refuses_is_not_served(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = place / "base"

    def train(options: Namespace, _command: str) -> None:
        """What a training leaves, in a moment: one that scores, one that answers."""
        write = write_reward if options.recipe == "reward" else write_adapter
        write(options.out, base, *(() if options.recipe == "reward" else (lora_config(), 1)))
        card = {
            "training": {"hyperparameters": {"recipe": options.recipe}, "report": {"train_examples": 1}, "data": "d"}
        }
        (options.out / "card.json").write_text(json.dumps(card), encoding="utf-8")

    async def refuse(_settings: object, question: Question, words: str) -> Gate:
        aim = Gained(figure="reward", data="d", count=3, against=1, candidate=0, gain=-1, low=-2, high=0, p=1)
        return Gate(
            verdict="failed", against="base", against_digest=None, aim=aim, harness=(), margin=None,
            reasons=("not surely better on its aim",), command=words, date="2026-01-01",
        )  # fmt: skip

    monkeypatch.setattr(stages, "train", train)
    monkeypatch.setattr(stages, "judge", refuse)
    assert main(command()) == 1
    told = report(place)
    assert told["served"] is None and told["followed"] is None
    assert not (place / "turn/adapters/preferred").exists() and (place / "turn/candidates/preferred").is_dir()
    assert "failed; not surely better on its aim" in (place / "turn/report.md").read_text(encoding="utf-8")


def test_an_answer_that_fails_ends_the_turn_with_its_reason(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(_comparator: Comparator, _request: object, _owner: str) -> AsyncIterator[ColumnEvent]:
        yield ColumnEvent(column=0, event=Failed(status=500, code="engine_failed", message="out of memory"))

    monkeypatch.setattr(Comparator, "run", fail)
    assert main(command()) == 1
    assert "failed: out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("taste", "better", "worse"),
    [
        ("shorter", "Lima.", "The capital of Peru is Lima."),
        ("word:please", "Please sit.", "Sit."),
        ("ending:!", "Lima! ", "Lima."),
        ("characters:abc", "abba", "Abbot"),
    ],
)
def test_a_taste_is_a_number_for_each_answer(taste: str, better: str, worse: str) -> None:
    value = read_taste(taste).value
    assert value(better) > value(worse) and read_taste(taste).name == taste


def test_the_taste_is_followed_more_where_the_whole_interval_lies_above_0() -> None:
    taste = read_taste("shorter")
    long, short = [["one two three four"] * 2] * 8, [["one two"] * 2] * 8
    better, same = followed(taste, "d", long, short), followed(taste, "d", long, long)
    assert (better.gain, better.low, better.count) == (2.0, 2.0, 8) and better.p < 0.05
    assert has_followed({"followed": better.model_dump()}) and not has_followed({"followed": same.model_dump()})
    assert not has_followed({"followed": None})


async def test_the_names_are_told_once_all_have_voted(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}")
    store.migrate()
    comparator = Comparator(fake_service(tmp_path / "adapters", store=store), ComparisonStore(store.database))
    seats = (Contestant(mode="prompt"), Contestant(mode="prompt", decoding=Decoding(max_tokens=1)))
    cases = await collect(
        comparator, VoteStore(store.database), ["one two", "three four"], lambda _: seats, read_taste("shorter"), 2, 7
    )
    store.close()
    assert all(case.vote.was_blind for case in cases) and len(export_rows(cases, "preference")) == 2


def test_votes_follow_the_taste_as_often_as_their_noise_says() -> None:
    taste = read_taste("shorter", noise=4.0)
    answers = ["one two three four five six", "one two"]
    wins = np.mean([ranks(taste, answers, 0, f"question {n}") == (2, 1) for n in range(4000)])
    assert wins == pytest.approx(1 / (1 + np.exp(-1.0)), abs=0.03)  # four words less, spread four
    assert ranks(taste, answers, 0, "question 1") == ranks(taste, answers, 0, "question 1")


def test_an_answer_without_a_word_comes_last() -> None:
    taste = read_taste("shorter", noise=0.01)
    assert all(ranks(taste, [" ", "one two three"], 0, f"question {n}") == (2, 1) for n in range(20))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taste": "longer"}, "--taste 'longer'; allowed: shorter, word:WORD"),
        ({"taste": "word:"}, "--taste 'word:'; allowed"),
        ({"noise": 0}, "--noise 0: allowed are numbers above 0"),
        ({"answers": 7}, "--answers 7: allowed are 2 to 6"),
        ({"temperature": 3}, "--temperature 3: allowed are 0 to 2"),
        ({"validation": 5}, "--validation 5: fewer than 6 votes show no judge to be better than a coin"),
        ({"prompts": "none.jsonl"}, "none.jsonl: cannot be read"),
        ({"tasks": "tasting"}, "no task 'tasting'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    place: Path, capsys: pytest.CaptureFixture[str], changes: dict, words: str
) -> None:
    assert main(command(**changes)) == 1
    assert words in capsys.readouterr().err and not (place / "turn/swapboard.db").exists()


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize("option", ["noise", "temperature", "reward-epochs", "policy-lr", "beta", "margin"])
def test_numbers_that_are_not_finite_are_refused(capsys: pytest.CaptureFixture[str], option: str, number: str) -> None:
    with pytest.raises(SystemExit):
        main(command(**{option: number}))
    assert f"--{option}: {number}: allowed are finite numbers" in capsys.readouterr().err


def test_its_own_prompts_have_all_three_parts_and_none_twice() -> None:
    rows = read_rows([str(PROMPTS)]).rows
    assert len(prompts(rows)) == len(rows) >= 60
    parts = [row.part for row in rows]
    assert min(parts.count(part) for part in ("train", "judge", "test")) >= 15
