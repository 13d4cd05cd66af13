"""What the router compares: a request seen without its topic, and as a whole. Pure functions, no vectors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from assistant.routing.clauses import QUOTATION, quotations

TOPIC = "…"
"""Stands in a frame for words the ask shares with its material."""
ABOUT_MATERIAL = " (asked about the text below)"
MATERIAL_WORDS = 60
"""Words of the material that a whole keeps: the sense of a text is clear by then, and the embedder's window is short."""
GROUNDED = 0.3
"""Share of an ask's content words found in its material, from which on the answer is looked for in there."""
STEM = 5
ENDING = re.compile(r"(?:ing|ed|es|s|e)$")
KIND_OF_TEXT = re.compile(
    r"\b(?:review|feedback|comment|text|article|passage|paragraph|message|tweet|email|post|report|story|sentence|document|note"
    r"|conversation|thread)s?\b",
    re.IGNORECASE,
)
"""What people call the material. In a frame all of them are "text": "summarise this feedback" asks for no opinion."""

# What stays in a frame: question words and function words carry the kind of request, not its topic.
_FUNCTION_WORDS = (
    "the a an is are was were do does did of to in on at for from with and or what which who whom whose when where why "
    "how it its this that these those be been by as can could i you me my he she they his her there many much tell "
    "using based context question answer given following read find"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class View:
    """`frame`: the ask, its topic blanked out, a mark where material came with it. `whole`: the ask, then the material."""

    frame: str
    whole: str
    is_ask: bool
    has_material: bool
    is_grounded: bool


def view(ask: str, material: str) -> View:
    """See one request. Where nothing is asked, frame and whole are the material."""
    if not ask:
        return View(frame=material, whole=_head(material), is_ask=False, has_material=True, is_grounded=False)
    quoted = " ".join(quotations(ask))
    frame = QUOTATION.sub(lambda match: TOPIC if quotations(match[0]) else match[0], ask)
    about = f"{quoted} {material}".strip()
    if not about:
        return View(frame=KIND_OF_TEXT.sub("text", ask), whole=ask, is_ask=True, has_material=False, is_grounded=False)
    stems = {_stem(word) for word in _words(about)}
    content = [word for word in _words(KIND_OF_TEXT.sub("", frame)) if word not in FUNCTION_WORDS]
    shared = [word for word in content if _stem(word) in stems]
    topic = frozenset(shared)
    blanked = WORD.sub(lambda match: TOPIC if match[0].lower() in topic else match[0], frame)
    blanked = re.sub(rf"{TOPIC}(?:\s+{TOPIC})+", TOPIC, blanked)
    return View(
        frame=KIND_OF_TEXT.sub("text", blanked) + ABOUT_MATERIAL,
        whole=_head(f"{ask} {material}".strip(), MATERIAL_WORDS + len(ask.split())),
        is_ask=True,
        has_material=True,
        is_grounded=len(shared) >= GROUNDED * max(1, len(content)),
    )


class Spelling:
    """Puts right slips in words the examples use: vowels and doubled letters ("clasify", "sentimant").

    Only those: "contact" must not become "contract".
    """

    MIN_LENGTH = 5
    MIN_LIKENESS = 0.85

    def __init__(self, texts: Iterable[str]) -> None:
        self._known = {word for text in texts for word in _words(text)}
        self._by_skeleton: dict[str, list[str]] = {}
        for word in sorted(self._known):
            if len(word) >= self.MIN_LENGTH:
                self._by_skeleton.setdefault(_skeleton(word), []).append(word)

    def corrected(self, text: str) -> str:
        return WORD.sub(lambda match: self._word(match[0]), text)

    def _word(self, word: str) -> str:
        low = word.lower()
        if len(low) < self.MIN_LENGTH or low in self._known:
            return word
        near = self._by_skeleton.get(_skeleton(low), [])
        best = max(near, key=lambda other: SequenceMatcher(None, low, other).ratio(), default=low)
        return best if SequenceMatcher(None, low, best).ratio() >= self.MIN_LIKENESS else word


def _skeleton(word: str) -> str:
    """First letter and consonants, doubles taken once: classify, clasify → clsfy."""
    single = re.sub(r"(.)\1+", r"\1", word)
    return single[0] + re.sub(r"[aeiou]", "", single[1:])


def _words(text: str) -> list[str]:
    return [match.lower() for match in WORD.findall(text)]


def _stem(word: str) -> str:
    return (ENDING.sub("", word) if len(word) > 3 else word)[:STEM]


def _head(text: str, words: int = MATERIAL_WORDS) -> str:
    return " ".join(text.split()[:words])
