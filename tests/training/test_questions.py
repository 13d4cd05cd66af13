"""Questions made from passages: what an asker writes is read, kept where it fits, and where a checker agrees."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from assistant.base_model import Base
from assistant.errors import SettingsError
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.training import questions, run
from assistant.training.loss import answer_loss
from assistant.training.packing import pad
from assistant.training.tasks import asking
from assistant.training.tasks.qa import PASSAGE
from tests.training.harness import command, tiny_base

PASSAGES = ["Ida won the race in May.", "The mill burnt down in 1790.", "Salt came over the pass on mules."]
RECORDS = [
    {"context": PASSAGES[0], "question": "Who won the race?", "answers": ["Ida"]},
    {"context": PASSAGES[1], "question": "When did the mill burn down?", "answers": ["in 1790", "1790"]},
]


@pytest.fixture
def adapters(place: Path) -> Path:
    """An asker and a checker for the tiny base, and passages."""
    (place / "qa.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS * 4))
    (place / "passages.jsonl").write_text(
        "".join(json.dumps({"document": text}) + "\n" for text in [*PASSAGES, PASSAGES[0]])
    )
    for task in ("asking", "qa"):
        told = command(task=task, data="qa.jsonl", out=f"parts/{task}", validation=0)
        assert run.main(told) == 0
    return place


def make(*more: str, data: str = "passages.jsonl", checker: str = "parts/qa") -> int:
    told = ["--asker", "parts/asking", "--checker", checker, "--data", data, "--out", "made/made.jsonl", *more]
    return questions.main(told)


def test_what_is_trained_on_is_read_back() -> None:
    assert asking.read(asking.written(RECORDS[1])) == ("When did the mill burn down?", "1790")


@pytest.mark.parametrize("text", ["", "Ida", "Ida\nWho won", "\nWho won?", "Ida\nWho won?\nWho lost?"])
def test_other_texts_are_no_pair(text: str) -> None:
    assert asking.read(text) is None


def test_an_answer_must_stand_in_the_passage_and_be_short() -> None:
    assert questions.usable(PASSAGES[0], "Ida\nWho won?") == ("Who won?", "Ida")
    assert questions.usable(PASSAGES[0], "Paul\nWho won?") is None
    words = " ".join(["so"] * 13)
    assert questions.usable(words, f"{words}\nHow?") is None


def test_pairs_that_the_checker_agrees_with_are_written_once_each(
    adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        questions,
        "draw",
        lambda model, base, prompter, card, part, each: [(p, f"{p.split()[0]}\nWho?") for p in part] * each,
    )
    assert make("--agreement", "0") == 0
    made = [json.loads(line) for line in (adapters / "made" / "made.jsonl").read_text().splitlines()]
    assert sorted(record["context"] for record in made) == sorted(PASSAGES)
    assert {record["question"] for record in made} == {"Who?"}
    assert run.main(command(task="qa", data="made/made.jsonl", out="parts/again", validation=0)) == 0
    assert make("--agreement", "1") == 0
    assert (adapters / "made" / "made.jsonl").read_text() == ""


def test_no_usable_pair_is_said(
    adapters: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(questions, "draw", lambda *arguments: [])
    assert make() == 1
    assert "passages.jsonl: of 12 texts drawn none is a question" in capsys.readouterr().err
    assert not (adapters / "made" / "made.jsonl").exists()


def test_agreement_is_the_probability_of_the_whole_answer(adapters: Path) -> None:
    base = tiny_base(adapters)
    card = questions.read_card(Path("parts/qa"), "qa", base)
    model = PeftModel.from_pretrained(base.model, "parts/qa", adapter_name="checker")
    prompter = Prompter(base.tokenizer)
    records = [{**record, "answers": [record["answers"][-1]]} for record in RECORDS]
    chances = [chance(model, base, prompter, card, record) for record in records]
    between = sum(chances) / 2
    kept = questions.check(model, base, prompter, card, records, between)
    assert kept == [records[chances.index(max(chances))]]


def chance(model: PeftModel, base: Base, prompter: Prompter, card: questions.Card, record: dict) -> float:
    turns = (
        Message(role="user", content=PASSAGE.forms[0](record)),
        Message(role="assistant", content=record["answers"][0]),
    )
    prompt, answer = prompter.render_example(turns, card.template)
    with torch.no_grad():
        return math.exp(-answer_loss(model, pad([questions.Example(tuple(prompt), tuple(answer))], 256)).item())


def test_drawn_texts_belong_to_their_passages_and_depend_on_the_seed(adapters: Path) -> None:
    base = tiny_base(adapters)
    card = questions.read_card(Path("parts/asking"), "asking", base)
    card = card.model_copy(update={"decoding": {**card.decoding, "max_tokens": 8}})
    model = PeftModel.from_pretrained(base.model, "parts/asking", adapter_name="asker")

    def drawn(seed: int) -> list[tuple[str, str]]:
        torch.manual_seed(seed)
        return list(questions.draw(model, base, Prompter(base.tokenizer), card, PASSAGES, 3))

    first = drawn(1)
    assert [passage for passage, _ in first] == [passage for passage in PASSAGES for _ in range(3)]
    assert first == drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"checker": "parts/asking"}, "its task is 'asking'; needed: 'qa'"),
        ({"checker": "parts/none"}, "no adapter with a card can be read there"),
        ({"data": "reviews.jsonl"}, "reviews.jsonl:1: no passage; looked for in context, document"),
        ({"data": "passages.jsonl#x"}, "'x' is no number of records"),
    ],
)
def test_what_does_not_fit_is_named(
    adapters: Path, more: dict[str, str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(**more) == 1
    assert complaint in capsys.readouterr().err
    assert not (adapters / "made" / "made.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (["--agreement", "2"], "allowed are probabilities from 0 to 1"),
        (["--max-tokens", "2"], "no passage of at most 2 tokens"),
    ],
)
def test_options_out_of_bounds_are_named(
    adapters: Path, option: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(*option) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "complaint"),
    [("folder", "--out folder: this is a folder"), ("file/made.jsonl", "--out file/made.jsonl: cannot be written")],
)
def test_a_file_that_cannot_be_written_is_named_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_text("mine")
    monkeypatch.setattr(questions, "load_base", None)
    assert make("--out", out) == 1
    assert complaint in capsys.readouterr().err


def test_a_file_that_can_no_longer_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    path = tmp_path / "made.jsonl"
    path.write_text("before")
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SettingsError, match=r"made\.jsonl: cannot be written: No space left"):
        questions.write(path, RECORDS)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_an_agreement_that_is_not_finite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make("--agreement", "nan")
    assert "--agreement: nan: allowed are finite numbers" in capsys.readouterr().err
