"""BLEU (Papineni et al., 2002) and chrF (Popović, 2015) of a whole corpus, as sacreBLEU counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Chosen, Statistics

METRICS = ("bleu", "chrf")


def translation(answers: Sequence[str], references: Sequence[Sequence[str]]) -> Statistics:
    """The figures named in `METRICS`, from 0 to 100: counts are summed over the chosen sentences, then scored once.

    Args:
        references: one or more for each answer.

    Raises:
        EvaluationError: the lengths differ, or a reference is missing.
    """
    if len(answers) != len(references) or not all(references):
        raise EvaluationError(f"{len(answers)} answers, {len(references)} lists of references; allowed: one for each")
    # sacreBLEU takes the first references of all sentences, then the second…; None where one has fewer.
    most = max(len(own) for own in references)
    streams: list[Any] = [[own[n] if n < len(own) else None for own in references] for n in range(most)]
    metrics = (BLEU(), CHRF())
    # Its own bootstrap gives half the width of the interval only, so the counts it draws from are taken.
    counts = [np.asarray(metric._extract_corpus_statistics(answers, streams)) for metric in metrics]

    def scores(chosen: Chosen) -> list[float]:
        return [
            float(metric._compute_score_from_stats(own[chosen].sum(axis=0).tolist()).score)
            for metric, own in zip(metrics, counts, strict=True)
        ]

    return scores
