"""One turn of the circle: votes, training, gate, catalogue; and how it is told whether the taste is followed more."""

from __future__ import annotations

import itertools
import json
import string
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from assistant.catalog import Catalog, Gained, Gate, read_adapter
from assistant.feedback.ballots import Case, Ranking, Vote
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from assistant.messages import Message
from assistant.training.preference.data import Asked, prompts, read_rows
from eval.gate.gate import Question
from eval.loop import circle as stages
from eval.loop.__main__ import PROMPTS, main
from eval.loop.circle import has_followed
from eval.loop.follow import followed
from eval.loop.tastes import ranks, read_taste
from tests.eval.test_gate import write_reward
from tests.tiny import lora_config, write_adapter, write_base

TASTE = f"characters:{string.ascii_letters}{string.digits}{string.punctuation}"
"""Of random bytes a good third; the others are no whole characters."""


PARTS = {"train": 20, "judge": 30, "test": 20}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny base, prompts, and reviews for the gate to ask about."""
    write_base(tmp_path / "base")
    everything = [Asked((Message(role="user", content=f"question {n}"),), "") for n in range(700)]
    # Few to vote on, which takes time, and many to measure on.
    chosen = [[one for one in everything if one.part == part][:count] for part, count in PARTS.items()]
    lines = [{"prompt": one.prompt[0].content} for one in itertools.chain(*chosen)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    reviews = [{"text": f"film {n}", "label": label} for n in range(3) for label in ("positive", "negative")]
    (tmp_path / "reviews.jsonl").write_text("\n".join(map(json.dumps, reviews)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, value in {"BASE": "base", "DTYPE": "float32", "THREADS": "1"}.items():
        monkeypatch.setenv(f"SWAPBOARD_{name}", value)
    return tmp_path


def command(**changes: object) -> list[str]:
    options = {
        "taste": TASTE,
        "prompts": "prompts.jsonl",
        "out": "turn",
        "tasks": "sentiment=reviews.jsonl",
        "answers": 4,
        "draws": 6,
        # So short that a model of random numbers sees in its last place what the taste is about.
        "new-tokens": 2,
        "rank": 4,
        "reward-epochs": 2,
        "reward-lr": 0.01,
        "policy-epochs": 2,
        "policy-lr": 0.02,
        **changes,
    }
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


class Killed(BaseException):
    """Nothing catches it."""


def report(place: Path) -> dict:
    return json.loads((place / "turn/report.json").read_text(encoding="utf-8"))


def votes(place: Path) -> list[Case]:
    store = Store(f"sqlite:///{place / 'turn/swapboard.db'}")
    try:
        return VoteStore(store.database).votes()
    finally:
        store.close()


@pytest.mark.slow
def test_a_turn_that_is_killed_goes_on_and_what_passes_the_gate_is_served_and_measured(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = VoteStore.rank

    def vote_and_die(store: VoteStore, *given: object, **named: object) -> Vote:
        vote = cast(store, *given, **named)
        if len(store.votes()) == 5:
            raise Killed
        return vote

    async def die(*_: object) -> None:
        raise Killed

    for owner, name, deadly in ((VoteStore, "rank", vote_and_die), (stages, "judge", die)):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, deadly)
            with pytest.raises(BaseException) as caught:
                main(command())
            assert caught.group_contains(Killed) if isinstance(caught.value, BaseExceptionGroup) else True
        assert not (place / "turn/report.json").exists()
    status = main(command())

    told, cases = report(place), votes(place)
    asked = [case.question for case in cases]
    assert len(asked) == len(set(asked)) == told["comparisons"], "a kill costs no vote and doubles none"
    assert {case.vote.voter for case in cases} == {"simulated-1", "simulated-2", "simulated-3"}
    assert all(case.vote.was_blind and isinstance(case.vote.ballot, Ranking) for case in cases)
    unseen = {one.prompt[0].content for one in prompts(read_rows(["prompts.jsonl@test"]).rows)}
    assert unseen and not unseen & set(asked), "nobody voted on what is measured on"

    gained, gate = told["followed"], told["gate"]
    assert (gate["verdict"] == "passed") == (gate["aim"]["low"] > 0) == (gained is not None)
    assert status == (0 if gained and gained["low"] > 0 else 1)
    candidate = read_adapter(place / "turn/candidates/preferred")
    assert candidate.card.gate is not None and candidate.card.gate.verdict == gate["verdict"]
    assert "## Gate" in (candidate.folder / "README.md").read_text(encoding="utf-8")
    if gained:
        served = Catalog(place / "turn/adapters").get("preferred")
        assert served.digest == told["served"]["digest"] == candidate.digest and gained["count"] == len(unseen)
    else:
        assert not (place / "turn/adapters/preferred").exists()

    # Nothing is done twice, and the folder is not another run's.
    monkeypatch.setattr(stages, "train", die)
    assert main(command()) == status and report(place)["followed"] == gained
    assert main(command(seed=1)) == 1
    assert "turn holds a run with --seed 0, not 1; give another folder" in capsys.readouterr().err


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
        ({"prompts": "none.jsonl"}, "none.jsonl: cannot be read"),
        ({"tasks": "tasting"}, "no task 'tasting'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    place: Path, capsys: pytest.CaptureFixture[str], changes: dict, words: str
) -> None:
    assert main(command(**changes)) == 1
    assert words in capsys.readouterr().err and not (place / "turn/swapboard.db").exists()


def test_its_own_prompts_have_all_three_parts_and_none_twice() -> None:
    rows = read_rows([str(PROMPTS)]).rows
    assert len(prompts(rows)) == len(rows) >= 60
    parts = [row.part for row in rows]
    assert min(parts.count(part) for part in ("train", "judge", "test")) >= 15
