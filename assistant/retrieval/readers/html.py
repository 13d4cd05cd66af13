"""HTML: what a reader of the page sees, block by block."""

from __future__ import annotations

import re
from itertools import groupby

from bs4 import BeautifulSoup, NavigableString, Tag
from bs4.dammit import EncodingDetector
from bs4.element import PreformattedString

from assistant.retrieval.readers.content import Content, Draft
from assistant.retrieval.readers.text import decode

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
SECTIONS = ("body", "main", "article", "section", "header", "footer", "aside", "search", "hgroup", "address", "div")
PARAGRAPHS = ("p", "pre", "blockquote", "figure", "figcaption", "details", "summary", "form", "fieldset", "legend")
LISTS = ("ul", "ol", "li", "dl", "dt", "dd")
TABLES = ("table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th")
BLOCKS = frozenset(HEADINGS + SECTIONS + PARAGRAPHS + LISTS + TABLES)
UNSEEN = "head, script, style, template, noscript, svg, canvas, iframe, object, nav, [hidden]"
"""Menus are seen, and say nothing about the matter."""
INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)

MISTAKEN = ("iso-8859-1", "us-ascii", "utf-16", "utf-16le", "utf-16be")
"""Encodings that pages declare and are not written in, as browsers know."""

LINE = "\u2028"
"""Stands for a line break while blanks are joined."""
CELLS = ("td", "th")
BAR = " | "


def read_html(data: bytes) -> Content:
    """Raises Unreadable where the bytes are no text."""
    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    soup = BeautifulSoup(decode(data, None if declared in MISTAKEN else declared), "lxml")
    for tag in [*soup.select(UNSEEN), *soup.find_all(style=INVISIBLE)]:
        tag.extract()
    for line_break in soup.find_all("br"):
        line_break.replace_with(LINE)
    rows = _mark_cells(soup)

    draft, previous = Draft(), ""
    blocks = ((_block(string, rows), string) for string in _seen(soup))
    # Tags that hold the same are equal to Beautiful Soup.
    for _, group in groupby(blocks, lambda pair: id(pair[0])):
        pairs = list(group)
        block = pairs[0][0]
        name = block.name if block else "p"
        words = "".join(string for _, string in pairs)
        words = words.replace(LINE, "\n") if name == "pre" else _joined(words)
        if name in HEADINGS:
            draft.heading(words, int(name[1]))
        elif words.strip():
            follows = name in ("li", "tr") and name == previous
            draft.paragraph(f"- {words.strip()}" if name == "li" else words, "\n" if follows else "\n\n")
        else:
            continue
        previous = name
    return draft.content()


def _seen(soup: BeautifulSoup) -> list[NavigableString]:
    return [string for string in soup.find_all(string=True) if not isinstance(string, PreformattedString)]


def _mark_cells(soup: BeautifulSoup) -> set[int]:
    """Put bars between the cells of tables that hold data, whose rows are then lines; returns the ids of those rows.

    Tables that lay out a page hold blocks; each of their cells is a block of its own.
    """
    rows = set()
    for row in soup.find_all("tr"):
        cells = row.find_all(CELLS, recursive=False)
        names = [tag.name for tag in row.descendants if isinstance(tag, Tag)]
        if BLOCKS.isdisjoint(name for name in names if name not in CELLS):
            rows.add(id(row))
            for cell in cells[1:]:
                cell.insert_before(BAR)
    return rows


def _block(string: NavigableString, rows: set[int]) -> Tag | None:
    row = string.find_parent("tr")
    if row is not None and id(row) in rows:
        return row
    return next((parent for parent in string.parents if parent.name in BLOCKS), None)


def _joined(words: str) -> str:
    """Blanks as a browser shows them."""
    return "\n".join(" ".join(line.split()) for line in words.split(LINE)).strip()
