"""Markdown: the source as it stands, with its headings."""

from __future__ import annotations

import re
from itertools import pairwise

from markdown_it import MarkdownIt

from assistant.retrieval.readers.content import Content, Heading
from assistant.retrieval.readers.text import decode

FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)(?:\n|\Z)", re.DOTALL)


def read_markdown(data: bytes) -> Content:
    text = decode(data)
    # Its last line would make a heading of the line above it.
    front = FRONT_MATTER.match(text)
    hidden = text[: front.end()] if front else ""
    body = "\n" * hidden.count("\n") + text[len(hidden) :]
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    headings = []
    tokens = MarkdownIt("commonmark").parse(body)
    for opening, inline in pairwise(tokens):
        # Headings inside lists and quotes belong to those, not to the document.
        if opening.type == "heading_open" and opening.level == 0 and opening.map and inline.content:
            first, after = opening.map
            title = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
            headings.append(Heading(starts[first], starts[after] - 1, int(opening.tag[1]), title))
    return Content(text, tuple(headings))
