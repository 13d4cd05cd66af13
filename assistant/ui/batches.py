"""Sets of questions: paste or upload them, watch them being answered, take the results out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from assistant.background import in_background
from assistant.comparison.batch import Batches
from assistant.comparison.questions import Question, read_questions
from assistant.comparison.request import Setup
from assistant.comparison.results import table, to_csv, to_json_lines
from assistant.errors import InvalidRequest, NotFound, SwapboardError
from assistant.ui import batch_view as view
from assistant.ui.history import SAVE_FILE, Updates, file_name
from assistant.ui.pick_list import PICK
from assistant.ui.toast import tell
from assistant.ui.visitor import read_visitor

log = logging.getLogger(__name__)

LOOK = 1.5
"""Seconds between two looks at a batch that is being answered."""

PAGE = 50
"""Rows shown at once."""

READ_WHOLE = 300
"""Rows up to which averages are shown while the batch still runs."""

HINT = """<p class="sb-hint">CSV with a column <code>question</code> and, where there are any, <code>reference</code>;
JSON lines with <code>question</code> and <code>references</code>; or one question on each line.</p>"""

Sets = Callable[..., Setup]
"""Makes the set-up of the fields above. Raises InvalidRequest."""


class BatchPanel:
    """Builds the panel inside the current Blocks and answers its events. `opened` keeps which batch is open."""

    opened: gr.BrowserState

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def build(self) -> None:
        with gr.Row(elem_id="batch-columns"):
            with gr.Column(elem_id="batch-side", min_width=280, scale=1):
                self.pasted = gr.Textbox(
                    label="Questions",
                    lines=4,
                    max_lines=12,
                    placeholder="Paste them here…",
                    elem_id="batch-pasted",
                )
                self.file = gr.File(
                    label="…or a CSV or JSON lines file",
                    file_types=[".csv", ".tsv", ".jsonl", ".ndjson", ".txt"],
                    height=150,
                    elem_id="batch-file",
                )
                gr.HTML(HINT, apply_default_css=False)
                with gr.Row(elem_classes="sb-fields"):
                    self.name = gr.Textbox(
                        label="Name", max_lines=1, max_length=120, min_width=140, elem_id="batch-name"
                    )
                    self.blind = gr.Checkbox(label="Blind", min_width=80, scale=0, elem_id="batch-blind")
                self.start = gr.Button("Ask all of them", variant="primary", elem_id="start-batch")
                self.listing = gr.HTML(elem_id="batches", apply_default_css=False, js_on_load=PICK)
            with gr.Column(elem_id="batch-main", min_width=320, scale=3):
                self.empty = gr.HTML(
                    '<p class="sb-empty">The results appear here, row by row. They go on coming when the page is '
                    "closed.</p>",
                    apply_default_css=False,
                )
                with gr.Column(visible=False) as self.panel:
                    self._build_results()
        self.timer = gr.Timer(LOOK, active=False)

    def _build_results(self) -> None:
        self.progress = gr.HTML(apply_default_css=False, elem_id="batch-progress")
        with gr.Row(elem_classes="sb-tools", elem_id="batch-tools"):
            self.stop = gr.Button("Stop", size="sm", min_width=70)
            self.reveal = gr.Button("Reveal the names", size="sm", min_width=120)
            self.as_csv = gr.Button("Save as CSV", size="sm", min_width=90)
            self.as_json = gr.Button("Save as JSON lines", size="sm", min_width=120)
            self.delete = gr.Button("Delete", size="sm", min_width=70)
        with gr.Group(visible=False, elem_id="batch-delete-form") as self.delete_form:
            gr.HTML(
                "<p>Delete this set with all its answers for good?</p>",
                elem_classes="sb-question",
                apply_default_css=False,
            )
            with gr.Row(elem_classes="sb-tools"):
                self.really_delete = gr.Button("Delete it", variant="stop", size="sm", min_width=70)
                self.keep = gr.Button("Keep it", size="sm", min_width=70)
        self.averages = gr.HTML(apply_default_css=False, elem_id="batch-averages")
        self.failures = gr.HTML(apply_default_css=False, elem_id="batch-failures")
        self.rows = gr.HTML(apply_default_css=False, js_on_load=PICK, elem_id="batch-rows")
        self.first = gr.State(0)
        with gr.Row(visible=False, elem_classes="sb-tools") as self.pager:
            self.back = gr.Button("Earlier rows", size="sm", min_width=90, scale=0)
            self.forth = gr.Button("Later rows", size="sm", min_width=90, scale=0)
        self.document = gr.JSON(visible=False)
        self.seen = gr.State()

    @property
    def outputs(self) -> list[Any]:
        shown = [self.listing, self.empty, self.panel, self.progress, self.stop, self.reveal, self.delete_form]
        return [*shown, self.averages, self.failures, self.rows, self.first, self.pager, self.timer, self.seen]

    def connect(self, page: gr.Blocks, browser: gr.BrowserState, setup: list[Any], sets: Sets) -> None:
        """Wire the events; `sets` makes a set-up of the values of the fields `setup`. Rows are picked by others."""
        self._sets, opened = sets, self.opened
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        here, shown = [browser, opened, self.first], [*self.outputs, opened]
        asked = [browser, self.pasted, self.file, self.name, self.blind, *setup]
        self.start.click(self._start, asked, [*shown, self.pasted, self.file, self.name, self.start], **quiet)
        self.listing.select(self._pick, [browser, opened], shown, **quiet)
        page.load(self._load, [browser, opened], shown, **quiet)
        self.timer.tick(self._look, [*here, self.seen], self.outputs, **quiet)
        for button, step in ((self.back, -PAGE), (self.forth, PAGE)):
            button.click(self._turner(step), here, self.outputs, **quiet)
        self.stop.click(self._stop, here, self.outputs, **quiet)
        self.reveal.click(self._reveal, here, self.outputs, **quiet)
        self.delete.click(lambda: gr.Group(visible=True), None, self.delete_form, **quiet)
        self.keep.click(lambda: gr.Group(visible=False), None, self.delete_form, **quiet)
        self.really_delete.click(self._delete, [browser, opened], shown, **quiet)
        for button, make in ((self.as_csv, self._csv), (self.as_json, self._json_lines)):
            button.click(make, [browser, opened], self.document, **quiet).then(
                None, self.document, self.document, js=SAVE_FILE, **quiet
            )

    # Events ---------------------------------------------------------------------------------------

    async def _start(
        self, kept: Any, pasted: str, file: str | None, name: str, blind: bool, *values: Any
    ) -> AsyncIterator[Updates]:
        visitor = read_visitor(kept)
        yield {self.start: gr.Button(interactive=False)}
        try:
            questions = await asyncio.to_thread(_questions, pasted, file)
            setup = self._sets(bool(blind), *values)
            title = name.strip() or (Path(file).stem if file else f"{len(questions)} questions")
            batch_id = await self.batches.start_batch(visitor.owner, title, questions, setup)
            updates = {self.opened: batch_id, self.pasted: "", self.file: None, self.name: ""}
            wrong = sum(question.error is not None for question in questions)
            if wrong:
                tell(f"{wrong} of {len(questions)} rows cannot be asked; the table says why.", "Some rows are wrong")
            updates |= await self._shown(visitor.owner, batch_id, 0)
        except SwapboardError as error:
            tell(error, "Not started")
            updates = {}
        except Exception as error:  # the button has to come back
            log.exception("a batch could not be started after an unexpected error")
            tell(f"unexpected error: {type(error).__name__}", "Not started")
            updates = {}
        yield {**updates, self.start: gr.Button(interactive=True)}

    async def _load(self, kept: Any, opened: Any) -> Updates:
        return await self._shown(read_visitor(kept).owner, opened, 0)

    async def _pick(self, kept: Any, opened: Any, event: gr.SelectData) -> Updates:
        picked = str(event.value)
        return {self.opened: picked, **await self._shown(read_visitor(kept).owner, picked, 0)}

    async def _look(self, kept: Any, opened: Any, first: int, seen: Any) -> Updates:
        """What has changed since the last look."""
        owner = read_visitor(kept).owner
        try:
            batch = await asyncio.to_thread(self.batches.store.batch, str(opened or ""), owner)
        except NotFound:
            return {self.timer: gr.Timer(active=False)}
        except SwapboardError:  # the next look will tell
            return {self.seen: gr.skip()}
        if (batch.id, batch.done, batch.state) == tuple(seen or ()):
            return {self.seen: gr.skip()}
        return await self._shown(owner, opened, first)

    def _turner(self, step: int) -> Callable[..., Any]:
        async def turn(kept: Any, opened: Any, first: int) -> Updates:
            return await self._shown(read_visitor(kept).owner, opened, max(first + step, 0))

        return turn

    async def _stop(self, kept: Any, opened: Any, first: int) -> Updates:
        return await self._act(self.batches.cancel, kept, opened, first)

    async def _reveal(self, kept: Any, opened: Any, first: int) -> Updates:
        async def reveal(batch_id: str, owner: str) -> None:
            await asyncio.to_thread(self.batches.store.reveal, batch_id, owner)

        return await self._act(reveal, kept, opened, first)

    async def _delete(self, kept: Any, opened: Any) -> Updates:
        owner = read_visitor(kept).owner
        try:
            await self.batches.delete(str(opened or ""), owner)
        except SwapboardError as error:
            tell(error, "Not deleted")
            return await self._shown(owner, opened, 0)
        return {**await self._shown(owner, "", 0), self.opened: ""}

    async def _act(self, act: Callable[[str, str], Any], kept: Any, opened: Any, first: int) -> Updates:
        owner = read_visitor(kept).owner
        try:
            await act(str(opened or ""), owner)
        except SwapboardError as error:
            tell(error)
        return await self._shown(owner, opened, first)

    async def _csv(self, kept: Any, opened: Any) -> dict[str, str] | None:
        return await self._document(kept, opened, ".csv", "text/csv", lambda found: to_csv(table(found)))

    async def _json_lines(self, kept: Any, opened: Any) -> dict[str, str] | None:
        return await self._document(kept, opened, ".jsonl", "application/jsonl", to_json_lines)

    async def _document(
        self, kept: Any, opened: Any, suffix: str, kind: str, make: Callable[[Any], str]
    ) -> dict[str, str] | None:
        batch_id, owner = str(opened or ""), read_visitor(kept).owner
        try:
            batch = await asyncio.to_thread(self.batches.store.batch, batch_id, owner)
            rows = await asyncio.to_thread(self.batches.store.rows, batch_id, owner)
            text = await in_background(make, rows)
        except SwapboardError as error:
            tell(error)
            return None
        return {"name": file_name(batch.name) + suffix, "type": kind, "text": text}

    # Showing --------------------------------------------------------------------------------------

    async def _shown(self, owner: str, opened: Any, first: int) -> Updates:
        try:
            return await self._show(owner, opened, first)
        except SwapboardError as error:
            tell(error, "The sets of questions cannot be shown")
            return {self.seen: gr.skip()}

    async def _show(self, owner: str, opened: Any, first: int) -> Updates:
        """The list, and the batch that is open. Raises StoreUnavailable."""
        batches = await asyncio.to_thread(self.batches.store.batches, owner)
        current = next((batch for batch in batches if batch.id == opened), None)
        updates: Updates = {
            self.listing: view.batch_list(batches, current.id if current else ""),
            self.empty: gr.HTML(visible=current is None),
            self.panel: gr.Column(visible=current is not None),
            self.timer: gr.Timer(active=current is not None and current.state == "running"),
            self.delete_form: gr.Group(visible=False),
        }
        if current is None:
            return updates
        is_over = current.state != "running"
        reads_whole = is_over or current.rows <= READ_WHOLE
        store, start = self.batches.store, first if first < current.rows else 0
        wanted = (0, None) if reads_whole else (start, PAGE)
        found = await asyncio.to_thread(store.rows, current.id, owner, *wanted)
        rows = await in_background(table, found)
        shown = found[start : start + PAGE] if reads_whole else found
        return {
            **updates,
            self.progress: view.progress(current),
            self.stop: gr.Button(visible=not is_over),
            self.reveal: gr.Button(visible=any(one.is_hidden and one.is_over for one in found)),
            self.averages: view.averages_html(rows) if reads_whole else "",
            self.failures: view.failures_html(rows),
            self.rows: view.rows_html(shown, rows),
            self.first: start,
            self.pager: gr.Row(visible=current.rows > PAGE),
            self.seen: (current.id, current.done, current.state),
        }


def _questions(pasted: str, file: str | None) -> list[Question]:
    """The rows of the file, or else of what was pasted.

    Raises:
        InvalidRequest: there is neither, or both.
        DataError: they cannot be read.
    """
    if file and pasted.strip():
        raise InvalidRequest("There are pasted questions and a file: take one of them away.")
    if file:
        path = Path(file)
        return read_questions(path.read_bytes(), path.name)
    if not pasted.strip():
        raise InvalidRequest("Paste some questions or choose a file first.")
    return read_questions(pasted)
