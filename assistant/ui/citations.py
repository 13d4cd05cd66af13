"""An answer from the documents → its text with links, its passages, and how far they carry it. Pure: values in, HTML out.

Passages come from uploads: everything is escaped that becomes part of HTML. The answer's own text stays Markdown; the
chat component sanitises it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace

from assistant.messages import Grounding, Passage
from assistant.retrieval.grounding import content_words
from assistant.retrieval.packing import NUMBER, shown
from assistant.ui.document_view import place, quoted, whereabouts
from assistant.ui.markup import one_line

NUMBERS = re.compile(NUMBER.pattern + r"(?![(\[:])")
"""As Markdown has it, `[1](…)`, `[1][…]` and `[1]:` are links already."""

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
SENTENCE = re.compile(r"\S(?:[^.!?\n]++|[.!?]++(?!\s|\Z))*+(?:[.!?]++|\n)?")


def linked(text: str, passages: Sequence[Passage], anchor: str, grounding: Grounding | None = None) -> str:
    """Markdown in which each `[n]` leads to passage n; in code, and where there is no such passage, it stays a number.

    A piece that rests on a passage without saying so gets the number behind it. `anchor` tells this answer's passages
    from those of others on the page.
    """
    if not passages:
        return text
    text = _with_numbers(text, grounding, len(passages))
    made, last = "", 0
    for code in CODE.finditer(text):
        made += _links(text[last : code.start()], passages, anchor) + code[0]
        last = code.end()
    return made + _links(text[last:], passages, anchor)


def _with_numbers(text: str, grounding: Grounding | None, count: int) -> str:
    code = [found.span() for found in CODE.finditer(text)]
    for citation in sorted(
        grounding.citations if grounding else (), key=lambda citation: (-citation.end, -citation.passage)
    ):
        start, end, number = citation.start, citation.end, citation.passage
        is_code = any(begin < end < stop for begin, stop in code)
        # The number may stand behind the piece, too.
        if is_code or not 1 <= number <= count or number in cited_numbers(text[start : end + 8]):
            continue
        stripped = len(text[:end].rstrip())
        text = f"{text[:stripped]} [{number}]{text[stripped:]}"
    return text


def cited_numbers(text: str) -> set[int]:
    return {int(number) for found in NUMBERS.finditer(text) for number in re.findall(r"\d+", found[0])}


def _links(text: str, passages: Sequence[Passage], anchor: str) -> str:
    def link(found: re.Match[str]) -> str:
        number = int(found[0])
        if not 1 <= number <= len(passages):
            return found[0]
        tip = one_line(passages[number - 1].document)
        return f'<a class="sb-cite" href="#sb-passage-{anchor}-{number}" title="{tip}">{number}</a>'

    return NUMBERS.sub(lambda found: re.sub(r"\d+", link, found[0]), text)


def sources(text: str, passages: Sequence[Passage], grounding: Grounding | None, anchor: str) -> str:
    """The passages an answer was given, numbered, with the sentences it rests on highlighted; empty without any.

    `grounding` is None while the answer is being written.
    """
    if not passages:
        return ""
    marks = cited_sentences(text, passages, grounding)
    cited = set(marks) | (cited_numbers(text) if grounding else set())
    items = "".join(
        _source(number, passage, number in cited, marks.get(number), anchor)
        for number, passage in enumerate(passages, 1)
    )
    # One line, because a blank one would end the HTML where Markdown is read.
    return f'<section class="sb-sources">{groundedness(grounding, len(passages))}{items}</section>'


def groundedness(grounding: Grounding | None, count: int) -> str:
    """The figure, or the mark of an answer that the documents do not hold."""
    given = f"{count} passage" + ("s" if count != 1 else "") + " from the documents"
    if grounding is None:
        return f'<div class="sb-grounding">{given}</div>'
    tip = "the share of this answer's meaningful words that stand in the passages below"
    figure = f'<span class="sb-figure" title="{tip}">Groundedness {grounding.share:.0%}</span>'
    if grounding.is_found:
        return f'<div class="sb-grounding">{figure}<span>{given}</span></div>'
    return (
        f'<div class="sb-grounding sb-not-found"><strong>Not found in the documents</strong>{figure}'
        f"<span>{given}</span></div>"
    )


def _source(number: int, passage: Passage, is_cited: bool, mark: tuple[int, int] | None, anchor: str) -> str:
    here = place(passage)
    if mark is not None:
        here = replace(here, start=passage.start + mark[0], end=passage.start + mark[1])
    state = ' class="sb-passage sb-cited" open' if is_cited else ' class="sb-passage"'
    return (
        f'<details id="sb-passage-{anchor}-{number}"{state}><summary><b class="sb-number">{number}</b>'
        f'<span class="sb-from">{whereabouts(passage)}</span></summary>'
        f"<blockquote>{quoted(passage, [mark] if mark else [])}</blockquote>"
        f'<a class="sb-open" href="{html.escape(here.link)}">Open in the document</a></details>'
    )


def cited_sentences(text: str, passages: Sequence[Passage], grounding: Grounding | None) -> dict[int, tuple[int, int]]:
    """For each passage that the answer rests on, the sentence nearest to what is said there: (start, end) in its text.

    Nearest is the one that shares the most content words with the pieces that rest on the passage.
    """
    pieces: dict[int, str] = {}
    for citation in grounding.citations if grounding else ():
        said = text[citation.start : citation.end]
        pieces[citation.passage] = f"{pieces.get(citation.passage, '')} {said}"
    found = {}
    for number, said in pieces.items():
        if not 1 <= number <= len(passages):
            continue
        words = set(content_words(NUMBERS.sub("", said)))
        whole = passages[number - 1].text
        left = shown(passages[number - 1])
        sentences = [sentence.span() for start, end in left for sentence in SENTENCE.finditer(whole, start, end)]
        shared = [len(words & set(content_words(whole[start:end]))) for start, end in sentences]
        if any(shared):
            found[number] = sentences[shared.index(max(shared))]
    return found
