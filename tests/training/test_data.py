"""Data files: what is taken, and how what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.errors import DataError
from assistant.prompt import Prompter
from assistant.training.data import build_examples, plain_fields, read_records, sample, split_validation
from assistant.training.tasks import QA, SENTIMENT, TASKS, natural
from tests.tiny import tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data"
GOOD = {"text": "a joy", "label": "positive"}


def write(path: Path, *lines: object) -> str:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ({"text": "a joy"}, "no field 'label'"),
        ({"text": "a joy", "label": "great"}, "label is 'great'; allowed: positive, negative"),
        ({"text": " ", "label": "positive"}, "text is ' '"),
        ("{not json", "no JSON"),
        ("[1, 2]", "a JSON list"),
    ],
)
def test_bad_line_is_named_with_file_and_number(tmp_path: Path, bad: object, fault: str) -> None:
    path = write(tmp_path / "reviews.jsonl", GOOD, bad)
    with pytest.raises(DataError) as error:
        read_records(path, SENTIMENT)
    assert f"{path}:2: " in str(error.value)
    assert fault in str(error.value)


@pytest.mark.parametrize("answers", [[], "text", [""], [3], None])
def test_question_without_a_text_answer_is_refused(tmp_path: Path, answers: object) -> None:
    path = write(tmp_path / "qa.jsonl", {"context": "c", "question": "q", "answers": answers})
    with pytest.raises(DataError, match=r"qa\.jsonl:1: answers is"):
        read_records(path, QA)


def test_empty_and_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        read_records(write(tmp_path / "none.jsonl", ""), SENTIMENT)
    with pytest.raises(DataError, match="cannot be read"):
        read_records(str(tmp_path / "absent.jsonl"), SENTIMENT)


def test_blank_lines_do_not_shift_the_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "reviews.jsonl", GOOD, "", {"text": "x"})
    with pytest.raises(DataError, match=r"reviews\.jsonl:3"):
        read_records(path, SENTIMENT)


def test_public_field_names_become_ours() -> None:
    assert plain_fields({"sentence": "a joy", "label": "positive"}) == {"text": "a joy", "label": "positive"}
    assert plain_fields({"answers": {"text": ["x"], "answer_start": [0]}}) == {"answers": ["x"]}


def test_examples_are_rendered_as_they_are_served() -> None:
    prompter = Prompter(tokenizer())
    [example], skipped = build_examples([GOOD], SENTIMENT, prompter, 400, seed=4)
    text = prompter.tokenizer.decode(list(example.prompt))
    assert skipped == 0
    assert text.startswith(f"<system>{SENTIMENT.template.system}")
    assert text.endswith("Positive or negative?<|end|><assistant>")
    assert prompter.tokenizer.decode(list(example.answer)) == "positive<|end|>"


def test_too_long_examples_are_counted_and_nothing_left_is_an_error() -> None:
    prompter = Prompter(tokenizer())
    long = {"text": "a joy " * 100, "label": "positive"}
    examples, skipped = build_examples([GOOD, long], SENTIMENT, prompter, 300, seed=0)
    assert (len(examples), skipped) == (1, 1)
    with pytest.raises(DataError, match="longer than 300 tokens"):
        build_examples([long], SENTIMENT, prompter, 300, seed=0)


def test_answer_is_the_shortest_spelt_as_in_the_context() -> None:
    record = {"context": "It holds red Ale barrels.", "question": "What?", "answers": ["red ale barrels", "red ale."]}
    assert QA.answer(record) == "red Ale"


def test_no_context_is_in_both_training_and_validation() -> None:
    prompter = Prompter(tokenizer())
    records = [{"context": f"context {n // 3}", "question": f"question {n}?", "answers": [str(n)]} for n in range(30)]
    examples, _ = build_examples(records, QA, prompter, 500, seed=0)
    train, validation = split_validation(examples, 5, seed=0)
    assert {e.group for e in train}.isdisjoint(e.group for e in validation)
    # Whole groups of three: six is the first count from five up.
    assert (len(train), len(validation)) == (24, 6)
    with pytest.raises(DataError, match="none is left"):
        split_validation(examples, 30, seed=0)


def test_sample_is_the_same_for_the_same_seed() -> None:
    records = [{"id": n} for n in range(50)]
    assert sample(records, 5, seed=1) == sample(records, 5, seed=1)
    assert sample(records, None, seed=1) == records


def test_tokenised_text_is_put_back_into_natural_spelling() -> None:
    assert natural("it 's fun , really . do n't miss it !") == "It's fun, really. don't miss it!"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_task_has_enough_examples_for_the_router(task: object) -> None:
    assert len(set(TASKS[task.name].card_examples)) >= 8  # type: ignore[attr-defined]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data is not beside the project")
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@pytest.mark.parametrize("part", ["train", "test"])
def test_public_files_are_read_whole(task: object, part: str) -> None:
    name = task.name  # type: ignore[attr-defined]
    path = SHARED / name / f"{part}.jsonl"
    assert len(read_records(str(path), TASKS[name])) == len(path.read_text().splitlines())
