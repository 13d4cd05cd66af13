"""The Adapters tab: what there is, what is in memory, and taking adapters in and out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from assistant.catalog import README_FILE
from assistant.errors import SwapboardError, UnknownAdapter
from assistant.service import AdapterStatus, ChatService
from assistant.ui import adapter_view as view
from assistant.ui.history import Updates
from assistant.ui.pick_list import PICK
from assistant.ui.toast import inform, tell

log = logging.getLogger(__name__)

MAX_CARD = 200_000
"""Characters of a model card that are shown; a longer one is cut."""


class AdaptersTab:
    """Builds the tab inside the current Blocks and answers its events."""

    def __init__(self, service: ChatService) -> None:
        self.service = service
        # What each open page has selected last. An event that was under way when another row was clicked
        # must not bring the old one back, and the browser only knows what it sent with the event.
        self._chosen: dict[str, str] = {}

    def build(self) -> None:
        self.selected = gr.Textbox(visible=False)
        self.doomed = gr.Textbox(visible=False)
        gr.HTML(
            '<p class="sb-hint">Pick an adapter to see its card and to load, pin or delete it.</p>',
            apply_default_css=False,
        )
        self.table = gr.HTML(
            view.adapter_table(self.service.adapters(), ""),
            elem_id="adapter-table",
            apply_default_css=False,
            js_on_load=PICK,
        )
        self._build_upload()
        self._build_detail()

    def _build_detail(self) -> None:
        """A drawer: wherever in a long table the adapter was picked, it opens in sight."""
        with gr.Column(visible=False, elem_id="adapter-detail", elem_classes="sb-drawer") as self.panel:
            with gr.Row(elem_classes="sb-panel-head"):
                self.head = gr.HTML(elem_classes="sb-heading", apply_default_css=False)
                self.close = gr.Button("Close", size="sm", min_width=80, scale=0, elem_classes="sb-drawer-close")
            with gr.Row(elem_classes="sb-tools"):
                self.load = gr.Button("Load", size="sm", min_width=80)
                self.unload = gr.Button("Unload", size="sm", min_width=80)
                self.pin = gr.Button("Pin", size="sm", min_width=80)
                self.unpin = gr.Button("Unpin", size="sm", min_width=80)
                self.delete = gr.Button("Delete", size="sm", min_width=80)
            with gr.Row(visible=False, elem_classes="sb-tools", elem_id="adapter-revisions") as self.earlier:
                self.revision = gr.Dropdown([], label="Earlier revisions", elem_id="adapter-revision", min_width=220)
                self.revert = gr.Button("Go back", size="sm", min_width=80)
            with gr.Group(visible=False, elem_id="adapter-delete-form") as self.delete_form:
                self.question = gr.HTML(elem_classes="sb-question", apply_default_css=False)
                with gr.Row(elem_classes="sb-tools"):
                    self.really_delete = gr.Button("Delete it", variant="stop", size="sm", min_width=80)
                    self.keep = gr.Button("Keep it", size="sm", min_width=80)
            # Under the buttons it tells of, and above all that may be long.
            self.note = gr.HTML(elem_id="adapter-note", apply_default_css=False)
            self.details = gr.HTML(apply_default_css=False)
            self.card = gr.Markdown(sanitize_html=True, elem_id="model-card")

    def _build_upload(self) -> None:
        with gr.Column(elem_id="adapter-upload"):
            gr.HTML("<h3>Add an adapter</h3>", elem_classes="sb-heading", apply_default_css=False)
            with gr.Row():
                self.file = gr.File(
                    label="A zip of a PEFT folder",
                    file_types=[".zip"],
                    height=140,
                    min_width=280,
                    elem_id="adapter-file",
                )
                with gr.Column(min_width=280):
                    self.name = gr.Textbox(
                        label="Name",
                        placeholder="the name of the file",
                        info="An existing name becomes a new revision of that adapter.",
                        max_lines=1,
                        elem_id="adapter-name",
                    )
                    self.upload = gr.Button("Add adapter", variant="primary", elem_id="add-adapter")
            self.outcome = gr.HTML(elem_id="upload-outcome", apply_default_css=False)

    def connect(self, page: gr.Blocks) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        shown = self.outputs
        self.table.select(self._select, None, shown, **quiet)
        self.close.click(self._close, None, shown, **quiet)
        actions = (
            (self.load, "Loading", "loaded", self.service.load_adapter),
            (self.unload, "Unloading", "unloaded", self.service.unload_adapter),
            (self.pin, "Pinning", "pinned: it stays in memory", lambda name: self.service.pin_adapter(name, True)),
            (self.unpin, "Unpinning", "unpinned", lambda name: self.service.pin_adapter(name, False)),
        )
        for button, doing, done, act in actions:
            button.click(self._action(doing, done, act), self.selected, shown, **quiet)
        self.revert.click(self._go_back, [self.selected, self.revision], shown, **quiet)
        self.delete.click(self._ask, self.selected, [self.delete_form, self.question, self.doomed], **quiet)
        delete = self._action("Deleting", "deleted", self.service.delete_adapter)
        self.really_delete.click(delete, self.doomed, shown, **quiet)
        self.keep.click(lambda: gr.Group(visible=False), None, self.delete_form, **quiet)
        self.upload.click(
            self._upload, [self.file, self.name], [*shown, self.file, self.name, self.upload, self.outcome], **quiet
        )
        page.unload(self._leave)

    @property
    def outputs(self) -> list[Any]:
        buttons = [self.load, self.unload, self.pin, self.unpin]
        shown = [self.selected, self.table, self.note, self.panel, self.head, self.details, self.card]
        return [*shown, *buttons, self.delete_form, self.earlier, self.revision]

    def refresh(self, statuses: list[AdapterStatus], selected: str) -> Updates:
        """The table and, where an adapter is selected, what is known of it now; the card is left as it is."""
        chosen = next((status for status in statuses if status.adapter.name == selected), None)
        updates: Updates = {
            self.table: view.adapter_table(statuses, selected if chosen else ""),
            self.selected: selected if chosen else "",
            self.panel: gr.Column(visible=chosen is not None),
        }
        if chosen is None:
            return updates
        is_resident, is_usable = chosen.residency is not None, chosen.adapter.is_usable
        is_pinned = chosen.residency is not None and chosen.residency.pinned
        return {
            **updates,
            self.head: view.adapter_heading(chosen),
            self.details: view.adapter_details(chosen),
            self.load: gr.Button(visible=is_usable and not is_resident),
            self.unload: gr.Button(visible=is_resident),
            self.pin: gr.Button(visible=is_usable and not is_pinned),
            self.unpin: gr.Button(visible=is_pinned),
        }

    # Events ---------------------------------------------------------------------------------------

    def chosen(self, request: gr.Request, selected: str) -> str:
        """What a page has selected, where its browser says `selected`."""
        return self._chosen.get(str(request.session_hash), selected)

    def _leave(self, request: gr.Request) -> None:
        self._chosen.pop(str(request.session_hash), None)

    async def _select(self, request: gr.Request, event: gr.SelectData) -> Updates:
        name = str(event.value)
        self._chosen[str(request.session_hash)] = name
        return {self.note: "", **await self._show(name)}

    async def _close(self, request: gr.Request) -> Updates:
        self._chosen[str(request.session_hash)] = ""
        return self.refresh(await asyncio.to_thread(self.service.adapters), "")

    async def _show(self, name: str) -> Updates:
        statuses = await asyncio.to_thread(self.service.adapters)
        updates = {**self.refresh(statuses, name), self.delete_form: gr.Group(visible=False)}
        chosen = next((status.adapter for status in statuses if status.adapter.name == name), None)
        if chosen is not None:
            readme = await asyncio.to_thread(read_readme, chosen.folder)
            updates[self.card] = view.model_card(chosen, readme)
            kept = view.revision_choices(await self.service.revisions(name))
            updates[self.earlier] = gr.Row(visible=bool(kept))
            updates[self.revision] = gr.Dropdown(kept, value=kept[0][1] if kept else None)
        return updates

    def _action(
        self, doing: str, done: str, act: Callable[[str], Awaitable[None]]
    ) -> Callable[[gr.Request, str], AsyncIterator[Updates]]:
        """An event handler that does something to the selected adapter and tells what came of it."""

        async def run(request: gr.Request, name: str) -> AsyncIterator[Updates]:
            yield {self.note: view.result(f"{doing} {name}…", "busy"), self.delete_form: gr.Group(visible=False)}
            try:
                if not name:
                    raise UnknownAdapter("pick an adapter in the table first")
                await act(name)
                told, kind = f"{name} is {done}", "good"
            except SwapboardError as error:
                told, kind = str(error), "bad"
            updates = await self._show(self.chosen(request, name))
            if not updates[self.selected]:  # the drawer goes with its adapter, and the note with the drawer
                (inform if kind == "good" else tell)(told)
            yield {**updates, self.note: view.result(told, kind)}

        return run

    async def _go_back(self, request: gr.Request, name: str, digest: str | None) -> AsyncIterator[Updates]:
        async def back(name: str) -> None:
            await self.service.revert_adapter(name, digest)

        async for updates in self._action("Going back with", f"what it was, {str(digest)[:12]}", back)(request, name):
            yield updates

    def _ask(self, name: str) -> tuple[Any, str, str]:
        question = f"<p>Delete <b>{view.one_line(name)}</b> and its files for good?</p>"
        return gr.Group(visible=True), question, name

    async def _upload(self, request: gr.Request, file: str | None, name: str) -> AsyncIterator[Updates]:
        if not file:
            yield {self.outcome: view.result("Choose a zip file first.", "bad")}
            return
        yield {
            self.outcome: view.result(f"Checking {Path(file).name}…", "busy"),
            self.upload: gr.Button(interactive=False),
        }
        try:
            adapter = await self.service.upload_adapter(Path(file), name.strip() or None)
            self._chosen[str(request.session_hash)] = adapter.name
            outcome = view.result(f"{adapter.name} is in the catalogue", "good")
            # The drawer, which opens with the new adapter, may lie over the form.
            updates = {**await self._show(adapter.name), self.note: outcome, self.outcome: outcome, self.name: ""}
        except SwapboardError as error:
            updates = {self.outcome: view.result(f"Refused: {error}", "bad")}
        except Exception as error:  # the button has to come back
            log.exception("an adapter could not be added after an unexpected error")
            updates = {self.outcome: view.result(f"Unexpected error: {type(error).__name__}", "bad")}
        yield {**updates, self.upload: gr.Button(interactive=True), self.file: None}


def read_readme(folder: Path) -> str | None:
    """The beginning of the model card; None where there is none that can be read."""
    try:
        with (folder / README_FILE).open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_CARD)
    except OSError:
        return None
