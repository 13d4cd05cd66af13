"""Data files: what is taken, and how what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from assistant.errors import DataError
from assistant.prompt import Prompter
from assistant.training.data import (
    MADE_COUNT,
    Item,
    build_examples,
    level_labels,
    plain_fields,
    read_items,
    sample,
    split_validation,
)
from assistant.training.tasks.legal import LEGAL
from assistant.training.tasks.medical import MEDICAL
from assistant.training.tasks.moderation import MODERATION, explained
from assistant.training.tasks.prescriptions import HELD_OUT, ROUTES
from assistant.training.tasks.qa import QA
from assistant.training.tasks.registry import INSTRUCT, TASKS
from assistant.training.tasks.sentiment import SENTIMENT, natural
from assistant.training.tasks.task import Record, Task
from tests.tiny import tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "qa": ("qa/train", "qa/test"),
    "sentiment": ("sentiment/train", "sentiment/test", "sentiment/transfer_imdb"),
    "summarisation": ("summarisation/train", "summarisation/test", "summarisation/transfer_xsum"),
    "legal": ("legal/policyqa_train", "legal/policyqa_test", "legal/plain_english_train", "legal/plain_english_test"),
    "medical": (
        "medical/pubmedqa_train",
        "medical/pubmedqa_test",
        "medical/medquad_train",
        "medical/medquad_test",
        "medical/abbreviations",
    ),
    "moderation": ("moderation/train", "moderation/test"),
}
GOOD = {"text": "a joy", "label": "positive"}


def write(path: Path, *lines: object) -> str:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return str(path)


def items(task: Task, *records: Record) -> list[Item]:
    return [Item(task.kind_of(record) or task.kinds[0], record, f"test:{n}") for n, record in enumerate(records)]


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
        read_items([path], SENTIMENT)
    assert f"{path}:2: " in str(error.value)
    assert fault in str(error.value)


@pytest.mark.parametrize("answers", [[], "text", [""], [3], None])
def test_question_without_a_text_answer_is_refused(tmp_path: Path, answers: object) -> None:
    path = write(tmp_path / "qa.jsonl", {"context": "c", "question": "q", "answers": answers})
    with pytest.raises(DataError, match=r"qa\.jsonl:1: answers is"):
        read_items([path], QA)


def test_empty_and_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        read_items([write(tmp_path / "none.jsonl", "")], SENTIMENT)
    with pytest.raises(DataError, match="cannot be read"):
        read_items([str(tmp_path / "absent.jsonl")], SENTIMENT)


def test_blank_lines_do_not_shift_the_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "reviews.jsonl", GOOD, "", {"text": "x"})
    with pytest.raises(DataError, match=r"reviews\.jsonl:3"):
        read_items([path], SENTIMENT)


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("hub:me/reviews", ("me/reviews", None, "test")),
        ("hub:me/reviews@dev", ("me/reviews", None, "dev")),
        ("hub:glue:sst2", ("glue", "sst2", "test")),
        ("hub:glue:sst2@train[:10]", ("glue", "sst2", "train[:10]")),
        ("sentiment=hub:glue:sst2@dev#1", ("glue", "sst2", "dev")),
    ],
)
def test_dataset_of_the_hub_is_read_with_its_labels_by_name(
    monkeypatch: pytest.MonkeyPatch, source: str, asked: tuple[str, str | None, str]
) -> None:
    """Rows are numbered from 1; a label that is not told, −1, stays a number, and is refused with its row."""
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["negative", "positive"])}
    )
    rows = {"sentence": ["a fine film", "a dull one"], "label": [1, 0]}
    loaded = []

    def load_dataset(id: str, config: str | None, split: str) -> datasets.Dataset:
        loaded.append((id, config, split))
        return datasets.Dataset.from_dict(rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    items = read_items([source], SENTIMENT, "test")
    assert loaded == [asked]
    name = source.partition("=")[2] or source
    place = name.partition("@")[0]
    told = {(item.record["text"], item.record["label"], item.where) for item in items}
    both = {("a fine film", "positive", f"{place}:1"), ("a dull one", "negative", f"{place}:2")}
    assert told == both if "#" not in source else len(told) == 1 and told < both
    rows["label"] = [1, -1]
    with pytest.raises(DataError, match=f"{place}:2: label"):
        read_items([source], SENTIMENT, "test")


@pytest.mark.parametrize("error", [ValueError("Unknown split"), ConnectionError("no network")])
def test_dataset_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load_dataset(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=f"hub:glue:sst3: cannot be loaded: {error}"):
        read_items(["hub:glue:sst3@dev"], SENTIMENT)


def test_public_field_names_become_ours() -> None:
    assert plain_fields({"sentence": "a joy", "label": "positive"}) == {"text": "a joy", "label": "positive"}
    assert plain_fields({"answers": {"text": ["x"], "answer_start": [0]}}) == {"answers": ["x"]}


def test_examples_are_rendered_as_they_are_served() -> None:
    prompter = Prompter(tokenizer())
    [example], skipped = build_examples(items(SENTIMENT, GOOD), SENTIMENT, prompter, 400, seed=4)
    text = prompter.tokenizer.decode(list(example.prompt))
    assert skipped == []
    assert text.startswith(f"<system>{SENTIMENT.template.system}")
    assert text.endswith("Positive or negative?<|end|><assistant>")
    assert prompter.tokenizer.decode(list(example.answer)) == "positive<|end|>"


def test_too_long_examples_are_counted_and_nothing_left_is_an_error() -> None:
    prompter = Prompter(tokenizer())
    long = {"text": "a joy " * 100, "label": "positive"}
    examples, skipped = build_examples(items(SENTIMENT, GOOD, long), SENTIMENT, prompter, 300, seed=0)
    assert len(examples) == 1
    [named] = skipped
    assert named.startswith("test:1 (")
    with pytest.raises(DataError, match="longer than 300 tokens"):
        build_examples(items(SENTIMENT, long), SENTIMENT, prompter, 300, seed=0)


def test_example_beyond_the_context_is_an_error_unless_left_out_knowingly() -> None:
    prompter = Prompter(tokenizer())
    given = items(SENTIMENT, GOOD, {"text": "a joy " * 100, "label": "positive"})
    with pytest.raises(DataError, match=r"test:1: \d+ tokens; the base takes 400"):
        build_examples(given, SENTIMENT, prompter, max_tokens=2000, seed=0, context=400)
    examples, skipped = build_examples(given, SENTIMENT, prompter, max_tokens=400, seed=0, context=400)
    assert (len(examples), len(skipped)) == (1, 1)


@pytest.mark.parametrize(
    ("answers", "learnt"),
    [
        (["red ale barrels", "red ale."], "red Ale"),
        (["ale", "red ale barrels", "red ale"], "red Ale"),
        (["ale", "ale", "red ale", "red ale barrels"], "red Ale"),
    ],
)
def test_answer_is_the_middle_one_spelt_as_in_the_context(answers: list[str], learnt: str) -> None:
    record = {"context": "It holds red Ale barrels.", "question": "What?", "answers": answers}
    assert QA.kinds[0].answers([record]) == [learnt]


def test_no_context_is_in_both_training_and_validation() -> None:
    prompter = Prompter(tokenizer())
    records = [{"context": f"context {n // 3}", "question": f"question {n}?", "answers": [str(n)]} for n in range(30)]
    examples, _ = build_examples(items(QA, *records), QA, prompter, 500, seed=0)
    train, validation = split_validation(examples, 5, seed=0)
    assert {e.source for e in train}.isdisjoint(e.source for e in validation)
    # Whole groups of three: six is the first count from five up.
    assert (len(train), len(validation)) == (24, 6)
    with pytest.raises(DataError, match="none is left to train on; lower --validation"):
        split_validation(examples, 30, seed=0)


def test_a_verdict_is_not_trained_on_where_its_study_is_held_out() -> None:
    records = [
        {"context": f"study {n}", "question": f"{n}?", "label": "yes", "long_answer": f"It does {n}."}
        for n in range(20)
    ]
    kinds = {name: MEDICAL.kind(name) for name in ("research", "verdict")}
    given = [Item(kinds[name], record, "test:1") for name in kinds for record in records]
    examples, _ = build_examples(given, MEDICAL, Prompter(tokenizer()), 500, seed=0)
    train, validation = split_validation(examples, 6, seed=0)
    assert {e.kind for e in validation} == {"research", "verdict"} and len(validation) == 6
    assert {e.source for e in train}.isdisjoint(e.source for e in validation)


def test_sample_is_the_same_for_the_same_seed() -> None:
    given = items(SENTIMENT, *({"text": f"text {n}", "label": "positive"} for n in range(50)))
    assert sample(given, 5, seed=1) == sample(given, 5, seed=1)
    assert sample(given, None, seed=1) == given


def test_tokenised_text_is_put_back_into_natural_spelling() -> None:
    assert natural("it 's fun , really . do n't miss it !") == "It's fun, really. don't miss it!"


@pytest.mark.parametrize(
    "task", [task for task in TASKS.values() if task.name not in ("asking", "instruct")], ids=lambda t: t.name
)
def test_every_task_has_enough_examples_for_the_router(task: Task) -> None:
    assert len(set(task.card_examples)) >= 8


def test_labels_are_levelled_by_drawing_and_by_repeating() -> None:
    prompter = Prompter(tokenizer())
    records = [{"text": f"text {n}", "label": "negative" if n < 3 else "positive"} for n in range(20)]
    examples, _ = build_examples(items(SENTIMENT, *records), SENTIMENT, prompter, 300, seed=0)
    levelled = level_labels(examples, 7, seed=0)
    assert sorted(example.label for example in levelled) == ["negative"] * 7 + ["positive"] * 7
    assert len({e.prompt for e in levelled if e.label == "negative"}) == 3
    assert len({e.prompt for e in levelled if e.label == "positive"}) == 7


def test_kinds_are_told_by_their_fields_or_by_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "notes.jsonl",
        {"question": "q", "answer": "a"},
        {"context": "c", "question": "q", "label": "yes"},
        {"abbreviation": "po", "meaning": "by mouth"},
    )
    assert [item.kind.name for item in read_items([path], MEDICAL)] == ["health", "research", "abbreviation"]
    questions = write(tmp_path / "policy.jsonl", {"context": "c", "question": "q", "answers": ["a"]})
    named = read_items([f"policy={questions}", f"qa={questions}"], INSTRUCT)
    assert [item.kind.name for item in named] == ["policy", "qa"]
    with pytest.raises(DataError, match=r"policy\.jsonl:1: no field 'text'; a moderation record has text, label"):
        read_items([f"moderation={questions}"], INSTRUCT)
    with pytest.raises(DataError, match=r"notes\.jsonl:1: the fields question, answer fit no kind"):
        read_items([path], LEGAL)


def test_reasons_quote_a_word_of_the_post() -> None:
    records = [{"text": "you are a fool", "label": "offensive"}, {"text": "you are a singer", "label": "neither"}] * 3
    records.append({"text": "those people are vermin", "label": "hate"})
    answers = explained(records)
    assert answers[0] == 'offensive. It is rude, as "fool" shows, but attacks no group of people.'
    assert answers[1].startswith("neither. ")
    assert any(word in answers[-1] for word in ('"those"', '"people"', '"vermin"'))
    assert "one of three fixed sentences" in MODERATION.description, "the card says what a reason is worth"


def test_prescriptions_are_many_distinct_and_without_the_one_held_out() -> None:
    made = read_items(["made:prescriptions"], MEDICAL)
    lines = {item.record["prescription"] for item in made}
    assert len(lines) == len(made) == MADE_COUNT
    assert not {line.lower() for line in HELD_OUT} & {line.lower() for line in lines}
    assert all(item.record["reading"].endswith(".") for item in made)


def test_reading_names_a_route_only_where_the_line_does() -> None:
    routes = {short: words for of_form in ROUTES.values() for short, words in of_form.items()}
    silent = 0
    for item in read_items(["made:prescriptions"], MEDICAL):
        line, reading = item.record["prescription"], item.record["reading"]
        named = [routes[word] for word in line.lower().split() if word in routes]
        said = [words for words in routes.values() if words in reading]
        assert said == named, line
        silent += not named
    assert silent > MADE_COUNT / 5


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data is not beside the project")
@pytest.mark.parametrize("name", sorted(FILES))
def test_public_files_are_read_whole(name: str) -> None:
    for file in FILES[name]:
        path = SHARED / f"{file}.jsonl"
        assert len(read_items([str(path)], TASKS[name])) == path.read_text().count("\n")


def test_number_after_a_source_draws_that_many(tmp_path: Path) -> None:
    path = write(tmp_path / "reviews.jsonl", *({"text": f"text {n}", "label": "positive"} for n in range(9)))
    drawn = read_items([f"{path}#4"], SENTIMENT)
    assert len({item.where for item in drawn}) == 4
    assert drawn == read_items([f"{path}#4"], SENTIMENT)
    for wrong in ("0", "-1", "many"):
        with pytest.raises(DataError, match="no number of records"):
            read_items([f"{path}#{wrong}"], SENTIMENT)


def test_a_kind_that_is_put_in_one_way_only_is_put_that_way() -> None:
    """Instructions are the plain form for a part of the examples only; where there is no other, for all."""
    instructed = INSTRUCT.kind("verdict")
    assert instructed is not None and len(instructed.forms) == 1
    records = [{"long_answer": f"It helps {n}.", "question": "Does it help?", "label": "yes"} for n in range(20)]
    given = [Item(instructed, record, f"file:{n}") for n, record in enumerate(records)]
    examples, _ = build_examples(given, INSTRUCT, Prompter(tokenizer()), 500, seed=0)
    assert len(examples) == 20
