"""Metrics, with the arithmetic worked out."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import measure, measure_mean
from eval.metrics.classification import classification
from eval.metrics.em_f1 import exact_match, normalise, raw_match, token_f1


def test_normalisation_drops_case_articles_and_punctuation() -> None:
    assert normalise("The  Grey-Hills, an area.") == "greyhills area"


def test_exact_match_ignores_what_normalisation_drops_and_raw_match_does_not() -> None:
    assert exact_match("the Orla.", ["Orla"]) == 1.0
    assert raw_match("the Orla.", ["Orla"]) == 0.0
    assert raw_match(" Orla ", ["x", "Orla"]) == 1.0
    assert exact_match("Orla river", ["Orla"]) == 0.0


def test_f1_is_the_best_over_the_accepted_answers() -> None:
    """ "old stone bridge" against "stone bridge": 2 common, precision 2/3, recall 2/2, F1 = 2·2/(3+2) = 0.8."""
    assert token_f1("the old stone bridge", ["harbour", "stone bridge"]) == pytest.approx(0.8)


def test_f1_counts_a_repeated_word_as_often_as_both_have_it() -> None:
    """ "new new york" against "new york": common = 1 new + 1 york = 2; F1 = 2·2/(3+2) = 0.8."""
    assert token_f1("new new york", ["new york"]) == pytest.approx(0.8)


def test_f1_of_nothing_in_common_or_nothing_at_all() -> None:
    assert token_f1("red", ["blue"]) == 0.0
    assert token_f1("", ["blue"]) == 0.0
    assert token_f1("the", ["a"]) == 1.0  # Both are empty once articles are gone, as in SQuAD's own script.


def test_question_without_accepted_answers_cannot_be_scored() -> None:
    with pytest.raises(EvaluationError, match="without accepted answers"):
        exact_match("x", [])


def test_classification_averages_over_the_labels() -> None:
    """Expected p p n n, predicted p n n other.

    accuracy 2/4. p: precision 1/1, recall 1/2, F1 2/3. n: precision 1/2, recall 1/2, F1 1/2.
    Macro: precision 3/4, recall 1/2, F1 7/12.
    """
    scores = classification(["p", "n", "n", "other"], ["p", "p", "n", "n"], ("p", "n"))
    values = {name: score.value for name, score in scores.items()}
    assert values == pytest.approx({"accuracy": 0.5, "precision": 0.75, "recall": 0.5, "f1": 7 / 12})


def test_classification_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(EvaluationError, match="1 predictions for 2 examples"):
        classification(["p"], ["p", "n"], ("p", "n"))


def test_interval_of_a_proportion_is_close_to_the_binomial_one() -> None:
    """80 of 100 right: standard error √(0.8·0.2/100) = 0.04, so about 0.8 ± 1.96·0.04 = 0.72 to 0.88."""
    result = measure_mean([1.0] * 80 + [0.0] * 20)
    assert result.value == pytest.approx(0.8)
    assert result.low == pytest.approx(0.72, abs=0.02)
    assert result.high == pytest.approx(0.88, abs=0.02)


def test_interval_is_the_same_each_time_and_a_point_where_nothing_varies() -> None:
    values = [0.0, 1.0, 1.0, 0.5]
    assert measure_mean(values) == measure_mean(values)
    [same] = measure(lambda chosen: [float(np.full(3, 0.25)[chosen].mean())], 3)
    assert (same.low, same.value, same.high) == (0.25, 0.25, 0.25)


def test_empty_run_is_an_error_and_no_zero() -> None:
    with pytest.raises(EvaluationError, match="no examples"):
        measure_mean([])
