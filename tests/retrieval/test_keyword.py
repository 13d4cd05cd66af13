"""The keyword index: whole words in any form, rare ones first."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from assistant.retrieval.keyword import KeywordIndex, stems

TEXTS = [
    "The tenants leave the flat.",
    "A tenant left; the ferry leaves too.",
    "Ferries, ferries and ferries!",
    "Copper melts at 1085 degrees.",
    "",
]
IDS = np.asarray([3, 5, 8, 13, 21], dtype=np.int64)
INDEX = KeywordIndex(IDS, TEXTS)


def test_words_are_lower_cased_stemmed_and_stop_words_dropped() -> None:
    assert list(stems(["The FERRIES were leaving at 9 in 2024, Ærø!", "what is it?"])) == [
        ["ferri", "leav", "9", "2024", "ærø"],
        [],
    ]


def test_other_forms_of_a_word_are_found_and_the_most_frequent_use_first() -> None:
    assert list(INDEX.search("ferry", 5)) == [8, 5]
    assert set(INDEX.search("leaving", 5)) == {3, 5}


def test_only_passages_that_share_a_word_are_found() -> None:
    assert list(INDEX.search("copper tariffs", 5)) == [13]
    assert INDEX.search("chromatography", 5) == {}
    assert INDEX.search("what is it about", 5) == {}
    assert INDEX.search("", 5) == {}


def test_rare_words_weigh_more() -> None:
    index = KeywordIndex(np.arange(4), ["report alpha", "report beta", "report gamma", "delta gamma"])
    assert next(iter(index.search("report delta", 4))) == 3


def test_only_what_is_allowed_is_found() -> None:
    assert list(INDEX.search("ferry", 5, np.asarray([True, True, False, True, True]))) == [5]
    assert INDEX.search("ferry", 5, np.zeros(5, dtype=np.bool_)) == {}


def test_at_most_as_many_as_asked_for() -> None:
    assert list(INDEX.search("ferry tenant copper", 1)) == list(INDEX.search("ferry tenant copper", 5))[:1]


def test_of_equals_the_lower_id_leads() -> None:
    index = KeywordIndex(np.arange(6), ["salt", "pepper", "salt", "salt", "sugar", "salt"])
    assert list(index.search("salt", 6)) == [0, 2, 3, 5]


@pytest.mark.parametrize("texts", [[], ["", "the of and"]])
def test_index_without_words_finds_nothing(texts: list[str]) -> None:
    index = KeywordIndex(np.arange(len(texts)), texts)
    assert index.search("ferry", 5) == {}
    assert list(index.updated(np.arange(7, 10), ["a", "the ferry", "b"]).search("ferry", 5)) == [8]


def test_update_scores_like_an_index_of_the_same_passages_and_leaves_the_old_one() -> None:
    ids, texts = np.asarray([3, 8, 13, 34]), [TEXTS[0], TEXTS[2], TEXTS[3], "A new ferry of copper."]
    after = INDEX.updated(ids, texts)
    assert after.search("new copper ferry tenants", 5) == pytest.approx(
        KeywordIndex(ids, texts).search("new copper ferry tenants", 5)
    )
    assert set(INDEX.search("ferry", 5)) == {5, 8}
    assert INDEX.search("new", 5) == {}


def test_score_is_a_share_of_the_most_there_could_be() -> None:
    """A passage of nothing but the word, over and over, nearly gets all of it; half the question, half of that."""
    index = KeywordIndex(np.arange(3), ["copper " * 1000, "ferry " * 1000, "salt"])
    assert 0.95 < index.search("Copper?", 1)[0] < 1
    assert index.search("copper ferry", 2)[0] == pytest.approx(index.search("copper", 1)[0] / 2)


def test_words_that_stand_in_no_passage_lower_the_score() -> None:
    assert INDEX.search("copper chromatography", 1)[13] < INDEX.search("copper", 1)[13] / 2


def test_library_keeps_its_notes_to_itself() -> None:
    assert not logging.getLogger("bm25s").isEnabledFor(logging.DEBUG)
