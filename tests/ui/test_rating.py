"""The rating form and what it says."""

from __future__ import annotations

import pytest

from assistant.feedback.votes import Rating
from assistant.ui.rating import EMPTY, is_empty, rating_values, read_rating, summary

FULL = Rating(
    turn_id="t",
    thumb=False,
    scales={"fluency": 4, "correctness": 1},
    tags=("wrong", "my own"),
    comment="no",
    correction="Paris",
)


@pytest.mark.parametrize(
    "rating", [FULL, Rating(turn_id="t"), Rating(turn_id="t", thumb=True, scales={"relevance": 5})]
)
def test_a_rating_is_the_same_after_it_has_been_in_the_form(rating):
    assert read_rating("t", rating_values(rating)) == rating


def test_an_empty_form_says_nothing():
    assert is_empty(EMPTY) and read_rating("t", EMPTY).is_empty and rating_values(None) == EMPTY
    assert is_empty([*EMPTY[:-1], "  "]) and not is_empty(rating_values(FULL))


def test_a_rating_is_told_in_a_line():
    assert summary(FULL) == "Bad, fluency 4, correctness 1, wrong, my own, a comment, a correction"
