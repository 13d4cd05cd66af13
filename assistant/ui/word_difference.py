"""Two texts → the words in which they differ, marked in each. Pure: values in, HTML out."""

from __future__ import annotations

import html
import re
from difflib import SequenceMatcher

WORDS = re.compile(r"\s+|\w+(?:['’]\w+)*|[^\w\s]")


def difference(first: str, second: str) -> tuple[str, str]:
    """Both texts as HTML: what only the first has as `<del>`, what only the second has as `<ins>`.

    Words, spaces and signs are compared one by one, so a change inside a word marks the whole word.
    """
    left, right = WORDS.findall(first), WORDS.findall(second)
    # Without `autojunk`, which would overlook every word that is frequent in a long text.
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    old = "".join(_marked(left[a:b], "del" if kind != "equal" else "") for kind, a, b, _, _ in blocks)
    new = "".join(_marked(right[a:b], "ins" if kind != "equal" else "") for kind, _, _, a, b in blocks)
    return old, new


def shared_words(first: str, second: str) -> float:
    """How alike two texts are, in [0, 1]: twice the words they share in order, over all their words."""
    left, right = (re.findall(r"\w+", text.lower()) for text in (first, second))
    return SequenceMatcher(None, left, right, autojunk=False).ratio()


def _marked(words: list[str], tag: str) -> str:
    text = html.escape("".join(words))
    return f"<{tag}>{text}</{tag}>" if tag and text else text
