"""Noise as users make it: typing errors, misspellings, slang, no capitals, wrong spaces, sentences beside the point.

Every kind is a function (text, rate, random numbers) → text. It changes the given share of the *places* it can
change: words, or for distractors the whole text. A share that is no whole number of places is rounded up or down at
random, so that it holds on average over many texts. With the same random numbers a higher rate changes the same places
and more, each in the same way, and a rate of 0 gives the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from random import Random

from assistant.errors import EvaluationError
from eval.noise_words import DISTRACTORS, MISSPELLING_RULES, MISSPELLINGS, NEIGHBOURS, SLANG

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
"""A run of letters, with one apostrophe inside."""


@dataclass(frozen=True)
class Change:
    """One place of a text and what may stand there instead."""

    start: int
    end: int
    instead: str


def noise(kind: str, text: str, rate: float, seed: int | str) -> str:
    """The text with noise of one kind; equal arguments give equal noise.

    Raises:
        EvaluationError: the kind is unknown or the rate is not in [0, 1].
    """
    if kind not in KINDS:
        raise EvaluationError(f"no noise {kind!r}; allowed: {', '.join(KINDS)}")
    if not 0 <= rate <= 1:
        raise EvaluationError(f"noise rate {rate}: allowed are numbers from 0 to 1")
    return KINDS[kind](text, rate, Random(f"{seed} {kind} {text}"))


def share_changed(before: str, after: str) -> float:
    """Share of the words of `before` that `after` has not in the same order; 0 for a text without words."""
    old, new = before.split(), after.split()
    kept = sum(block.size for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks())
    return 1 - kept / len(old) if old else 0.0


def typos(text: str, rate: float, random: Random) -> str:
    """One slip in each chosen word of two letters or more: a neighbouring key, two letters swapped, one lost or doubled."""
    return _apply(
        text, rate, random, (_at(word, slip) for word in WORD.finditer(text) if (slip := _slip(word, random)))
    )


def misspellings(text: str, rate: float, random: Random) -> str:
    """Usual misspellings from a table, or by the first rule that fits the word."""
    changes = []
    for word in PHRASE_OR_WORD["misspellings"].finditer(text):
        wrong = _misspelt(word.group().lower())
        if wrong is not None:
            changes.append(_at(word, wrong))
    return _apply(text, rate, random, changes)


def slang(text: str, rate: float, random: Random) -> str:
    """Abbreviations and spoken forms from a table; other words in -ing lose their g."""
    changes = []
    for word in PHRASE_OR_WORD["slang"].finditer(text):
        plain = " ".join(word.group().lower().split())
        if plain in SLANG:
            changes.append(_at(word, SLANG[plain]))
        elif len(plain) > 5 and plain.endswith("ing"):
            changes.append(_at(word, plain[:-1]))
    return _apply(text, rate, random, changes)


def lower_case(text: str, rate: float, random: Random) -> str:
    """Words with capitals are written without; a text without capitals stays as it is."""
    words = (word for word in WORD.finditer(text) if not word.group().islower())
    return _apply(text, rate, random, [Change(*word.span(), word.group().lower()) for word in words])


def spacing(text: str, rate: float, random: Random) -> str:
    """Each chosen word is run into the next one or, from four letters on, split in two."""
    changes = []
    for word in WORD.finditer(text):
        gap = re.compile(r"[ \t]+(?=\w)").match(text, word.end())
        can_split = len(word.group()) >= 4
        if gap and (not can_split or random.random() < 0.5):
            changes.append(Change(*gap.span(), ""))
        elif can_split:
            place = word.start() + random.randint(2, len(word.group()) - 2)
            changes.append(Change(place, place, " "))
    return _apply(text, rate, random, changes)


def distractors(text: str, rate: float, random: Random) -> str:
    """A sentence beside the point before or after the text; the rate is the share of texts that get one."""
    sentence, place = random.choice(DISTRACTORS), random.choice((0, len(text)))
    instead = f"{sentence} " if place == 0 else f" {sentence}"
    return _apply(text, rate, random, [Change(place, place, instead)])


KINDS: Mapping[str, Callable[[str, float, Random], str]] = {
    "typos": typos,
    "misspellings": misspellings,
    "slang": slang,
    "lower-case": lower_case,
    "spacing": spacing,
    "distractors": distractors,
}


def _apply(text: str, rate: float, random: Random, places: Iterable[Change]) -> str:
    """The text with this share of the changes made. Everything random was drawn before the rate is looked at."""
    changes = list(places)
    random.shuffle(changes)
    count = int(rate * len(changes) + random.random())
    for change in sorted(changes[:count], key=lambda change: change.start, reverse=True):
        text = text[: change.start] + change.instead + text[change.end :]
    return text


def _at(word: re.Match[str], instead: str) -> Change:
    """The word replaced, with the capital it had at its beginning."""
    if word.group()[0].isupper():
        instead = instead[0].upper() + instead[1:]
    return Change(*word.span(), instead)


def _slip(match: re.Match[str], random: Random) -> str | None:
    """The word with one slip that is seen; None where it is too short for one."""
    word = match.group()
    if len(word) < 2:
        return None
    place = random.randrange(len(word))
    key = NEIGHBOURS.get(word[place].lower(), "")
    slips = [word[:place] + word[place] + word[place:]]
    if key:
        slips.append(word[:place] + random.choice(key) + word[place + 1 :])
    if len(word) > 2:
        slips.append(word[:place] + word[place + 1 :])
    if place + 1 < len(word) and word[place].lower() != word[place + 1].lower():
        slips.append(word[:place] + word[place + 1] + word[place] + word[place + 2 :])
    return random.choice(slips)


def _misspelt(word: str) -> str | None:
    plain = " ".join(word.split())
    if plain in MISSPELLINGS:
        return MISSPELLINGS[plain]
    for pattern, instead in MISSPELLING_RULES:
        wrong = re.sub(pattern, instead, word, count=1)
        if wrong != word and len(word) > 3:
            return wrong
    return None


def _phrases(table: Mapping[str, str]) -> re.Pattern[str]:
    """Finds the longest phrase of the table, else any word."""
    phrases = sorted((phrase for phrase in table if " " in phrase), key=len, reverse=True)
    joined = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
    return re.compile(rf"\b(?:{joined})\b|{WORD.pattern}", re.IGNORECASE)


PHRASE_OR_WORD = {"misspellings": _phrases(MISSPELLINGS), "slang": _phrases(SLANG)}
