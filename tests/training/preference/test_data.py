"""Preference files: every form is read, what says nothing is left out, what is wrong is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.errors import DataError
from assistant.messages import Message
from assistant.training.data import split_validation
from assistant.training.preference.data import PARTS, Asked, Opinion, Pair, opinions, pairs, prompts, read_rows

PUBLIC = Path(__file__).parents[4] / "shared/data/preference"


def write(folder: Path, *rows: object) -> str:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad", "weight": 0.5},
        {"prompt": talk("q"), "chosen": talk("q", "good")[1:], "rejected": talk("q", "bad")[1:]},
        {"chosen": talk("q", "good"), "rejected": talk("q", "bad")},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
        {"id": 1, "prompt": "q", "response_a": "bad", "response_b": "good", "winner": "b", "annotators": [2, 1, 2]},
    ],
)
def test_every_form_of_a_pair_is_read(tmp_path: Path, row: object) -> None:
    [pair] = pairs(read_rows([write(tmp_path, row)]).rows)
    assert (pair.prompt, pair.chosen, pair.rejected) == ((user("q"),), "good", "bad")


def test_a_dialogue_keeps_its_earlier_turns(tmp_path: Path) -> None:
    head = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: "
    [pair] = pairs(read_rows([write(tmp_path, {"chosen": head + "d", "rejected": head + "e"})]).rows)
    assert [message.content for message in pair.prompt] == ["a", "b", "c"]
    assert (pair.chosen, pair.rejected, pair.source) == ("d", "e", "a")


def test_single_ratings_and_bare_prompts_are_read(tmp_path: Path) -> None:
    rows = read_rows([write(tmp_path, {"prompt": "q", "completion": "a", "label": False}, {"prompt": "p"})]).rows
    where = str(tmp_path / "rows.jsonl")
    assert rows == [Opinion((user("q"),), f"{where}:1", "a", False), Asked((user("p"),), f"{where}:2")]


def test_pairs_become_two_opinions_and_prompts_are_taken_once(tmp_path: Path) -> None:
    pair = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    rows = read_rows([write(tmp_path, pair, {**pair, "chosen": "fine"})]).rows
    assert [(o.completion, o.label) for o in opinions(rows)] == [
        ("good", True), ("bad", False), ("fine", True), ("bad", False)
    ]  # fmt: skip
    assert len(prompts(rows)) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "response_a": "a", "response_b": "b", "annotators": [1, 2]}, "a tie"),
        ({"prompt": "q", "response_a": "a", "response_b": "b", "annotators": [0, 0, 2]}, "a tie"),
        ({"prompt": "q", "chosen": "a ", "rejected": "a"}, "both answers are the same"),
        ({"prompt": "q", "chosen": "a", "rejected": " "}, "an answer is empty"),
        ({"chosen": talk("q", "a"), "rejected": talk("p", "b")}, "differ before their last answer"),
    ],
)
def test_what_says_nothing_is_left_out_by_name(tmp_path: Path, row: object, reason: str) -> None:
    source = write(tmp_path, {"prompt": "q", "chosen": "good", "rejected": "bad"}, row)
    rows = read_rows([source])
    assert len(rows.rows) == 1
    [told] = rows.left_out
    assert f"{source}:2" in told and reason in told


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "no JSON"),
        ({"question": "q"}, "of no known form; allowed: prompt, chosen, rejected"),
        ({"prompt": "q", "completion": "a", "label": "yes"}, "label is 'yes'; allowed: true, false"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "weight": 0}, "weight is 0; allowed: a finite number above 0"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "weight": float("inf")}, "weight is inf; allowed: a finite"),
        ({"prompt": "q", "completion": "a", "label": True, "votes": 0}, "votes are 0; allowed: whole numbers from 1"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt is 3; allowed: a text, or a list of messages"),
        ({"prompt": talk("q", "a"), "chosen": "a", "rejected": "b"}, "must end with a message of the user's"),
        ({"prompt": "q", "chosen": talk("a", "b"), "rejected": "b"}, "chosen holds 2 messages"),
        ({"prompt": [{"role": "robot", "content": "q"}]}, "each message has role"),
        ({"chosen": "a", "rejected": "b"}, "has no 'Human:'"),
        ({"prompt": "q", "response_a": "a", "response_b": "b", "annotators": [3]}, "allowed: a list of 0"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path: Path, row: object, words: str) -> None:
    source = write(tmp_path, {"prompt": "q", "chosen": "good", "rejected": "bad"}, row)
    with pytest.raises(DataError, match=r"rows\.jsonl:2") as refusal:
        read_rows([source])
    assert words in str(refusal.value)


def test_weights_and_votes_of_the_projects_own_export_are_read(tmp_path: Path) -> None:
    pair = {"prompt": talk("q"), "chosen": talk("q", "a")[1:], "rejected": talk("q", "b")[1:], "weight": 1 / 3}
    rated = {"prompt": talk("q"), "completion": talk("q", "a")[1:], "label": True, "votes": 3}
    rows = read_rows([write(tmp_path, pair, rated)]).rows
    assert pairs(rows[:1])[0].weight == pytest.approx(1 / 3)
    assert len(opinions(rows[1:])) == 3


def test_rows_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    rows = read_rows([write(tmp_path, {"prompt": "q", "completion": "a", "label": True}, {"prompt": "p"})]).rows
    with pytest.raises(DataError, match=r"rows.jsonl:1: no pair; what this recipe reads has prompt, chosen"):
        pairs(rows)
    with pytest.raises(DataError, match=r"rows.jsonl:2: no opinion"):
        opinions(rows)


def test_parts_share_no_prompt_and_together_hold_all_rows(tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {n % 60}", "chosen": f"good {n}", "rejected": "bad"} for n in range(120)]
    source = write(tmp_path, *rows)
    parts = {part: read_rows([f"{source}@{part}"]).rows for part in PARTS}
    groups = [{row.source for row in found} for found in parts.values()]
    assert sum(map(len, parts.values())) == 120 and not set.intersection(*groups)
    assert sum(map(len, groups)) == 60
    assert len(parts["train"]) > len(parts["test"])
    # Neither case nor blanks make another prompt of it.
    assert Asked((user("question  7"),), "").part == Asked((user("Question 7 "),), "").part


def test_training_and_validation_share_no_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n % 10}", "chosen": f"good {n}", "rejected": "bad"} for n in range(40)]
    training, validation = split_validation(pairs(read_rows([write(tmp_path, *rows)]).rows), 9, seed=0)
    assert len(validation) == 12 and len(training) == 28
    assert not {pair.source for pair in training} & {pair.source for pair in validation}


@pytest.mark.parametrize("count", ["0", "x", "-1"])
def test_a_number_of_rows_that_is_none_is_refused(tmp_path: Path, count: str) -> None:
    with pytest.raises(DataError, match="is no number of rows"):
        read_rows([f"{write(tmp_path, {'prompt': 'q'})}#{count}"])


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the public data is not here")
def test_the_public_files_are_read_whole() -> None:
    pandalm, dialogues = (read_rows([str(PUBLIC / name)]) for name in ("pandalm.jsonl", "hh_harmless.jsonl"))
    assert len(pandalm.rows) + len(pandalm.left_out) == 999
    assert sum("a tie" in reason for reason in pandalm.left_out) == 105
    assert len(dialogues.rows) + len(dialogues.left_out) == 2312 and len(dialogues.left_out) < 20
    assert all(isinstance(row, Pair) for row in (*pandalm.rows, *dialogues.rows))
