"""The documents of a collection, page by page or by name, and how one of them is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from assistant.errors import SwapboardError
from assistant.retrieval.library import Library
from assistant.ui import document_view
from assistant.ui.history import Updates
from assistant.ui.markup import one_line
from assistant.ui.pick_list import PICK
from assistant.ui.toast import inform, tell

PAGE = 50


@dataclass(frozen=True)
class View:
    """What an open page shows: the documents of a collection with `name` in theirs, from number `first` on."""

    collection: str
    name: str = ""
    first: int = 0

    def within(self, total: int) -> View:
        """The same, or the last page where there are no longer so many."""
        return replace(self, first=max(0, min(self.first, (total - 1) // PAGE * PAGE)))


Read = Callable[[gr.Request, str], View]
Show = Callable[[gr.Request, View], Awaitable[Updates]]


class DocumentList:
    """Builds its part of the tab inside the current Blocks. Who shows what is for the tab to remember."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def build(self, view: View) -> None:
        total = self.library.count(view.collection)
        with gr.Row(elem_classes="sb-fields", visible=total > PAGE) as self.finder:
            self.name = gr.Textbox(
                label="Find by name",
                placeholder="Part of a document's name",
                max_lines=1,
                elem_id="document-name",
            )
        self.table = gr.HTML(
            document_view.document_table(self.library.documents(view.collection, limit=PAGE)),
            elem_id="document-table",
            apply_default_css=False,
            js_on_load=PICK,
        )
        with gr.Row(elem_classes="sb-tools", visible=total > PAGE, elem_id="document-pager") as self.pager:
            self.back = gr.Button("Previous", size="sm", min_width=80, scale=0, interactive=False)
            self.forth = gr.Button("Next", size="sm", min_width=80, scale=0)
            self.where = gr.HTML(document_view.numbers(0, PAGE, total), apply_default_css=False)
        self.doomed = gr.Textbox(visible=False)
        with gr.Column(visible=False, elem_id="document-delete-form") as self.delete_form:
            self.question = gr.HTML(elem_classes="sb-question", apply_default_css=False)
            with gr.Row(elem_classes="sb-tools"):
                self.really_delete = gr.Button("Delete it", variant="stop", size="sm", min_width=80)
                self.keep = gr.Button("Keep it", size="sm", min_width=80)

    def connect(self, selected: gr.Textbox, read: Read, show: Show, outputs: list[Any]) -> None:
        """`read` gives what a page shows, and `show` the updates of `outputs` with which it shows something else."""
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

        async def find(request: gr.Request, selected: str, name: str) -> Updates:
            return await show(request, View(read(request, selected).collection, name.strip()))

        async def delete(request: gr.Request, selected: str, doomed: str) -> Updates:
            try:
                await asyncio.to_thread(self.library.delete, doomed)
                inform("The document is deleted.")
            except SwapboardError as error:
                tell(error)
            return {self.delete_form: gr.Column(visible=False), **await show(request, read(request, selected))}

        def turner(pages: int) -> Callable[..., Awaitable[Updates]]:
            async def turn(request: gr.Request, selected: str) -> Updates:
                view = read(request, selected)
                return await show(request, replace(view, first=max(0, view.first + pages * PAGE)))

            return turn

        # `input` tells of keys only, not of what is pasted or dropped.
        self.name.change(find, [selected, self.name], outputs, trigger_mode="always_last", **quiet)
        for button, pages in ((self.back, -1), (self.forth, 1)):
            button.click(turner(pages), selected, outputs, **quiet)
        self.table.select(self._ask, None, [self.delete_form, self.question, self.doomed], **quiet)
        self.really_delete.click(delete, [selected, self.doomed], [*outputs, self.delete_form], **quiet)
        self.keep.click(lambda: gr.Column(visible=False), None, self.delete_form, **quiet)

    @property
    def outputs(self) -> list[Any]:
        return [self.finder, self.table, self.pager, self.back, self.forth, self.where]

    def show(self, view: View) -> Updates:
        """A page of the list, the last one where there are fewer than the view asks for. Raises NotFound."""
        total = self.library.count(view.collection, view.name)
        view = view.within(total)
        documents = self.library.documents(view.collection, view.name, PAGE, view.first)
        last = view.first + len(documents)
        return {
            self.finder: gr.Row(visible=total > PAGE or bool(view.name)),
            self.table: document_view.document_table(documents, view.name),
            self.pager: gr.Row(visible=total > PAGE),
            self.back: gr.Button(interactive=view.first > 0),
            self.forth: gr.Button(interactive=last < total),
            self.where: document_view.numbers(view.first, last, total),
        }

    async def _ask(self, event: gr.SelectData) -> tuple[Any, str, str]:
        try:
            document = await asyncio.to_thread(self.library.document, str(event.value))
        except SwapboardError as error:
            tell(error)
            return gr.Column(visible=False), "", ""
        return gr.Column(visible=True), f"<p>Delete <b>{one_line(document.name)}</b> for everyone?</p>", document.id
