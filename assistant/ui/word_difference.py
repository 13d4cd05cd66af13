"""Two texts → the words in which they differ, marked in each. Pure: values in, HTML out."""

from __future__ import annotations

import html
import re
from difflib import SequenceMatcher
from typing import Literal

WORDS = re.compile(r"\s+|\w+(?:['’]\w+)*|[^\w\s]")
SENTENCES = re.compile(r"[^.!?\n]+[.!?\n]*\s*|[.!?\n]+\s*")

MOST_PAIRS = 2_000_000
"""Pieces of the one text times pieces of the other, about 700 words of each with the spaces between them: what takes
less than a second, and some eight where a few words come again and again."""

Unit = Literal["word", "sentence", "text"]


def unit(first: str, second: str) -> Unit:
    """The smallest pieces by which two texts can be compared in little time; "text" where they cannot."""
    if _pairs(WORDS, first, second) <= MOST_PAIRS:
        return "word"
    return "sentence" if _pairs(SENTENCES, first, second) <= MOST_PAIRS else "text"


def difference(first: str, second: str) -> tuple[str, str]:
    """Both texts as HTML: what only the first has as `<del>`, what only the second has as `<ins>`.

    Words, spaces and signs are compared one by one, so a change inside a word marks the whole word. Of long texts whole
    sentences are compared, and of very long ones nothing is marked: `unit` tells.
    """
    by = unit(first, second)
    if by == "text" or first == second:
        return html.escape(first), html.escape(second)
    pieces = WORDS if by == "word" else SENTENCES
    left, right = pieces.findall(first), pieces.findall(second)
    # Without `autojunk`, which would overlook every word that is frequent in a long text.
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    old = "".join(_marked(left[a:b], "del" if kind != "equal" else "") for kind, a, b, _, _ in blocks)
    new = "".join(_marked(right[a:b], "ins" if kind != "equal" else "") for kind, _, _, a, b in blocks)
    return old, new


def shared_words(first: str, second: str) -> float:
    """How alike two texts are, in [0, 1]: twice the words they share in order, over all their words.

    Its time grows with the product of their lengths, or faster: for texts whose `unit` is the word.
    """
    left, right = (re.findall(r"\w+", text.lower()) for text in (first, second))
    return SequenceMatcher(None, left, right, autojunk=False).ratio()


def _pairs(pieces: re.Pattern[str], first: str, second: str) -> int:
    return len(pieces.findall(first)) * len(pieces.findall(second))


def _marked(words: list[str], tag: str) -> str:
    text = html.escape("".join(words))
    return f"<{tag}>{text}</{tag}>" if tag and text else text
