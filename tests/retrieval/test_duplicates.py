"""When one passage makes another needless."""

from __future__ import annotations

import pytest

from assistant.retrieval.duplicates import is_duplicate

CLAUSE = "The supplier tells the customer within ten days of any change to the terms that are set out in this contract."


@pytest.mark.parametrize("other", [CLAUSE, CLAUSE.upper(), CLAUSE.replace(" ", "\n "), CLAUSE.replace(".", " — !")])
def test_case_spacing_and_punctuation_make_no_difference(other: str) -> None:
    assert is_duplicate(CLAUSE, other, similarity=0.5)


def test_a_word_here_and_there_makes_none_where_the_meaning_is_the_same() -> None:
    other = CLAUSE.replace("any change", "a change")
    assert is_duplicate(CLAUSE, other, similarity=0.99)
    assert not is_duplicate(CLAUSE, other, similarity=0.9)


def test_other_numbers_are_another_passage() -> None:
    assert not is_duplicate(CLAUSE.replace("ten", "10"), CLAUSE.replace("ten", "30"), similarity=0.999)
    assert is_duplicate(CLAUSE.replace("ten", "10"), CLAUSE.replace("ten", "10") + " Indeed", similarity=0.999)


def test_same_words_in_another_order_are_another_passage() -> None:
    swapped = (
        "The customer tells the supplier within ten days of any change to the terms set out in that contract, are this."
    )
    assert not is_duplicate(CLAUSE, swapped, similarity=0.999)
