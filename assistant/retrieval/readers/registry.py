"""Which files are read, and by what: what a file begins with counts for more than how its name ends."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath

from assistant.errors import DocumentRejected
from assistant.retrieval.readers.content import Content, Unreadable
from assistant.retrieval.readers.csv import read_csv
from assistant.retrieval.readers.docx import MAIN_PART, read_docx
from assistant.retrieval.readers.html import read_html
from assistant.retrieval.readers.markdown import read_markdown
from assistant.retrieval.readers.pdf import read_pdf
from assistant.retrieval.readers.text import CONTROL, read_text

log = logging.getLogger(__name__)


VERSION = 2
"""To be counted up with every change after which a file gives another text or other passages: one that is added again is
read anew then."""


@dataclass(frozen=True)
class Format:
    name: str
    media_type: str
    suffixes: tuple[str, ...]
    read: Callable[[bytes], Content]


TEXT = Format("text", "text/plain", (".txt", ".text", ".log"), read_text)
MARKDOWN = Format("Markdown", "text/markdown", (".md", ".markdown"), read_markdown)
HTML = Format("HTML", "text/html", (".html", ".htm", ".xhtml"), read_html)
PDF = Format("PDF", "application/pdf", (".pdf",), read_pdf)
DOCX = Format("Word", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", (".docx",), read_docx)
CSV = Format("CSV", "text/csv", (".csv", ".tsv"), read_csv)

FORMATS = (TEXT, MARKDOWN, HTML, PDF, DOCX, CSV)
SUFFIXES = tuple(suffix for format in FORMATS for suffix in format.suffixes)
ALLOWED = ", ".join(f"{format.name} ({', '.join(format.suffixes)})" for format in FORMATS)

PDF_MARK = b"%PDF-"
MARK_WITHIN = 1024
"""Viewers allow for something else before the mark of a PDF."""
ZIP_START = (b"PK\x03\x04", b"PK\x05\x06")
OLE_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""Word's files before 2007, and encrypted ones since."""
ENCRYPTED_PART = "EncryptedPackage".encode("utf-16-le")
HTML_START = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE)


def fingerprint(data: bytes) -> str:
    """SHA-256 of a file and of the version that reads it: where it is equal, nothing else would come of the file."""
    digest = hashlib.sha256(f"{VERSION} ".encode())
    digest.update(data)
    return digest.hexdigest()


def read(name: str, data: bytes) -> tuple[Format, Content]:
    """The text of a file, and what it was.

    Raises:
        DocumentRejected: it is of no format that is read, damaged, encrypted, or holds no text; names the file and
            the reason.
    """
    try:
        if not data:
            raise Unreadable("it is empty")
        format = _format(PurePath(name).suffix.lower(), data)
        content = _clean(format.read(data))
        if not content.text.strip():
            raise Unreadable("it holds no text")
    except Unreadable as error:
        raise DocumentRejected(f"{name}: {error}") from error
    except Exception as error:
        # Files from strangers break the libraries that read them in ways these do not foresee.
        log.warning("%s broke its reader", name, exc_info=error)
        raise DocumentRejected(f"{name}: it is damaged ({type(error).__name__}: {error})") from error
    return format, content


def _format(suffix: str, data: bytes) -> Format:
    if PDF_MARK in data[: MARK_WITHIN if suffix in PDF.suffixes else len(PDF_MARK)]:
        return PDF
    if data.startswith(ZIP_START):
        if _is_docx(data):
            return DOCX
        raise Unreadable(f"it is a zip and no Word document; allowed: {ALLOWED}")
    if data.startswith(OLE_START):
        if ENCRYPTED_PART in data:
            raise Unreadable("it is encrypted; allowed: Word documents that open without a password")
        raise Unreadable(f"it is of Office's format before 2007; allowed: {ALLOWED}")
    if suffix in (*PDF.suffixes, *DOCX.suffixes):
        raise Unreadable(f"it is not what {suffix} says; allowed: {ALLOWED}")
    for format in FORMATS:
        if suffix in format.suffixes:
            return format
    if HTML_START.match(data):
        return HTML
    if not suffix:
        return TEXT
    raise Unreadable(f"files of type {suffix!r} are not read; allowed: {ALLOWED}")


def _is_docx(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return MAIN_PART in archive.namelist()
    except zipfile.BadZipFile as error:
        raise Unreadable(f"it is a damaged zip: {error}") from error


def _clean(content: Content) -> Content:
    """Without what a database cannot hold; every character keeps its place."""
    headings = tuple(replace(heading, title=_cleaned(heading.title)) for heading in content.headings)
    return replace(content, text=_cleaned(content.text), headings=headings)


def _cleaned(text: str) -> str:
    return CONTROL.sub(" ", text).encode("utf-8", "replace").decode("utf-8")
