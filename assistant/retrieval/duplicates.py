"""When two passages say the same, so that one of them is enough."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

SIMILAR = 0.97
"""Cosine similarity from which two passages are looked at as possible copies."""

SAME_WORDS = 0.9
"""Share of words, in the same order, that copies have in common (`difflib`'s ratio)."""

WORD = re.compile(r"\w+")


def is_duplicate(one: str, other: str, similarity: float) -> bool:
    """Whether two texts of this cosine similarity are copies but for case, spacing, punctuation and a word here and there.

    Texts with other numbers are none, however near their vectors: two rows of a table, or two versions of a contract,
    may differ in the one figure that is asked for.
    """
    words, others = WORD.findall(one.lower()), WORD.findall(other.lower())
    if words == others:
        return True
    if similarity < SIMILAR or _numbers(words) != _numbers(others):
        return False
    return SequenceMatcher(None, words, others, autojunk=False).ratio() >= SAME_WORDS


def _numbers(words: list[str]) -> list[str]:
    return [word for word in words if any(letter.isdigit() for letter in word)]
