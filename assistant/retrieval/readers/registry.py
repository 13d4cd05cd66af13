"""Which files are read, and by what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from assistant.errors import DocumentRejected
from assistant.retrieval.readers.content import Content, Unreadable
from assistant.retrieval.readers.markdown import read_markdown
from assistant.retrieval.readers.text import read_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    name: str
    media_type: str
    suffixes: tuple[str, ...]
    read: Callable[[bytes], Content]


TEXT = Format("text", "text/plain", (".txt", ".text", ".log", ""), read_text)
MARKDOWN = Format("Markdown", "text/markdown", (".md", ".markdown"), read_markdown)
FORMATS = (TEXT, MARKDOWN)


def read(name: str, data: bytes) -> tuple[Format, Content]:
    """The text of a file, whatever format it is of.

    Raises:
        DocumentRejected: it is of no format that is read, damaged, encrypted, or holds no text.
    """
    suffix = PurePath(name).suffix.lower()
    for format in FORMATS:
        if suffix in format.suffixes:
            break
    else:
        raise DocumentRejected(f"{name}: files of type {suffix!r} are not read")
    try:
        content = format.read(data)
    except Unreadable as error:
        raise DocumentRejected(f"{name}: {error}") from error
    if not content.text.strip():
        raise DocumentRejected(f"{name}: it holds no text")
    return format, content
