"""Content → passages: pieces of about equal size that keep to headings, paragraphs and sentences."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from assistant.retrieval.readers.content import Content

LIMIT = 180
"""Most tokens of a passage: with the headings above it, it fits the embedder's window of 256 with room to spare."""

OVERLAP = 30
"""Most tokens of the sentences that a passage repeats from the one before it."""

CountTokens = Callable[[str], int]

PARAGRAPH_END = re.compile(r"\n\s*\n")
# Each run of marks and of blanks is read once, from its first on: tried again at every sign of it, a long one that ends
# no sentence would take forever.
SENTENCE_END = re.compile(
    r"""(?P<western>(?<![.!?…])[.!?…]++["'”’»)\]]*+\s++)|(?P<eastern>[。！？]+[」』”]*\s*)"""
    r"""|(?P<line>(?<!\s)[^\S\n]*+\n\s*+(?=(?:[-*+•–]|\d+[.)])\s|(?<=\ )\|\ |[^\n]*\ \|\ ))"""
)
ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|cf|fig|no|art|sec|vol|pp|al)|\b[^\W\d_])\.\s*\Z", re.IGNORECASE
)
LONGEST_ABBREVIATION = 8
NOT_BLANK = re.compile(r"\S")

LONGEST_TOKEN = 20
"""Characters that a token of running text never has: what is longer than so many is cut without being counted."""


@dataclass(frozen=True)
class Chunk:
    """`text` is the document's from `start` to `end`; `page` is the one it begins on."""

    start: int
    end: int
    text: str
    tokens: int
    page: int | None
    heading: str


@dataclass(frozen=True)
class Unit:
    """What is not cut any further: a sentence, or a piece of one that is longer than a whole passage may be."""

    start: int
    end: int
    tokens: int
    opens: bool
    """It begins a paragraph."""


def chunks(content: Content, count_tokens: CountTokens, limit: int = LIMIT, overlap: int = OVERLAP) -> Iterator[Chunk]:
    """The passages of a document, in order: every word of it is in one of them.

    None is longer than `limit` tokens, less where long headings are above it. A passage ends with a paragraph where
    one ends in its second half, else with a sentence, and then the next one repeats the last sentences, as many as
    fit `overlap` tokens. Only a sentence longer than a passage is cut between words, and only such a word within.
    """
    text = content.text
    for section in content.sections():
        most = max(limit - count_tokens(section.path), limit // 2, 1)
        units = list(_units(text, section.start, section.end, count_tokens, most))
        for first, last in _packed(text, units, count_tokens, most, overlap):
            start, end = units[first].start, units[last - 1].end
            piece = text[start:end]
            yield Chunk(start, end, piece, count_tokens(piece), content.page(start), section.path)


def _packed(
    text: str, units: Sequence[Unit], count: CountTokens, limit: int, overlap: int
) -> Iterator[tuple[int, int]]:
    """Which units go together: from one index up to another."""
    first = 0
    while first < len(units):
        last, total = first + 1, units[first].tokens
        while last < len(units) and total + units[last].tokens <= limit:
            total += units[last].tokens
            last += 1
        # With what lies between them, units may be more tokens than each alone.
        while last > first + 1 and count(text[units[first].start : units[last - 1].end]) > limit:
            last -= 1
        if last < len(units):
            last = _paragraph_end(units, first, last, limit)
        yield first, last
        first = last if last == len(units) else _overlapping(text, units, first, last, count, limit, overlap)


def _paragraph_end(units: Sequence[Unit], first: int, last: int, limit: int) -> int:
    """Where a passage from `first` is best ended, `last` at the latest: the next unit's index."""
    tokens = sum(unit.tokens for unit in units[first:last])
    for end in range(last, first + 1, -1):
        if 2 * tokens < limit:
            break
        if units[end].opens:
            return end
        tokens -= units[end - 1].tokens
    return last


def _overlapping(
    text: str, units: Sequence[Unit], first: int, last: int, count: CountTokens, limit: int, overlap: int
) -> int:
    """Where the next passage begins when one ended before `last`: earlier, if that was within a paragraph."""
    start, repeated = last, 0
    while start > first + 1 and not units[start].opens:
        repeated += units[start - 1].tokens
        whole = text[units[start - 1].start : units[last].end]
        # The unit that follows must fit, or the passage would only repeat.
        if repeated > overlap or repeated + units[last].tokens > limit or count(whole) > limit:
            break
        start -= 1
    return start


def _units(text: str, start: int, end: int, count: CountTokens, limit: int) -> Iterator[Unit]:
    for paragraph_start, paragraph_end in _spans(text, start, end, _paragraph_ends(text, start, end)):
        opens = True
        for sentence_start, sentence_end in sentences(text, paragraph_start, paragraph_end):
            is_short = sentence_end - sentence_start <= limit * LONGEST_TOKEN
            if is_short and (tokens := count(text[sentence_start:sentence_end])) <= limit:
                yield Unit(sentence_start, sentence_end, tokens, opens)
            else:
                for piece_start, piece_end in _pieces(text, sentence_start, sentence_end, count, limit):
                    yield Unit(piece_start, piece_end, count(text[piece_start:piece_end]), opens)
                    opens = False
            opens = False


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the sentences of a paragraph begin and end; items of lists and rows of tables are sentences too."""
    return _spans(text, start, end, _sentence_ends(text, start, end))


def _paragraph_ends(text: str, start: int, end: int) -> Iterator[int]:
    return (match.end() for match in PARAGRAPH_END.finditer(text, start, end))


def _sentence_ends(text: str, start: int, end: int) -> Iterator[int]:
    for match in SENTENCE_END.finditer(text, start, end):
        if match["western"]:
            continues = match.end() < end and text[match.end()].islower()
            if continues or ABBREVIATION.search(text[max(start, match.start() - LONGEST_ABBREVIATION) : match.end()]):
                continue
        yield match.end()


def _spans(text: str, start: int, end: int, ends: Iterator[int]) -> Iterator[tuple[int, int]]:
    """The spans between `ends`, without the blanks around them; none that is blank."""
    for stop in (*ends, end):
        piece = text[start:stop]
        if stripped := piece.strip():
            begin = start + len(piece) - len(piece.lstrip())
            yield begin, begin + len(stripped)
        start = stop


def _pieces(text: str, start: int, end: int, count: CountTokens, limit: int) -> Iterator[tuple[int, int]]:
    """A sentence that is too long, cut between words as late as the limit allows; within a word that is too long."""
    while start < end:
        begin = start
        most = min(end, start + limit * LONGEST_TOKEN)
        stop = _latest(lambda at, begin=begin: count(text[begin:at]) <= limit, begin + 1, most)  # type: ignore[misc]
        if stop < end and not text[stop - 1].isspace() and not text[stop].isspace():
            whole, *cut = text[begin:stop].rsplit(maxsplit=1)
            stop = begin + len(whole) if cut else stop
        yield begin, begin + len(text[begin:stop].rstrip())
        following = NOT_BLANK.search(text, stop, end)
        start = following.start() if following else end


def _latest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The highest number up to `high` that fits, where `low` is taken in any case and fitting only ever ends."""
    step = 1
    while low + step <= high and fits(low + step):
        step *= 2
    # From here the answer is below low + step; what was tried stays small however long the text is.
    return (
        low
        + step // 2
        + bisect_right(
            range(low + step // 2 + 1, min(low + step, high + 1)), False, key=lambda number: not fits(number)
        )
    )
