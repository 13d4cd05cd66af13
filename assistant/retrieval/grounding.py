"""How much of an answer stands in the passages it was given, and which passage each sentence rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from assistant.messages import Citation, Grounding, Passage
from assistant.retrieval.keyword import stems
from assistant.retrieval.packing import NUMBER, OMITTED, shown

FOUND = 0.55
"""Least share of an answer's content words that stands in the passages, for it to count as found: see docs/answers.md."""

ENDED = r"[\"'”’)]*+(?:\s*+\[[\d,\s]++\])*(?=\s|$)"
SENTENCE = re.compile(rf"\S(?:[^.!?…。！？\n]++|[.!?…。！？]++(?!{ENDED}))*+(?:[.!?…。！？]++{ENDED})?", re.MULTILINE)
"""Up to the end of a line at most, with the numbers of passages that follow it."""

VERDICTS = frozenset(next(stems(["yes maybe"])))
"""They answer, and stand in no passage; "no" is a function word already."""


def ground(answer: str, passages: Sequence[Passage]) -> Grounding:
    """What an answer rests on. Reads nothing but the words: it knows neither negation nor paraphrase.

    Content words are the numbers, and the words that are no English function words, nor yes or maybe. One stands in
    a passage that has a word of its stem. `share` is the share of the answer's content words, repeated ones counted
    again, that stand in any passage; an answer without any (a bare "yes") has nothing that could be missing, and an
    empty one nothing that could be found.

    A sentence rests on the passages it names, where those exist. Else it is attributed to the passage that holds most
    of its content words, if it holds enough of them; of equals to one that has the sentence word for word, then to
    the better one.
    """
    texts = [OMITTED.join(passage.text[start:end] for start, end in shown(passage)) for passage in passages]
    held = [frozenset(words) for words in stems(texts)]
    words = content_words(answer)
    everything = frozenset[str]().union(*held)
    share = covered(words, everything) if words else float(bool(answer.strip()))
    return Grounding(share=share, is_found=share >= FOUND, citations=tuple(_citations(answer, passages, held)))


def content_words(text: str) -> list[str]:
    """Stems of the words that can be looked for, in order; the numbers of passages are none."""
    return [stem for stem in next(stems([NUMBER.sub(" ", text)])) if stem not in VERDICTS]


def covered(words: Sequence[str], held: AbstractSet[str]) -> float:
    return sum(word in held for word in words) / len(words)


def _citations(answer: str, passages: Sequence[Passage], held: Sequence[AbstractSet[str]]) -> Iterator[Citation]:
    for sentence in SENTENCE.finditer(answer):
        start, end = sentence.span()
        named = [int(n) for numbers in NUMBER.findall(sentence.group()) for n in numbers.split(",")]
        valid = [number for number in dict.fromkeys(named) if 1 <= number <= len(passages)]
        if not valid:
            valid = _attributed(sentence.group(), passages, held)
        yield from (Citation(start=start, end=end, passage=number) for number in valid)


def _attributed(sentence: str, passages: Sequence[Passage], held: Sequence[AbstractSet[str]]) -> list[int]:
    """The number of the passage that a sentence rests on, if there is one."""
    words = content_words(sentence)
    if not words or not passages:
        return []
    plain = NUMBER.sub(" ", sentence).strip(" .").casefold()

    def fit(place: int) -> tuple[float, bool]:
        return covered(words, held[place]), plain in passages[place].text.casefold()

    best = max(range(len(passages)), key=fit)
    return [best + 1] if fit(best)[0] >= FOUND else []
