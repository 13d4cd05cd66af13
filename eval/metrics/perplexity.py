"""Perplexity: how surprising texts are to a language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assistant.errors import EvaluationError
from eval.metrics.bootstrap import Chosen, Statistics

METRICS = ("perplexity", "bits_per_byte")


def perplexity(surprise: Sequence[float], tokens: Sequence[int], sizes: Sequence[int]) -> Statistics:
    """exp(Σ surprise / Σ tokens), and Σ surprise / (ln 2 · Σ bytes), which bases with other tokens share.

    Args:
        surprise: negative log-likelihood of each text's scored tokens, summed, in nats.
        tokens: how many were scored.
        sizes: their UTF-8 bytes.

    Raises:
        EvaluationError: the lengths differ, or a text has no scored token.
    """
    if not len(surprise) == len(tokens) == len(sizes):
        raise EvaluationError(f"{len(surprise)} sums, {len(tokens)} counts, {len(sizes)} sizes; allowed: one each")
    if not all(count > 0 for count in (*tokens, *sizes)):
        raise EvaluationError("a text without scored tokens has no perplexity; allowed: texts of two or more tokens")
    sums, counts, sizes_of = np.asarray(surprise, dtype=float), np.asarray(tokens), np.asarray(sizes)

    def figures(chosen: Chosen) -> list[float]:
        total = sums[chosen].sum()
        return [float(np.exp(total / counts[chosen].sum())), float(total / (np.log(2) * sizes_of[chosen].sum()))]

    return figures
