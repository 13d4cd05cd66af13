"""Collections, documents, uploads and passages → what the Documents tab and the reader show. Pure: values in, HTML out.

Names and texts come from uploads: everything is escaped that becomes part of HTML.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from assistant.messages import Passage
from assistant.retrieval.readers.content import PATH_SEPARATOR
from assistant.retrieval.readers.registry import FORMATS
from assistant.retrieval.records import Collection, Document
from assistant.ui.markup import one_line, size
from assistant.ui.uploads import Upload

COLUMNS = ("Name", "Type", "Pages", "Passages", "Size", "Added", "")
KINDS = {format.media_type: format.name for format in FORMATS}
OUTCOMES = {"added": "good", "replaced": "good", "unchanged": "idle", "rejected": "bad"}
LINES = 50
"""Files of one upload up to which each has a line of its own from the start."""

LONGEST_READING = 60_000
"""Characters of a document that the reader shows at once; what is before and after is a click away."""

WITHHELD = "Struck through: it gives orders to whoever answers, so no model is shown it."

PLACE = re.compile(r"#sb-open/([^/]+)/(\d+)/(\d+)-(\d+)")


@dataclass(frozen=True)
class Place:
    """A piece of a document, in characters of its text. `passage` 0 is the document's beginning, with nothing marked.

    As `start` may be beside the passage's own, a single sentence of it can be pointed at.
    """

    document: str
    passage: int = 0
    start: int = 0
    end: int = 0

    @property
    def link(self) -> str:
        return f"#sb-open/{self.document}/{self.passage}/{self.start}-{self.end}"


def read_place(link: str) -> Place | None:
    """The place that `Place.link` made; None for anything else."""
    found = PLACE.fullmatch(link)
    return Place(found[1], int(found[2]), int(found[3]), int(found[4])) if found else None


# The tab ----------------------------------------------------------------------------------------


def collection_list(collections: Sequence[Collection], selected: str) -> str:
    items = []
    for collection in collections:
        here = ' aria-current="true"' if collection.id == selected else ""
        items.append(
            f'<li><button type="button" data-pick="{one_line(collection.id)}"{here}>'
            f'<span class="sb-name">{one_line(collection.name)}</span>'
            f'<span class="sb-count">{collection.documents}</span></button></li>'
        )
    return f'<ul class="sb-list sb-counted">{"".join(items)}</ul>'


def document_table(documents: Sequence[Document], name: str = "") -> str:
    """`name` is what was looked for in theirs."""
    if not documents and name:
        return f'<p class="sb-empty">No document in this collection has “{one_line(name)}” in its name.</p>'
    if not documents:
        return '<p class="sb-empty">No documents in this collection yet. Drop some files above.</p>'
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(map(_row, documents))
    return f'<div class="sb-scroll"><table class="sb-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def numbers(first: int, last: int, total: int) -> str:
    """Which of how many are shown: those from number `first`, counted from 0, up to `last`."""
    return f'<span class="sb-hint">{first + 1:,}–{last:,} of {total:,}</span>'


def _row(document: Document) -> str:
    name = one_line(document.name)
    cells = (
        f'<a class="sb-open" href="{html.escape(Place(document.id).link)}">{name}</a>',
        one_line(kind(document)),
        str(document.pages) if document.pages else "–",
        str(document.passages),
        size(document.size),
        f"{document.added_at:%Y-%m-%d %H:%M} UTC",
        f'<button type="button" class="sb-link sb-remove" data-pick="{one_line(document.id)}" '
        f'aria-label="Delete {name}">Delete</button>',
    )
    row = "".join(f'<td data-label="{column}">{cell}</td>' for column, cell in zip(COLUMNS, cells, strict=True))
    return f"<tr>{row}</tr>"


def kind(document: Document) -> str:
    name = KINDS.get(document.media_type, document.media_type)
    return name[:1].upper() + name[1:]


def upload_list(uploads: Sequence[Upload]) -> str:
    """A line for each file: how far it is, or what came of it. Of many files, one for all together and one for each
    that is under way or could not be taken in."""
    if not uploads:
        return ""
    summary, shown = "", uploads
    if len(uploads) > LINES:
        summary = _summary(uploads)
        shown = [upload for upload in uploads if upload.is_under_way or upload.outcome == "rejected"]
    return f'<ul class="sb-uploads" role="status">{summary}{"".join(map(_upload, shown))}</ul>'


def _summary(uploads: Sequence[Upload]) -> str:
    outcomes = Counter(upload.outcome for upload in uploads)
    waiting = outcomes.pop(None, 0)
    done = len(uploads) - waiting
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items(), key=str))
    bar = f'<progress value="{done}" max="{len(uploads)}"></progress>' if waiting else ""
    return (
        f'<li class="sb-summary"><span class="sb-name">{done:,} of {len(uploads):,} files</span>{bar}'
        f'<span class="sb-told">{told}</span></li>'
    )


def _upload(upload: Upload) -> str:
    name = f'<span class="sb-name">{one_line(upload.name)}</span>'
    if upload.outcome is None:
        told = f"{upload.share:.0%}" if upload.is_begun else "waiting"
        bar = f'<progress value="{upload.share:.3f}" max="1"></progress>'
        return f'<li data-outcome="busy">{name}{bar}<span class="sb-told">{told}</span></li>'
    told = f'<span class="sb-told sb-state sb-state-{OUTCOMES[upload.outcome]}">{one_line(upload.told)}</span>'
    return f'<li data-outcome="{upload.outcome}">{name}{told}</li>'


def found(passages: Sequence[Passage]) -> str:
    """What a search found, best first."""
    items = "".join(
        f'<li><div class="sb-from"><b class="sb-number">{number}</b><a class="sb-open" href="{html.escape(place(passage).link)}">'
        f"{whereabouts(passage)}</a>"
        f'<span class="sb-score">score {passage.score:.3g}</span></div>'
        f"<blockquote>{quoted(passage)}</blockquote></li>"
        for number, passage in enumerate(passages, 1)
    )
    return f'<ol class="sb-found">{items}</ol>'


def place(passage: Passage) -> Place:
    return Place(passage.document_id, passage.id, passage.start, passage.end)


def whereabouts(passage: Passage) -> str:
    """Document, page and headings in a line, and whether something of the passage is withheld."""
    facts = [f"page {passage.page}"] if passage.page is not None else []
    if passage.heading:
        facts.append(passage.heading)
    if passage.withheld:
        facts.append("partly withheld")
    more = f'<span class="sb-path"> · {one_line(" · ".join(facts))}</span>' if facts else ""
    return f'<span class="sb-document">{one_line(passage.document)}</span>{more}'


def quoted(passage: Passage, marks: Sequence[tuple[int, int]] = ()) -> str:
    """A passage's text in one line of HTML, with the pieces `marks` highlighted; a new line stays one.

    What is withheld from models is struck through, and said to be so.
    """
    struck = passage.withheld
    text = highlighted(passage.text.rstrip(), marks, struck)
    told = f'<span class="sb-withheld">{WITHHELD}</span>' if struck else ""
    return re.sub(r"\s*\n\s*", "<br>", text).replace("$", "&#36;") + told


def highlighted(text: str, marks: Sequence[tuple[int, int]], struck: Sequence[tuple[int, int]] = ()) -> str:
    """Escaped text; the pieces are (start, end) in characters, and may overlap."""
    made, last = "", 0
    for start, end, tag in sorted([(*mark, "mark") for mark in marks] + [(*piece, "del") for piece in struck]):
        start, end = max(start, last), min(end, len(text))
        if start < end:
            made += f"{html.escape(text[last:start])}<{tag}>{html.escape(text[start:end])}</{tag}>"
            last = end
    return made + html.escape(text[last:])


# The reader -------------------------------------------------------------------------------------


def reading(document: Document, text: str, outline: Sequence[Passage], here: Place) -> str:
    """A document's text with the borders of its passages, opened at a place that is highlighted there."""
    facts = [kind(document), size(document.size), f"{document.passages} passages"]
    if document.pages:
        facts.insert(1, f"{document.pages} page" + ("s" if document.pages != 1 else ""))
    is_known = not here.passage or any(passage.id == here.passage for passage in outline)
    gone = "" if is_known else _notice("This document has changed since: the passage is no longer in it as it was.")
    shown, before, after = window(outline, here)
    body = _more(document, before, "Show what stands before") + _passages(text, shown, here if is_known else None)
    return _panel(document.name, " · ".join(facts), gone + body + _more(document, after, "Show what follows"))


def missing(reason: str) -> str:
    """In place of a document that cannot be shown."""
    return _panel("This document cannot be opened", "", _notice(reason))


def window(outline: Sequence[Passage], here: Place) -> tuple[Sequence[Passage], Passage | None, Passage | None]:
    """The passages around a place that are shown at once, and the nearest before and after them that are not."""
    at = next((index for index, passage in enumerate(outline) if passage.id == here.passage), 0)
    first = last = at
    length = 0
    while length < LONGEST_READING and (first > 0 or last < len(outline)):
        if last < len(outline):
            length += len(outline[last].text)
            last += 1
        if first > 0:
            first -= 1
            length += len(outline[first].text)
    before = outline[first - 1] if first > 0 else None
    return outline[first:last], before, outline[last] if last < len(outline) else None


def _passages(text: str, outline: Sequence[Passage], here: Place | None) -> str:
    # Passages may overlap: each is shown from where the one before it ends.
    ends = [0, *accumulate((passage.end for passage in outline), max)]
    starts = [max(passage.start, end) for passage, end in zip(outline, ends, strict=False)]
    made, page, heading, mark = "", None, "", (0, 0)
    for passage, start in zip(outline, starts, strict=True):
        # A whole passage stands out by its frame; of anything else, the words are marked.
        if here is not None and passage.id == here.passage and (here.start, here.end) != (start, passage.end):
            mark = (here.start, here.end)
    for passage, start, last in zip(outline, starts, ends, strict=False):
        if passage.page is not None and passage.page != page:
            made += f'<div class="sb-page">Page {passage.page}</div>'
        made += _between(text[last or start : start])
        lines = _lines(text[start : passage.end], passage.heading)
        if passage.heading and passage.heading != heading and not any(is_title for _, is_title in lines):
            made += f'<div class="sb-path">{one_line(passage.heading)}</div>'
        is_here = here is not None and passage.id == here.passage
        made += f'<div class="sb-chunk{" sb-here" if is_here else ""}">'
        for line, is_title in lines:
            shown = highlighted(line, [(mark[0] - start, mark[1] - start)])
            made += f"<strong>{shown}</strong>" if is_title else shown
            start += len(line)
        made += "</div>"
        page, heading = passage.page, passage.heading
    return made


def _lines(text: str, heading: str) -> list[tuple[str, bool]]:
    """The lines of a passage, their ends included, and whether each is one of the titles in the path `heading`."""
    titles = set(heading.split(PATH_SEPARATOR)) - {""}
    return [(line, line.strip("# \t\r\n") in titles) for line in text.splitlines(keepends=True)]


def _between(text: str) -> str:
    """What stands between two passages: a title, mostly, or nothing."""
    return f'<div class="sb-between">{html.escape(text.strip())}</div>' if text.strip() else ""


def _more(document: Document, passage: Passage | None, label: str) -> str:
    if passage is None:
        return ""
    link = Place(document.id, passage.id, passage.start, passage.start).link
    return f'<p class="sb-more"><a class="sb-open" href="{html.escape(link)}">{label}</a></p>'


def _notice(text: str) -> str:
    return f'<p class="sb-refusal" role="status">{one_line(text)}</p>'


def _panel(title: str, facts: str, body: str) -> str:
    return (
        f'<aside class="sb-reader" role="dialog" aria-label="{one_line(title)}"><header><div><h3>{one_line(title)}</h3>'
        f'<p>{one_line(facts)}</p></div><button type="button" class="sb-close" aria-label="Close">✕</button></header>'
        f'<div class="sb-reading" tabindex="0">{body}</div></aside>'
    )
