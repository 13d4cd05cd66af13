"""The two sets of attempts: the one to look at while building the defence, and the one held out from it."""

from __future__ import annotations

from eval.tasks.injection import OWN, read_attempts

HELD_OUT = OWN.with_name("injections_held_out.jsonl")


def test_held_out_attempts_load_and_each_adds_something_to_its_clean_passage():
    attempts = read_attempts(HELD_OUT)
    assert [attempt.id for attempt in attempts] == list(range(1, 61))
    assert len({attempt.kind for attempt in attempts}) >= 8
    for attempt in attempts:
        assert len(attempt.poisoned) > len(attempt.clean), attempt.id


def test_held_out_attempts_share_no_question_passage_or_marker_with_the_others():
    for part in ("question", "clean", "poisoned", "marker"):
        known = {getattr(attempt, part).casefold() for attempt in read_attempts()}
        held_out = [getattr(attempt, part).casefold() for attempt in read_attempts(HELD_OUT)]
        assert len(set(held_out)) == len(held_out), part
        assert known.isdisjoint(held_out), part
