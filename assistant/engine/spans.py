"""Answers that stand in one of some texts, word for word: which tokens may come next.

Works on bytes: wherever the answer so far stands in the text, any token that goes on as the text does is allowed. So
it does not matter how the text itself falls into tokens, nor that a word's first token has a space there and none at
the beginning of an answer. No torch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from assistant.errors import InvalidRequest

NEVER = 1 << 30
"""More tokens than any answer has."""

MOST_MOVES = 200_000
MOST_MOVES_PER_BYTE = 4
"""Ways on from all places of the texts; more than both is refused. Every step of the batch waits while they are looked
through. Running text has 2.5 to 2.8 per byte with the shipped base, 90,000 in 8,000 tokens; a long run of dashes has 44,
as there is a token for almost every number of them."""


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens write.

    Attributes:
        tokens: by bytes, the id of the token that writes them; None where they only begin some token.
        leads_with_space: a text's first token begins with a space that is not part of the text.
    """

    tokens: dict[bytes, int | None]
    leads_with_space: bool = False

    def matches(self, text: bytes, start: int) -> Iterator[tuple[int, int]]:
        """(id, where it ends) of every token that `text` goes on with at `start`."""
        for end in range(start + 1, len(text) + 1):
            piece = text[start:end]
            if piece not in self.tokens:
                return
            if (token := self.tokens[piece]) is not None:
                yield token, end


class SpanConstraint:
    """One answer, held to the spans of the texts that begin and end between words; none runs from one into another.

    Args:
        stop_ids: the tokens that end an answer.
        limit: most tokens of the answer; no span that needs more is begun.

    Raises:
        InvalidRequest: no span of the texts can be written in so few tokens, or the ways through the texts are too many.
    """

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary, stop_ids: Iterable[int], limit: int) -> None:
        self._stop_ids = list(stop_ids)
        self._moves: list[list[tuple[int, int]]] = []
        # How many tokens lead from each place to the nearest end of a word.
        self._needed: list[int] = []
        self._options: dict[int, set[int]] = {}
        self._nearest: dict[int, int] = {}
        self._may_end = False
        self._room = max(MOST_MOVES, MOST_MOVES_PER_BYTE * sum(len(text.encode()) for text in texts))
        for text in texts:
            self._begin_in(text, vocabulary)
        if not self.allowed(limit):
            raise InvalidRequest(f"no word of the message can be written in max_tokens {limit}; allowed: more")

    def allowed(self, left: int) -> list[int]:
        """The ids that may come next, when `left` tokens may still come."""
        ids = [token for token, needed in self._nearest.items() if needed < left]
        return ids + self._stop_ids if self._may_end else ids

    def advance(self, token: int) -> None:
        """Take an allowed token into the answer."""
        places = self._options[token]
        self._options, self._nearest = {}, {}
        for at in places:
            self._add(self._moves[at])
        self._may_end = any(self._needed[at] == 0 for at in places)

    def _begin_in(self, text: str, vocabulary: Vocabulary) -> None:
        """Add the places of one text, the last of which nothing leads on from, and let the answer begin there."""
        source, first = text.encode(), len(self._moves)
        starts, ends = word_edges(text)
        for at in range(len(source)):
            moves = [(token, first + end) for token, end in vocabulary.matches(source, at)]
            self._moves.append(moves)
            self._room -= len(moves)
            if self._room < 0:
                raise InvalidRequest(
                    "answers cannot be held to the words of a text with such long runs of one sign or of blanks: the tokens "
                    f"can go through it in more than {MOST_MOVES:,} ways; allowed: shorter runs, or fewer of them"
                )
        self._moves.append([])
        self._needed += [NEVER] * (len(source) + 1)
        for at in range(len(source), -1, -1):
            self._needed[first + at] = 0 if at in ends else self._through(first + at)
        for start in starts:
            if vocabulary.leads_with_space:
                led = b" " + source[start:]
                self._add([(token, self._after(first + start, end - 1)) for token, end in vocabulary.matches(led, 0)])
            else:
                self._add(self._moves[first + start])

    def _through(self, at: int) -> int:
        """How many tokens lead from a place to the nearest end of a word after it."""
        return min((self._needed[after] for _, after in self._moves[at]), default=NEVER) + 1

    def _after(self, start: int, written: int) -> int:
        """The place behind the first `written` bytes of a span; behind none, where it cannot end, a new one."""
        if written:
            return start + written
        self._needed.append(self._through(start))
        self._moves.append(self._moves[start])
        return len(self._moves) - 1

    def _add(self, moves: list[tuple[int, int]]) -> None:
        for token, after in moves:
            self._options.setdefault(token, set()).add(after)
            self._nearest[token] = min(self._needed[after], self._nearest.get(token, NEVER))


def word_edges(text: str) -> tuple[list[int], set[int]]:
    """Where a span may begin, and where it may end: byte offsets, never within a word nor beside its blanks.

    Scripts that put no spaces between words, told by their wide characters, have an edge at every character.
    """
    starts, ends, offset = [], set(), 0
    for before, after in pairwise(["", *text, ""]):
        if not (_is_word(before) and _is_word(after)) or _is_wide(after) or _is_wide(before):
            if after and not after.isspace():
                starts.append(offset)
            if before and not before.isspace():
                ends.add(offset)
        offset += len(after.encode())
    return starts, ends


def _is_word(character: str) -> bool:
    return character.isalnum() or (character != "" and unicodedata.category(character)[0] == "M")


def _is_wide(character: str) -> bool:
    return character != "" and unicodedata.east_asian_width(character) in "WF"
