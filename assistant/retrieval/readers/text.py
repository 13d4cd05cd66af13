"""Plain text, and how bytes become characters."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from assistant.retrieval.readers.content import Content, Unreadable

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # UTF-32's little-endian mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""Characters that text has no use for; a log may hold some."""

MOST_CONTROL = 0.01


def decode(data: bytes, declared: str | None = None) -> str:
    """The characters of a file: by its byte order mark; else as `declared`; else UTF-8; else Windows-1252, and Latin-1
    where a byte has no letter in that. Line ends become "\\n".

    Raises:
        Unreadable: it does not keep to its own byte order mark, or holds bytes that no text has.
    """
    for encoding in _guesses(data, declared):
        try:
            text = data.decode(encoding)
            break
        except (UnicodeError, LookupError):
            continue
    else:
        raise Unreadable("it begins with a byte order mark that it does not keep to")
    if "\0" in text or len(CONTROL.findall(text)) > MOST_CONTROL * len(text):
        raise Unreadable("it holds bytes that no text has")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _guesses(data: bytes, declared: str | None) -> Iterator[str]:
    for mark, encoding in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            yield encoding
            return
    if declared is not None:
        yield declared
    yield from ("utf-8", "cp1252", "latin-1")


def read_text(data: bytes) -> Content:
    """Raises Unreadable as `decode` does."""
    return Content(decode(data))
