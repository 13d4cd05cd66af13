"""Simulated voters: a taste that is known exactly, and how surely they vote by it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assistant.errors import EvaluationError

FORMS = "shorter, word:WORD, ending:TEXT, characters:SET"


@dataclass(frozen=True)
class Taste:
    """`value` says how much an answer is to the taste, in `unit`; `noise` is the spread of votes, in the same unit."""

    name: str
    unit: str
    value: Callable[[str], float]
    noise: float


def read_taste(text: str, noise: float | None = None) -> Taste:
    """A taste by its name.

    `shorter`: the fewer words the better. `word:WORD`: the word stands in it, whatever its case. `ending:TEXT`: it ends
    so. `characters:SET`: the share of its characters that are in the set.

    Raises:
        EvaluationError: there is no such taste, or the noise is not above 0.
    """
    if noise is not None and not noise > 0:
        raise EvaluationError(f"--noise {noise:g}: allowed are numbers above 0")
    kind, _, what = text.partition(":")
    if text == "shorter":
        return Taste(text, "words less", lambda answer: -float(len(answer.split())), noise or 4.0)
    if kind == "word" and what:
        return Taste(text, "share with it", lambda answer: float(what.casefold() in answer.casefold()), noise or 0.25)
    if kind == "ending" and what:
        return Taste(text, "share with it", lambda answer: float(answer.rstrip().endswith(what)), noise or 0.25)
    if kind == "characters" and what:
        return Taste(text, "share of characters", lambda answer: _share(answer, frozenset(what)), noise or 0.05)
    raise EvaluationError(f"--taste {text!r}; allowed: {FORMS}")


def ranks(taste: Taste, answers: Sequence[str], seed: int, about: str) -> tuple[int, ...]:
    """The ranks a voter of this taste gives, 1 for the best, no ties; an answer without a word comes last.

    The answers are sorted by value / noise + g with g from the standard Gumbel distribution, which is Plackett and
    Luce's model: of two, the first is preferred with probability sigmoid((v₁ − v₂) / noise).

    Args:
        about: what the vote is about; the same seed and the same words give the same vote.
    """
    digest = hashlib.sha256(about.encode()).digest()
    draw = np.random.default_rng([seed, int.from_bytes(digest[:8])])
    keys = [
        (bool(answer.strip()), taste.value(answer) / taste.noise + g)
        for answer, g in zip(answers, draw.gumbel(size=len(answers)), strict=True)
    ]
    best_first = sorted(range(len(answers)), key=lambda n: keys[n], reverse=True)
    return tuple(best_first.index(n) + 1 for n in range(len(answers)))


def _share(answer: str, wanted: frozenset[str]) -> float:
    return sum(character in wanted for character in answer) / len(answer) if answer else 0.0
