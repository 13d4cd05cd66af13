"""Word documents: paragraphs and tables in their order, headings by their styles."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from itertools import groupby

import docx
from docx.document import Document
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml.etree import LxmlError

from assistant.retrieval.readers.content import PARAGRAPH_BREAK, Content, Draft, Unreadable

MAIN_PART = "word/document.xml"
MOST_PARTS = 10_000
MOST_UNPACKED = 128 * 1024 * 1024
READ_BYTES = 1024 * 1024
HEADING_STYLE = re.compile(r"Heading (\d)")


def read_docx(data: bytes) -> Content:
    """Text in headers, footers, comments and boxes is left out.

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
    for block in document.iter_inner_content():
        is_listed = False
        if isinstance(block, Table):
            draft.paragraph("\n".join(_rows(block)))
        elif (text := block.text.strip()) and (level := _level(style := styles.get(block._p.style or "", ""))):
            draft.heading(text, level)
        elif text:
            is_listed = style.startswith("List ") or _is_numbered(block)
            draft.paragraph(f"- {text}" if is_listed else text, "\n" if was_listed and is_listed else PARAGRAPH_BREAK)
        else:
            continue
        was_listed = is_listed
    return draft.content()


def _level(style: str) -> int:
    """Of a heading, from 1; 0 for other paragraphs. The document's title is above its headings of level 1."""
    if style == "Title":
        return 1
    match = HEADING_STYLE.fullmatch(style)
    return int(match[1]) + 1 if match else 0


def _is_numbered(paragraph: Paragraph) -> bool:
    """In a list, whatever its style."""
    properties = paragraph._p.pPr
    return properties is not None and properties.numPr is not None


def _rows(table: Table) -> list[str]:
    """A line for each row; a merged cell is told once."""
    lines = []
    for row in table.rows:
        cells = [" ".join(cell.text.split()) for _, (cell, *_) in groupby(row.cells, key=lambda cell: id(cell._tc))]
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
