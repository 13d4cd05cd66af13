"""The Documents tab: collections, what is in them, taking documents in and out, and a search to try."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from assistant.errors import InvalidRequest, NotFound, SwapboardError
from assistant.messages import Retrieval
from assistant.planner import Searches
from assistant.retrieval.library import Library
from assistant.retrieval.records import Collection
from assistant.ui import document_view
from assistant.ui.adapter_view import result
from assistant.ui.controls import collection_picker
from assistant.ui.document_list import DocumentList, View
from assistant.ui.history import Updates
from assistant.ui.markup import one_line
from assistant.ui.pick_list import PICK
from assistant.ui.toast import inform, tell
from assistant.ui.uploads import UploadQueue
from assistant.ui.visitor import read_visitor

NOTICE = (
    '<p class="sb-hint" id="documents-notice">Documents are <b>shared</b>: everyone who uses this server can read them, '
    "ask them and delete them. They never leave it.</p>"
)
Snapshot = tuple[tuple[int, int], list[Collection]]


class DocumentsTab:
    """Builds the tab inside the current Blocks and answers its events."""

    def __init__(self, library: Library, retriever: Searches) -> None:
        self.library = library
        self.retriever = retriever
        self._queues: dict[str, UploadQueue] = {}
        self.list = DocumentList(library)
        # What each open page shows: an upload that is followed must not bring an earlier choice back.
        self._views: dict[str, View] = {}

    def build(self) -> None:
        collections = self.library.collections()
        first = collections[0].id
        self.selected = gr.Textbox(first, visible=False)
        # What the open form is about, "" for a new one: another may delete it, and then a different one is selected.
        self.meant = gr.Textbox(visible=False)
        with gr.Row(elem_id="document-columns"):
            with gr.Column(elem_id="collection-side", scale=0, min_width=250):
                gr.HTML("<h3>Collections</h3>", elem_classes="sb-heading", apply_default_css=False)
                self.listing = gr.HTML(
                    document_view.collection_list(collections, first),
                    elem_id="collections",
                    apply_default_css=False,
                    js_on_load=PICK,
                )
                with gr.Row(elem_classes="sb-tools", elem_id="collection-tools"):
                    self.new = gr.Button("New", size="sm", min_width=60)
                    self.rename = gr.Button("Rename", size="sm", min_width=60)
                    self.remove = gr.Button("Delete", size="sm", min_width=60, visible=False)
                with gr.Group(visible=False, elem_id="collection-form") as self.form:
                    self.name = gr.Textbox(label="Name", max_length=120, max_lines=1, elem_id="collection-name")
                    with gr.Row(elem_classes="sb-tools"):
                        self.save = gr.Button("Save", variant="primary", size="sm", min_width=60)
                        self.cancel = gr.Button("Cancel", size="sm", min_width=60)
                with gr.Group(visible=False, elem_id="collection-delete-form") as self.remove_form:
                    self.remove_question = gr.HTML(elem_classes="sb-question", apply_default_css=False)
                    with gr.Row(elem_classes="sb-tools"):
                        self.really_remove = gr.Button("Delete it", variant="stop", size="sm", min_width=60)
                        self.keep_collection = gr.Button("Keep it", size="sm", min_width=60)
            with gr.Column(elem_id="document-main", scale=1, min_width=0):
                gr.HTML(NOTICE, apply_default_css=False)
                self.files = gr.File(
                    label="Add text, Markdown, HTML, PDF, Word or CSV",
                    file_count="multiple",
                    height=130,
                    elem_id="document-files",
                )
                self.outcomes = gr.HTML(elem_id="upload-outcomes", apply_default_css=False)
                self.list.build(View(first))
                with gr.Column(elem_id="document-search"):
                    gr.HTML("<h3>Try a search</h3>", elem_classes="sb-heading", apply_default_css=False)
                    with gr.Row(elem_id="search-row"):
                        self.query = gr.Textbox(
                            label="Question",
                            placeholder="What would an answer be drawn from?",
                            max_lines=1,
                            scale=3,
                            min_width=220,
                            elem_id="search-query",
                        )
                        self.scope = collection_picker(collections, elem_id="search-collections")
                        self.search = gr.Button("Search", variant="primary", scale=0, min_width=110, elem_id="search")
                    self.results = gr.HTML(elem_id="search-results", apply_default_css=False)

    def connect(self, page: gr.Blocks, browser: gr.BrowserState) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.browser = browser
        shown, forms = self.outputs, [self.form, self.remove_form]
        opened = [*shown, self.list.name]
        self.listing.select(self._select, None, [*opened, *forms, self.list.delete_form], **quiet)
        self.new.click(lambda: (*_only(0), "", ""), None, [*forms, self.name, self.meant], **quiet)
        self.rename.click(self._ask_name, self.selected, [*forms, self.name, self.meant], **quiet)
        for event in (self.save.click, self.name.submit):
            event(self._save, [self.name, self.meant, self.selected], [*opened, *forms], **quiet)
        self.remove.click(self._ask_removal, self.selected, [*forms, self.remove_question, self.meant], **quiet)
        self.really_remove.click(self._remove, [self.meant, self.selected], [*opened, *forms], **quiet)
        for event in (self.cancel.click, self.keep_collection.click):
            event(lambda: _only(None), None, forms, **quiet)
        self.list.connect(self.selected, self.chosen, self._show, shown)
        self.files.upload(self._upload, [self.files, self.selected, browser], [*shown, self.files, browser], **quiet)
        for event in (self.search.click, self.query.submit):
            event(self._search, [self.query, self.scope], self.results, **quiet)
        page.load(self._load, [self.selected, browser], shown, **quiet)
        page.unload(self._leave)

    @property
    def outputs(self) -> list[Any]:
        return [self.selected, self.listing, self.remove, *self.list.outputs, self.outcomes]

    def snapshot(self) -> Snapshot:
        """What there is, cheaply: another one after every change. Raises StoreUnavailable."""
        return self.library.version, self.library.collections()

    async def refresh(self, view: View) -> Updates:
        """The collections and what `view` tells of one, or of the first where it is gone. Raises StoreUnavailable."""
        while True:
            collections = await asyncio.to_thread(self.library.collections)
            if all(collection.id != view.collection for collection in collections):
                view = View(collections[0].id)
            try:
                documents = await asyncio.to_thread(self.list.show, view)
            except NotFound:  # deleted between the two
                continue
            return {
                self.selected: view.collection,
                self.listing: document_view.collection_list(collections, view.collection),
                # The first collection stays, so that there is always one to add to.
                self.remove: gr.Button(visible=view.collection != collections[0].id),
                **documents,
            }

    # Collections ----------------------------------------------------------------------------------

    def chosen(self, request: gr.Request, selected: str) -> View:
        """What a page shows, where its browser says that it has selected `selected`."""
        return self._views.get(str(request.session_hash), View(selected))

    def _leave(self, request: gr.Request) -> None:
        self._views.pop(str(request.session_hash), None)

    async def _select(self, request: gr.Request, event: gr.SelectData) -> Updates:
        closed = {**self._closed(), self.list.delete_form: gr.Column(visible=False)}
        return {**closed, **await self._open(request, str(event.value))}

    async def _open(self, request: gr.Request, collection_id: str) -> Updates:
        return {self.list.name: "", **await self._show(request, View(collection_id))}

    async def _ask_name(self, selected: str) -> tuple[Any, ...]:
        collection = await self._named(selected)
        return (*_only(0), collection.name, collection.id)

    async def _save(self, request: gr.Request, name: str, meant: str, selected: str) -> Updates:
        try:
            if not meant:
                created = await asyncio.to_thread(self.library.create_collection, name)
                return {**self._closed(), **await self._open(request, created.id)}
            await asyncio.to_thread(self.library.rename_collection, meant, name)
        except SwapboardError as error:
            tell(error)
            return {self.selected: gr.skip()}
        return {**self._closed(), **await self._shown(self.chosen(request, selected))}

    async def _ask_removal(self, selected: str) -> tuple[Any, ...]:
        collection = await self._named(selected)
        count = f"{collection.documents} document" + ("s" if collection.documents != 1 else "")
        question = f"<p>Delete <b>{one_line(collection.name)}</b> and its {count} for everyone?</p>"
        return (*_only(1), question, collection.id)

    async def _remove(self, request: gr.Request, meant: str, selected: str) -> Updates:
        try:
            await asyncio.to_thread(self.library.delete_collection, meant)
            inform("The collection is deleted.")
        except SwapboardError as error:
            tell(error)
        return {**self._closed(), **await self._open(request, selected)}

    async def _named(self, selected: str) -> Collection:
        collections = await asyncio.to_thread(self.library.collections)
        return next((collection for collection in collections if collection.id == selected), collections[0])

    def _closed(self) -> Updates:
        return {self.form: gr.Group(visible=False), self.remove_form: gr.Group(visible=False)}

    # Documents ------------------------------------------------------------------------------------

    async def _load(self, request: gr.Request, selected: str, kept: Any) -> AsyncIterator[Updates]:
        """The library as it is, and the visitor's uploads where some are under way or just over."""
        yield await self._shown(self.chosen(request, selected))
        queue = self._queues.get(read_visitor(kept).owner)
        if queue is not None:
            async for updates in self._follow(queue, request, selected):
                yield updates

    async def _upload(
        self, request: gr.Request, files: list[str] | None, selected: str, kept: Any
    ) -> AsyncIterator[Updates]:
        if not files:
            yield {self.files: gr.skip()}
            return
        visitor = read_visitor(kept)
        self._queues = {owner: queue for owner, queue in self._queues.items() if not queue.is_over}
        queue = self._queues.setdefault(visitor.owner, UploadQueue(self.library))
        queue.add([Path(file) for file in files], selected)
        yield {self.files: None, self.browser: visitor.kept}
        async for updates in self._follow(queue, request, selected):
            yield updates

    async def _follow(self, queue: UploadQueue, request: gr.Request, selected: str) -> AsyncIterator[Updates]:
        over = 0
        async for uploads in queue.changes():
            updates: Updates = {self.outcomes: document_view.upload_list(uploads)}
            count = sum(upload.outcome is not None for upload in uploads)
            if count != over:
                over = count
                updates |= await self._shown(self.chosen(request, selected))
            yield updates

    async def _show(self, request: gr.Request, view: View) -> Updates:
        self._views[str(request.session_hash)] = view
        return await self._shown(view)

    async def _shown(self, view: View) -> Updates:
        try:
            return await self.refresh(view)
        except SwapboardError as error:
            tell(error, "The documents cannot be shown")
            return {self.selected: gr.skip()}

    # Search ---------------------------------------------------------------------------------------

    async def _search(self, query: str, scope: list[str] | None) -> AsyncIterator[str]:
        if not query.strip():
            yield result("Write a question first.", "bad")
            return
        yield result("Searching…", "busy")
        try:
            wanted = Retrieval(collections=tuple(scope or ()), top_k=10)
            yield document_view.found(await asyncio.to_thread(self.retriever.search, query, wanted))
        except SwapboardError as error:
            yield result(str(error), "bad" if isinstance(error, InvalidRequest) else "idle")


def _only(which: int | None) -> tuple[gr.Group, gr.Group]:
    """Of the two forms of a collection, the one to be seen."""
    return gr.Group(visible=which == 0), gr.Group(visible=which == 1)
