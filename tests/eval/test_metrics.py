"""Metrics, with the arithmetic worked out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from assistant.errors import EvaluationError
from assistant.measures.em_f1 import exact_match, normalise, raw_match, token_f1
from assistant.measures.rouge import rouge
from eval.metrics.bootstrap import Statistics, means, measure, measure_mean
from eval.metrics.calibration import calibration
from eval.metrics.classification import classification, confusion
from eval.metrics.paired import mcnemar, paired_bootstrap
from eval.metrics.perplexity import perplexity
from eval.metrics.translation import translation


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


def whole(statistics: Statistics, count: int) -> list[float]:
    """The figures on every example once."""
    return list(statistics(np.arange(count)))


def test_classification_averages_over_the_labels() -> None:
    """Expected p p n n, predicted p n n other.

    accuracy 2/4. p: precision 1/1, recall 1/2, F1 2/3. n: precision 1/2, recall 1/2, F1 1/2.
    Macro: precision 3/4, recall 1/2, F1 7/12.
    """
    scores = classification(["p", "n", "n", "other"], ["p", "p", "n", "n"], ("p", "n"))
    assert whole(scores, 4) == pytest.approx([0.5, 0.75, 0.5, 7 / 12])


def test_classification_leaves_out_labels_that_are_neither_expected_nor_given() -> None:
    """Expected p p n, predicted p n n, and nothing about q and r: p has F1 2/3 and n 2/3, so that the mean is 2/3.

    Of the first alone p has 1 throughout. Of the second p has 0, as it is expected, and n 0, as it is given.
    """
    scores = classification(["p", "n", "n"], ["p", "p", "n"], ("p", "n", "q", "r"))
    assert whole(scores, 3) == pytest.approx([2 / 3, 3 / 4, 3 / 4, 2 / 3])
    assert scores(np.array([0])) == [1.0, 1.0, 1.0, 1.0]
    assert scores(np.array([1])) == [0.0, 0.0, 0.0, 0.0]
    assert scores(np.array([0, 1])) == pytest.approx([1 / 2, 1 / 2, 1 / 4, 1 / 3])


@pytest.mark.parametrize("kept", [60, 3, 1])
def test_classification_is_that_of_scikit_learn(kept: int) -> None:
    """With its default, the labels that occur; an answer that names none has no place of its own in the average."""
    labels = ("a", "b", "c", "d")
    draw = np.random.default_rng(0)
    expected = draw.choice(labels[:3], size=60).tolist()
    predicted = draw.choice([*labels[:3], "other"], size=60).tolist()
    for _ in range(20):
        chosen = draw.integers(0, 60, size=kept)
        right, guess = [expected[n] for n in chosen], [predicted[n] for n in chosen]
        occurring = sorted({*right, *guess} - {"other"})
        macro = precision_recall_fscore_support(right, guess, labels=occurring, average="macro", zero_division=0)
        assert classification(predicted, expected, labels)(chosen) == pytest.approx(
            [accuracy_score(right, guess), *macro[:3]]
        )


def test_classification_refuses_unequal_lengths_and_unknown_labels() -> None:
    with pytest.raises(EvaluationError, match="1 predictions for 2 examples"):
        classification(["p"], ["p", "n"], ("p", "n"))
    with pytest.raises(EvaluationError, match="label 'q'; allowed: p, n"):
        classification(["p"], ["q"], ("p", "n"))


def test_confusion_counts_who_is_taken_for_whom() -> None:
    assert confusion(["n", "n", "p"], ["p", "p", "p"]) == {"p": {"n": 2, "p": 1}}


def test_calibration_error_weighs_the_gap_of_each_bin() -> None:
    """Bin (0.7, 0.8]: confidences 0.75 and 0.8, one right: |0.5 − 0.775| = 0.275. Bin (0.9, 1]: 0.95 twice, both
    right: 0.05. ECE = 2/4 · 0.275 + 2/4 · 0.05 = 0.1625."""
    assert whole(calibration([0.75, 0.8, 0.95, 0.95], [1, 0, 1, 1]), 4) == pytest.approx([0.1625])


def test_calibration_takes_probabilities_of_as_many_answers() -> None:
    with pytest.raises(EvaluationError, match="2 confidences for 1 answers"):
        calibration([0.5, 0.5], [1])
    with pytest.raises(EvaluationError, match=r"1\.5; allowed: 0 to 1"):
        calibration([1.5], [1])


def test_rouge_counts_words_pairs_and_runs() -> None:
    """ "the cat sat" against "the cat slept": 2 of 3 words, 1 of 2 pairs, longest run 2 of 3."""
    scores = rouge("The cat sat.", ["the cat slept"])
    assert scores == pytest.approx({"rouge_1": 2 / 3, "rouge_2": 1 / 2, "rouge_l": 2 / 3})


def test_rouge_knows_stems_and_takes_the_best_reference() -> None:
    assert rouge("dogs barking", ["nothing alike", "dog barks"])["rouge_1"] == 1.0
    with pytest.raises(EvaluationError, match="without references"):
        rouge("x", [])


def test_bleu_and_chrf_are_those_of_sacrebleu_on_the_drawn_sentences() -> None:
    answers = ["the small cat sat on a mat", "he eats green apples every day", "no"]
    references = [["the cat sat on the mat", "a small cat sat on a mat"], ["he eats green apples each day"], ["yes"]]
    chosen = np.asarray([0, 0, 1])
    drawn = [answers[n] for n in chosen]
    streams = [[references[n][0] for n in chosen], [references[0][1], references[0][1], None]]
    assert translation(answers, references)(chosen) == pytest.approx(
        [BLEU().corpus_score(drawn, streams).score, CHRF().corpus_score(drawn, streams).score]
    )


def test_bleu_by_hand() -> None:
    """One sentence of five words, the last one wrong: precisions 4/5, 3/4, 2/3, 1/2, as long as the reference:
    100 · (4/5 · 3/4 · 2/3 · 1/2)^(1/4) = 100 · 0.2^(1/4)."""
    [bleu, _] = whole(translation(["a b c d e"], [["a b c d f"]]), 1)
    assert bleu == pytest.approx(100 * 0.2**0.25)


def test_translation_needs_references() -> None:
    with pytest.raises(EvaluationError, match="one for each"):
        translation(["a"], [[]])


def test_perplexity_weighs_tokens_and_not_texts() -> None:
    """Texts of 1 token at ln 8 and 3 tokens at ln 2 each: exp((3 ln 2 + 3 ln 2) / 4) = 2^1.5.

    Bits: 6 over 4 + 8 bytes = 0.5."""
    figures = perplexity([math.log(8), 3 * math.log(2)], [1, 3], [4, 8])
    assert whole(figures, 2) == pytest.approx([2**1.5, 0.5])


def test_text_without_scored_tokens_has_no_perplexity() -> None:
    with pytest.raises(EvaluationError, match="two or more tokens"):
        perplexity([0.0], [0], [1])


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


def test_paired_difference_is_far_surer_than_the_two_intervals() -> None:
    """Both runs vary from example to example, yet the second is better by 0.1 on each: the difference does not vary."""
    first = np.linspace(0, 0.9, 30)
    [found] = paired_bootstrap(means(first.tolist()), means((first + 0.1).tolist()), 30)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.p == pytest.approx(2 / 1001)


def test_equal_runs_do_not_differ() -> None:
    values = [0.0, 1.0, 0.5]
    [found] = paired_bootstrap(means(values), means(values), 3)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_interval_of_a_paired_difference_is_that_of_the_mean_of_the_differences() -> None:
    """60 differences of 1 and 40 of 0: mean 0.6, standard error √(0.6·0.4/100) = 0.049: 0.6 ± 0.096."""
    [found] = paired_bootstrap(means([0.0] * 100), means([1.0] * 60 + [0.0] * 40), 100)
    assert (found.low, found.high) == pytest.approx((0.504, 0.696), abs=0.02)


def test_mcnemar_counts_only_what_tells_the_runs_apart() -> None:
    """One run alone is right on 1, the other alone on 5: p = 2 · (1 + 6) / 2^6 = 14/64."""
    first = [1, 1, 1, 0, 0, 0, 0, 0, 0]
    second = [1, 1, 0, 1, 1, 1, 1, 1, 0]
    assert mcnemar(first, second) == pytest.approx(14 / 64)
    assert mcnemar([1, 0], [1, 0]) == 1.0


def test_mcnemar_takes_right_and_wrong_only() -> None:
    with pytest.raises(EvaluationError, match="right"):
        mcnemar([0.5], [1])
