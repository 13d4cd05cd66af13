"""Whether anything that a search has found fits its question, so that what does not fit is never handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assistant.errors import NothingRelevant
from assistant.messages import Passage
from assistant.retrieval.chunking import sentences

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

LEAST_SIMILARITY = 0.3
"""Cosine similarity from which a passage may answer a question. Chosen with the next: see docs/retrieval.md."""

LEAST_WORDS = 0.4
"""Word score from which a passage may answer a question, however far its vector."""

READ_CLOSELY = 3
"""Nearest passages whose sentences are looked at before a question is refused; more change next to nothing."""


def check_relevant(
    near: Mapping[int, float],
    worded: Mapping[int, float],
    passages: Mapping[int, Passage],
    vector: NDArray[np.float32],
    embed: Embed,
    searched: int,
) -> None:
    """Where nothing fits by its vector or its words, the nearest passages are read sentence by sentence.

    A passage of several facts is only as near to a question about one of them as they are on average. So its
    similarity is then the mean of that of the whole and that of its nearest sentence: a sentence alone is too short
    to be trusted, and something is near almost any question among many.

    Args:
        near: ids of passages → cosine similarity to the question, nearest first; worded: → word score, best first. A
            search among a few of very many may find none.
        passages: those of them that are still there.
        vector: the question's, of unit norm: (d,).
        searched: how many passages were looked at.

    Raises:
        NothingRelevant: nothing fits; tells the figures.
    """
    nearest, best = next(iter(near.values()), 0.0), next(iter(worded.values()), 0.0)
    if nearest >= LEAST_SIMILARITY or best >= LEAST_WORDS:
        return
    closely = [id for id in near if id in passages][:READ_CLOSELY]
    closest = max((_similarity(passages[id].text, near[id], vector, embed) for id in closely), default=nearest)
    if closest < LEAST_SIMILARITY:
        raise NothingRelevant(
            f"Nothing in the documents fits the question: of {searched:,} passages the nearest has a similarity of "
            f"{max(nearest, closest):.2f} where {LEAST_SIMILARITY} is needed, and the best by words a score of "
            f"{best:.2f} where {LEAST_WORDS} is needed."
        )


def _similarity(text: str, whole: float, vector: NDArray[np.float32], embed: Embed) -> float:
    pieces = [text[start:end] for start, end in sentences(text, 0, len(text))]
    return (whole + float((embed(pieces) @ vector).max())) / 2
