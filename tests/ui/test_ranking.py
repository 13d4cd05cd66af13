"""Votes as the browser sends them, and as they are shown again."""

from __future__ import annotations

import pytest

from assistant.errors import InvalidRequest
from assistant.feedback.votes import Ranking
from assistant.ui.board import from_record
from assistant.ui.ranking import by_place, ranking_html, ranking_text, read_ranks, vote_note
from assistant.ui.verdicts import ranks_by_place
from tests.ui.test_compare_view import EVIL, answered, part, record

THREE = from_record(record(answered(0, 2, part("x")), answered(1, 0, part(EVIL)), answered(2, 1, part("z"))))
WITH_FAILED = from_record(
    record(answered(0, 2, part("x")), answered(1, 0, state="failed", error="no"), answered(2, 1, part("z")))
)


def test_ranks_come_by_place_and_leave_out_what_has_not_finished():
    assert read_ranks(THREE, {"ranks": {"0": 2, "1": 1, "2": 2}}) == (2, 1, 2)
    assert read_ranks(WITH_FAILED, {"ranks": {"0": 2, "2": 1}}) == (2, 0, 1)


@pytest.mark.parametrize(
    "value", [None, {}, {"ranks": [1, 2, 3]}, {"ranks": {"0": 1, "1": 2}}, {"ranks": {"0": 1, "1": 2, "2": 9}}]
)
def test_ranks_that_do_not_fit_are_refused(value):
    with pytest.raises(InvalidRequest):
        read_ranks(THREE, value)


def test_answers_that_nobody_ranked_are_named_and_refused():
    with pytest.raises(InvalidRequest, match="rank the answers first: A, C have no number yet"):
        read_ranks(WITH_FAILED, {"ranks": {"0": None, "2": None}})
    with pytest.raises(InvalidRequest, match="rank the answers first: B has no number yet"):
        read_ranks(THREE, {"ranks": {"0": 1, "1": None, "2": 2}})


def test_the_order_of_the_columns_is_no_ranking():
    assert ranking_html(THREE).count('data-rank=""') == 3
    assert 'data-rank=""' not in ranking_html(THREE, (3, 1, 2))


def test_an_earlier_vote_is_shown_as_the_columns_stand():
    """The contestants stand in the order 2, 0, 1 and were ranked 1, 2, 3 by number."""
    vote = Ranking(comparison_id="c", verdict="ranked", ranks=(1, 2, 3))
    assert by_place(vote.ranks, (2, 0, 1)) == (3, 1, 2) == ranks_by_place(THREE, vote)
    made = ranking_html(THREE, (3, 1, 2))
    assert made.index('data-place="1"') < made.index('data-place="2"') < made.index('data-place="0"')


def test_places_stay_unknown_while_names_are_hidden():
    hidden = from_record(record(answered(0, None, part()), answered(1, None, part()), blind=True))
    assert ranks_by_place(hidden, Ranking(comparison_id="c", verdict="ranked", ranks=(1, 2, 3))) == ()


def test_two_answers_are_judged_by_one_click():
    made = ranking_html(WITH_FAILED)
    for label in ("A is better", "C is better", "A tie", "Both are bad", "Skip"):
        assert f">{label}<" in made
    assert "<ol" not in made


def test_more_answers_are_put_in_order_and_their_text_is_escaped():
    made = ranking_html(THREE)
    assert made.count("<li") == 3 and "Save the ranking" in made and "All are bad" in made and "<img" not in made


@pytest.mark.parametrize(
    ("verdict", "ranks", "told"),
    [
        ("ranked", (2, 1, 2), "B > A = C"),
        ("ranked", (2, 0, 1), "C > A"),
        ("all_bad", (), "all bad"),
        ("skipped", (), "skipped"),
    ],
)
def test_a_ranking_is_told_best_first(verdict, ranks, told):
    assert ranking_text(verdict, ranks) == told


def test_a_changed_vote_says_so():
    vote = Ranking(comparison_id="c", verdict="ranked", ranks=(1, 2))
    assert "changed" not in vote_note(vote, (1, 2), 0) and "changed 1 time" in vote_note(vote, (1, 2), 1)
