"""An answer against its references."""

from __future__ import annotations

import pytest

from assistant.comparison.scores import score


def test_without_references_there_is_nothing_to_score():
    assert score("Paris", ()) is None


def test_the_best_reference_counts_in_each_measure():
    """'The Paris.' is 'paris' to SQuAD's rules; to ROUGE it is two words, one of them in 'Paris'."""
    scores = score("The Paris.", ("London", "Paris"))
    assert (scores.exact_match, scores.f1) == (1.0, 1.0)
    assert scores.rouge_l == pytest.approx(2 / 3)


def test_an_answer_that_shares_no_word_scores_nothing():
    scores = score("Berlin", ("Paris",))
    assert (scores.exact_match, scores.f1, scores.rouge_l) == (0.0, 0.0, 0.0)
