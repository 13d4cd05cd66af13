"""What a reader makes of a file: one text, and where its headings and pages begin in it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

PATH_SEPARATOR = " › "
PARAGRAPH_BREAK = "\n\n"


class Unreadable(Exception):
    """Why a file cannot be read, without its name: `registry.read` says which it was."""


@dataclass(frozen=True)
class Heading:
    """The title of a section, `start` to `end` in the text. `level` 1 is the highest."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True)
class Section:
    """A piece of the text under one heading, its own line included. `path` names the headings above it."""

    start: int
    end: int
    path: str


@dataclass(frozen=True)
class Content:
    """`headings` and `pages` are in the order of the text, all positions are character offsets.

    `pages` says where each page begins; it is empty for formats that have none.
    """

    text: str
    headings: tuple[Heading, ...] = ()
    pages: tuple[int, ...] = ()

    def page(self, offset: int) -> int | None:
        """The page an offset lies on, counted from 1."""
        return bisect.bisect_right(self.pages, offset) or None

    def sections(self) -> Iterator[Section]:
        """The whole text, cut at its headings. One with nothing below it belongs to the next one's section."""
        start, path = 0, ""
        above: list[Heading] = []
        for heading in self.headings:
            last = above[-1] if above else None
            if last is None or self.text[last.end : heading.start].strip():
                yield Section(start, heading.start, path)
                start = heading.start
            while above and above[-1].level >= heading.level:
                above.pop()
            above.append(heading)
            path = PATH_SEPARATOR.join(one.title for one in above)
        yield Section(start, len(self.text), path)


class Draft:
    """Puts a content together from its paragraphs, in order."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[int] = []

    def paragraph(self, text: str, separator: str = PARAGRAPH_BREAK) -> None:
        """Blank ones are left out."""
        if not (text := text.strip()):
            return
        for piece in (separator, text) if self._pieces else (text,):
            self._pieces.append(piece)
            self._length += len(piece)

    def heading(self, title: str, level: int) -> None:
        if title := " ".join(title.split()):
            self.paragraph(title)
            self._headings.append(Heading(self._length - len(title), self._length, level, title))

    def page(self) -> None:
        """What follows is on a new page."""
        self._pages.append(self._length)

    def content(self) -> Content:
        return Content("".join(self._pieces), tuple(self._headings), tuple(self._pages))
