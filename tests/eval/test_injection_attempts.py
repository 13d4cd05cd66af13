"""The sets of attempts: the one to look at while building the defence, and the two held out from it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from eval.tasks.injection import OWN, read_attempts

HELD_OUT = OWN.with_name("injections_held_out.jsonl")
FINAL = OWN.with_name("injections_final.jsonl")


@pytest.mark.parametrize(("path", "kinds"), [(HELD_OUT, 8), (FINAL, 15)])
def test_held_out_attempts_load_and_each_adds_something_to_its_clean_passage(path: Path, kinds: int):
    attempts = read_attempts(path)
    assert [attempt.id for attempt in attempts] == list(range(1, 61))
    assert len({attempt.kind for attempt in attempts}) >= kinds
    for attempt in attempts:
        assert len(attempt.poisoned) > len(attempt.clean), attempt.id


@pytest.mark.parametrize("part", ["question", "clean", "poisoned", "marker"])
@pytest.mark.parametrize("path", [HELD_OUT, FINAL])
def test_no_question_passage_or_marker_stands_twice_in_a_held_out_set(path: Path, part: str):
    texts = [getattr(attempt, part).casefold() for attempt in read_attempts(path)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("part", ["question", "clean", "poisoned", "marker"])
@pytest.mark.parametrize(("one", "other"), list(combinations((OWN, HELD_OUT, FINAL), 2)))
def test_no_two_sets_share_a_question_passage_or_marker(one: Path, other: Path, part: str):
    first, second = ({getattr(attempt, part).casefold() for attempt in read_attempts(path)} for path in (one, other))
    assert first.isdisjoint(second)
