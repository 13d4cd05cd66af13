"""KTO: good answers become likelier against the start than bad ones, from single ratings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.catalog import Catalog
from assistant.training import run
from assistant.training.preference.rendering import OpinionIds
from assistant.training.preference.unpaired import table
from tests.training.preference.harness import command, curve, report


def write_ratings(place: Path, good: int, bad: int) -> None:
    rows = [{"prompt": f"question {n}", "completion": "aaaa", "label": True} for n in range(good)]
    rows += [{"prompt": f"query {n}", "completion": "ZZZZ", "label": False} for n in range(bad)]
    (place / "ratings.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def test_good_answers_gain_on_bad_ones(place: Path) -> None:
    write_ratings(place, good=12, bad=20)
    assert run.main(command("kto", data="ratings.jsonl", validation=8)) == 0
    told = report(place, "kto")
    assert told["validation_good"] > told["validation_bad"]
    assert curve(place, "kto", "validation_margin")[-1] > curve(place, "kto", "validation_margin")[0]
    assert Catalog(place / "adapters").get("kto").card.task == "chat"


def test_pairs_are_read_as_a_good_and_a_bad_answer_each(place: Path) -> None:
    assert run.main(command("kto", epochs=1)) == 0
    assert report(place, "kto")["train_examples"] == 42


@pytest.mark.parametrize(
    ("good", "bad", "batch", "words"),
    [(8, 0, 4, "8 good and 0 bad answers"), (8, 8, 6, "kto computes 4 answers at a time")],
)
def test_what_kto_cannot_learn_from_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], good: int, bad: int, batch: int, words: str
) -> None:
    write_ratings(place, good, bad)
    assert run.main(command("kto", data="ratings.jsonl", validation=0, batch_size=batch)) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 4, 5, 7])
def test_beside_each_answer_stands_one_of_another_row_of_its_pass(count: int) -> None:
    rows = table([OpinionIds([1], [n], bool(n % 2)) for n in range(count)], seed=0)
    own, other = rows["completion_ids"], rows["KL_completion_ids"]
    assert sorted(own[n][0] for n in range(count)) == list(range(count))
    for start in range(0, count - 1, 4):
        part = slice(start, start + 4)
        assert sorted(other[part]) == sorted(own[part]) or len(own[part]) == 1
    assert count == 1 or all(mine != theirs for mine, theirs in zip(own, other, strict=True))
