"""PDF: lines put together to paragraphs by the space between them, headings told by the size of their letters."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from pypdf import PageObject, PasswordType, PdfReader
from pypdf.errors import DependencyError, PyPdfError

from assistant.retrieval.readers.content import PARAGRAPH_BREAK, Content, Draft, Unreadable

WIDE_GAP = 1.3
"""Times the usual distance of two lines: more of it ends a paragraph."""
LARGE = 1.15
"""Times the size of most letters: larger ones are a heading's."""
LONGEST_HEADING = 200
RUNNING = 3
"""On so many pages a line stands at the very top or bottom that belongs to no page: a running title or page number."""
PAGE_NUMBER = re.compile(
    r"[\W_]*(?:(?:page|pg?|seite|s|p[áa]gina|p[áa]g)[\W_]*)?"
    r"\d{1,5}(?:[\W_]+(?:(?:of|von|van|de|di|sur)[\W_]+)?\d{1,5})?[\W_]*",
    re.IGNORECASE,
)
"""A line that is little more than a number: "- 3 -", "Page 3 of 12"."""
NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)")
WORD = re.compile(r"[^\W\d_]+")

ENDS_SENTENCE = re.compile(r"""[.!?:…]["'”’»)\]]*$""")
HYPHENATED = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[^\W\d_])")


@dataclass(frozen=True)
class Line:
    """`top` is its height on the page, upwards, and `size` that of most of its letters, both in points."""

    text: str
    top: float
    size: float


def read_pdf(data: bytes) -> Content:
    """Raises Unreadable: it is encrypted, damaged, or holds no text."""
    try:
        reader = PdfReader(io.BytesIO(data))
        # Many are encrypted with no password at all, to keep them from being changed; viewers open those too.
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            raise Unreadable("it is encrypted; allowed: PDF files that open without a password")
        pages = [_lines(page) for page in reader.pages]
    except DependencyError as error:
        raise Unreadable("it is encrypted; allowed: PDF files without encryption") from error
    except PyPdfError as error:
        raise Unreadable(f"it cannot be read as PDF: {error}") from error
    if not any(pages):
        raise Unreadable("it holds no text, perhaps only pictures of pages; allowed: PDF files with text")
    return _content(_without_running_lines(pages))


def _lines(page: PageObject) -> list[Line]:
    pieces: list[tuple[str, float, float]] = []

    def visit(text: str, cm: Sequence[float], tm: Sequence[float], _: Any, font_size: float) -> None:
        size = abs(font_size) * math.hypot(tm[2], tm[3]) * math.hypot(cm[2], cm[3])
        pieces.append((text, tm[4] * cm[1] + tm[5] * cm[3] + cm[5], round(size, 1)))

    page.extract_text(visitor_text=visit)
    lines: list[Line] = []
    words, top, sizes = "", 0.0, Counter[float]()
    for text, height, size in [*pieces, ("\n", 0.0, 0.0)]:
        for index, part in enumerate(text.split("\n")):
            if index:
                if sizes:
                    lines.append(Line(words.strip(), top, sizes.most_common(1)[0][0]))
                words, sizes = "", Counter()
            words += part
            if part.strip():
                top = height
                sizes[size] += len(part)
    return lines


def _without_running_lines(pages: list[list[Line]]) -> list[list[Line]]:
    large = LARGE * _body_size(pages)
    edges = [
        [_likeness(line, 0 if _is_own(line, page, large) else number) for line in (*page[:1], *page[1:][-1:])]
        for number, page in enumerate(pages, start=1)
    ]
    counts = Counter(like for page in edges for like in set().union(*page))
    running = {like for like, count in counts.items() if count >= RUNNING}
    kept = []
    for page, likeness in zip(pages, edges, strict=True):
        is_running = [not running.isdisjoint(likes) for likes in likeness]
        start, end = sum(is_running[:1]), len(page) - sum(is_running[1:])
        kept.append(page[start:end])
    return kept


def _is_own(line: Line, page: list[Line], large: float) -> bool:
    """All that a page says, and headings: their numbers tell them apart even where each has a page to itself."""
    is_above = any(other.top < line.top for other in page)
    return len(page) == 1 or (is_above and (line.size >= large or len(WORD.findall(line.text)) < 2))


def _likeness(line: Line, page: int) -> set[tuple[str, int]]:
    """What a line at the edge of a page may have in common with those of others, at about the same height.

    Of numbers in a line of words, only one that goes with the `page` may differ; others tell chapters or invoices apart.
    Page 0 has none.
    """
    height = round(line.top / 4)
    if PAGE_NUMBER.fullmatch(line.text):
        return {(NUMBER.sub("0", line.text), height)}
    likeness = {(line.text, height)}
    numbers = list(NUMBER.finditer(line.text))
    for number in {*numbers[:1], *numbers[-2:]}:
        # A cover and contents may come before page 1.
        if (before := page - int(number[0])) >= 0:
            likeness.add((f"{line.text[: number.start()]}page-{before}{line.text[number.end() :]}", height))
    return likeness


def _body_size(pages: list[list[Line]]) -> float:
    """The size of most letters."""
    letters = Counter[float]()
    for line in (line for page in pages for line in page):
        letters[line.size] += len(line.text)
    return letters.most_common(1)[0][0] if letters else 0.0


def _content(pages: list[list[Line]]) -> Content:
    body = _body_size(pages)
    distances = [
        above.top - line.top for page in pages for above, line in pairwise(page) if above.size == line.size == body
    ]
    usual = median([distance for distance in distances if distance > 0] or [body * WIDE_GAP])
    sizes = sorted({round(line.size) for page in pages for line in page if line.size >= LARGE * body}, reverse=True)

    draft, previous = Draft(), ""
    for page in pages:
        draft.page()
        continues = True
        for block in _blocks(page, usual / body if body else 1.0):
            text = HYPHENATED.sub("", "\n".join(line.text for line in block))
            if block[0].size >= LARGE * body and len(text) <= LONGEST_HEADING and re.search(r"[^\W\d_]", text):
                draft.heading(text, sizes.index(round(block[0].size)) + 1)
            else:
                # The first paragraph of a page may be the last one's end.
                continues = continues and text[0].islower() and not ENDS_SENTENCE.search(previous)
                draft.paragraph(text, "\n" if continues else PARAGRAPH_BREAK)
            previous, continues = text, False
    return draft.content()


def _blocks(page: list[Line], spacing: float) -> Iterator[list[Line]]:
    """The lines of a page, those of one paragraph together. `spacing` is the distance of lines of size 1."""
    block: list[Line] = []
    for line in page:
        if block:
            above = block[-1]
            distance = above.top - line.top
            is_alike = max(above.size, line.size) < LARGE * min(above.size, line.size)
            is_near = 0 <= distance <= WIDE_GAP * spacing * max(above.size, line.size)
            # At the top of the next column a sentence goes on.
            goes_on = distance < 0 and line.text[0].islower() and not ENDS_SENTENCE.search(above.text)
            if not is_alike or not (is_near or goes_on):
                yield block
                block = []
        block.append(line)
    if block:
        yield block
