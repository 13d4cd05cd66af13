"""Plain text, and how bytes become characters."""

from __future__ import annotations

import codecs
import re

from assistant.retrieval.readers.content import Content, Unreadable

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # UTF-32's little-endian mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Characters no text has; tabs, line and page breaks and escape sequences are none of them."""


def decode(data: bytes, declared: str | None = None) -> str:
    """The characters of a file: by its byte order mark; else as `declared`; else UTF-8; else, as every byte is a
    letter there, Windows-1252, or Latin-1 where a byte has no letter in that. Line ends become "\\n".

    Raises:
        Unreadable: it does not keep to its own byte order mark, or holds bytes that no text has.
    """
    marks = [encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)]
    guesses = marks[:1] or [declared, "utf-8", "cp1252", "latin-1"]
    for encoding in guesses:
        try:
            text = data.decode(encoding) if encoding else None
        except (UnicodeDecodeError, LookupError):
            continue
        if text is not None:
            break
    else:
        raise Unreadable(f"it begins with the mark of {guesses[0]} and is not")
    if CONTROL.search(text):
        raise Unreadable("it holds bytes that no text has")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(data: bytes) -> Content:
    return Content(decode(data))
