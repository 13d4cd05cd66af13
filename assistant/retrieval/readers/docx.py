"""Word documents: paragraphs and tables in their order, headings by their styles."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import TypeVar

import docx
from docx.document import Document
from docx.oxml.ns import nsmap, qn
from docx.oxml.table import CT_Row, CT_Tbl, CT_Tc
from docx.oxml.text.paragraph import CT_P
from docx.oxml.xmlchemy import BaseOxmlElement
from lxml.etree import LxmlError

from assistant.retrieval.readers.content import PARAGRAPH_BREAK, Content, Draft, Unreadable

MAIN_PART = "word/document.xml"
MOST_PARTS = 10_000
MOST_UNPACKED = 128 * 1024 * 1024
READ_BYTES = 1024 * 1024
HEADING_STYLE = re.compile(r"Heading (\d)")

WRAPPERS = frozenset(map(qn, ("w:sdt", "w:sdtContent", "w:customXml")))
"""Content controls and the like: what is in them is shown as it would be without them."""
GALLERY = "w:sdtPr/w:docPartObj/w:docPartGallery"
UNSEEN = (
    "ancestor::w:del or ancestor::w:moveFrom or ancestor::w:txbxContent or ancestor::w:rt"
    " or ancestor::*[local-name()='Fallback']"
)
"""Tracked changes count as made. How a word is pronounced stands above it, and would be in the midst of it here."""
WORDS = (
    ".//w:r/*[self::w:t or self::w:tab or self::w:ptab or self::w:br or self::w:cr or self::w:noBreakHyphen]"
    f"[not({UNSEEN})]"
)
"""At any depth of a paragraph: in links, fields, content controls and tracked insertions."""
CELL_PARAGRAPHS = ".//w:p[not(ancestor::w:p)]"
"""Those of tables in the cell, too."""

Element = TypeVar("Element", bound=BaseOxmlElement)


def read_docx(data: bytes) -> Content:
    """Text in headers, footers, notes, comments, boxes and equations is left out, and so is the table of contents.

    Raises:
        Unreadable: it is no Word document, damaged, or unpacks to more than `MOST_UNPACKED` bytes.
    """
    _check_size(data)
    try:
        document = docx.Document(io.BytesIO(data))
    except (LxmlError, KeyError, ValueError) as error:
        raise Unreadable(f"it cannot be read as a Word document: {error}") from error
    return _content(document)


def _content(document: Document) -> Content:
    # Asked for one by one, python-docx looks through all styles for each.
    styles = {style.style_id: style.name or "" for style in document.styles}
    draft, was_listed = Draft(), False
    blocks: Iterator[CT_P | CT_Tbl] = _inner(document.element.body, CT_P, CT_Tbl)
    for block in blocks:
        is_listed = False
        if isinstance(block, CT_Tbl):
            draft.paragraph("\n".join(_rows(block)))
        elif (text := _text(block).strip()) and (level := _level(style := styles.get(block.style or "", ""))):
            draft.heading(text, level)
        elif text:
            is_listed = style.startswith("List ") or _is_numbered(block)
            draft.paragraph(f"- {text}" if is_listed else text, "\n" if was_listed and is_listed else PARAGRAPH_BREAK)
        else:
            continue
        was_listed = is_listed
    return draft.content()


def _inner(element: BaseOxmlElement, *kinds: type[Element]) -> Iterator[Element]:
    """The blocks, rows or cells of an element."""
    for child in element:
        if isinstance(child, kinds):
            yield child
        elif child.tag in WRAPPERS and not _is_contents(child):
            yield from _inner(child, *kinds)


def _is_contents(element: BaseOxmlElement) -> bool:
    """A table of contents tells the headings over again."""
    gallery = element.find(GALLERY, nsmap)
    return gallery is not None and gallery.get(qn("w:val")) == "Table of Contents"


def _text(paragraph: CT_P) -> str:
    return "".join(map(str, paragraph.xpath(WORDS)))


def _level(style: str) -> int:
    """Of a heading, from 1; 0 for other paragraphs. The document's title is above its headings of level 1."""
    if style == "Title":
        return 1
    match = HEADING_STYLE.fullmatch(style)
    return int(match[1]) + 1 if match else 0


def _is_numbered(paragraph: CT_P) -> bool:
    """In a list, whatever its style."""
    properties = paragraph.pPr
    return properties is not None and properties.numPr is not None


def _rows(table: CT_Tbl) -> list[str]:
    """A line for each row. A cell over several columns is told once, one over several rows in each of them."""
    lines = []
    above: dict[int, str] = {}
    for row in _inner(table, CT_Row):
        cells, column = [], row.grid_before
        for cell in _inner(row, CT_Tc):
            if cell.vMerge != "continue" or column not in above:
                above[column] = " ".join(" ".join(_text(one) for one in cell.xpath(CELL_PARAGRAPHS)).split())
            cells.append(above[column])
            column += cell.grid_span
        lines.append(" | ".join(cells))
    return [line for line in lines if line.strip(" |")]


def _check_size(data: bytes) -> None:
    """What is really in a zip is counted: its own figures may be made up."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if len(infos) > MOST_PARTS:
                raise Unreadable(f"it has {len(infos):,} parts; allowed: {MOST_PARTS:,}")
            left = MOST_UNPACKED
            for info in infos:
                with archive.open(info) as part:
                    while chunk := part.read(READ_BYTES):
                        left -= len(chunk)
                        if left < 0:
                            raise Unreadable(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unreadable(f"it cannot be read as a Word document: {error}") from error
