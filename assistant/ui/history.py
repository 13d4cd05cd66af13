"""The list of conversations beside the chat: open, new, rename, delete, export."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from assistant.errors import SwapboardError
from assistant.feedback.store import Store
from assistant.feedback.transcript import Format
from assistant.ui import render
from assistant.ui.pick_list import PICK
from assistant.ui.toast import inform, tell
from assistant.ui.visitor import Visitor, read_visitor

Updates = dict[Any, Any]
Opens = Callable[[Visitor, gr.Request], AsyncIterator[Updates]]

SAVE_FILE = """(document) => {
    if (!document) return document;
    const link = window.document.createElement('a');
    link.href = URL.createObjectURL(new Blob([document.text], {type: document.type}));
    link.download = document.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    return null;
}"""
"""An export is made into a file by the browser, so that none is left in a cache that others could read."""

SUFFIXES: dict[Format, tuple[str, str]] = {"json": (".json", "application/json"), "markdown": (".md", "text/markdown")}


class History:
    """The sidebar. `refresh` gives the updates that show a visitor's conversations."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def build(self) -> None:
        self.new = gr.Button("New conversation", variant="primary", size="md", elem_id="new-conversation")
        self.listing = gr.HTML(elem_id="conversations", apply_default_css=False, js_on_load=PICK)
        with gr.Row(elem_id="conversation-tools", elem_classes="sb-tools", visible=False) as self.tools:
            self.rename = gr.Button("Rename", size="sm", min_width=60)
            self.delete = gr.Button("Delete", size="sm", min_width=60)
            self.as_markdown = gr.Button("Save as Markdown", size="sm", min_width=60)
            self.as_json = gr.Button("Save as JSON", size="sm", min_width=60)
        with gr.Group(visible=False, elem_id="rename-form") as self.rename_form:
            self.title = gr.Textbox(label="New title", max_length=120, elem_id="rename-title")
            with gr.Row(elem_classes="sb-tools"):
                self.save_title = gr.Button("Save", variant="primary", size="sm", min_width=60)
                self.keep_title = gr.Button("Cancel", size="sm", min_width=60)
        with gr.Group(visible=False, elem_id="delete-form") as self.delete_form:
            gr.HTML("<p>Delete this conversation for good?</p>", elem_classes="sb-question", apply_default_css=False)
            with gr.Row(elem_classes="sb-tools"):
                self.really_delete = gr.Button("Delete it", variant="stop", size="sm", min_width=60)
                self.keep = gr.Button("Keep it", size="sm", min_width=60)
        self.document = gr.JSON(visible=False)

    def connect(
        self, browser: gr.BrowserState, outputs: list[Any], opens: Opens, stops: Callable[[str], Awaitable[None]]
    ) -> None:
        """Wire the events; `opens` shows a conversation, `stops` ends its answer."""
        shown = [*outputs, self.rename_form, self.delete_form]
        closed = {self.rename_form: gr.Group(visible=False), self.delete_form: gr.Group(visible=False)}

        async def open_picked(kept: Any, request: gr.Request, event: gr.SelectData) -> AsyncIterator[Updates]:
            yield closed
            async for updates in opens(replace(read_visitor(kept), conversation=str(event.value)), request):
                yield updates

        async def begin_new(kept: Any, request: gr.Request) -> AsyncIterator[Updates]:
            yield closed
            async for updates in opens(replace(read_visitor(kept), conversation=""), request):
                yield updates

        async def ask_title(kept: Any) -> Updates:
            visitor = read_visitor(kept)
            try:
                conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
            except SwapboardError as error:
                tell(error)
                return closed
            return {**closed, self.title: conversation.title, self.rename_form: gr.Group(visible=True)}

        async def save_title(kept: Any, title: str) -> Updates:
            visitor = read_visitor(kept)
            if not title.strip():
                tell("A title needs at least one letter.")
                return {self.title: gr.skip()}
            try:
                await asyncio.to_thread(self.store.rename_conversation, visitor.conversation, visitor.owner, title)
                return {**closed, **await self.refresh(visitor)}
            except SwapboardError as error:
                tell(error)
                return {self.title: gr.skip()}

        async def delete(kept: Any, request: gr.Request) -> AsyncIterator[Updates]:
            visitor = read_visitor(kept)
            try:
                await stops(visitor.conversation)
                await asyncio.to_thread(self.store.delete_conversation, visitor.conversation, visitor.owner)
            except SwapboardError as error:
                tell(error)
                yield closed
                return
            inform("The conversation is deleted.")
            yield closed
            async for updates in opens(replace(visitor, conversation=""), request):
                yield updates

        async def export(kept: Any, format: Format) -> dict[str, str] | None:
            visitor = read_visitor(kept)
            try:
                conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
                text = await asyncio.to_thread(
                    self.store.export_conversation, visitor.conversation, visitor.owner, format
                )
            except SwapboardError as error:
                tell(error)
                return None
            suffix, kind = SUFFIXES[format]
            return {"name": file_name(conversation.title) + suffix, "type": kind, "text": text}

        async def export_json(kept: Any) -> dict[str, str] | None:
            return await export(kept, "json")

        async def export_markdown(kept: Any) -> dict[str, str] | None:
            return await export(kept, "markdown")

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.listing.select(open_picked, browser, shown, **quiet)
        self.new.click(begin_new, browser, shown, **quiet)
        self.rename.click(ask_title, browser, [self.title, self.rename_form, self.delete_form], **quiet)
        for event in (self.save_title.click, self.title.submit):
            event(save_title, [browser, self.title], [*shown, self.title], **quiet)
        forms = [self.rename_form, self.delete_form]
        for event in (self.keep_title.click, self.keep.click):
            event(lambda: (gr.Group(visible=False), gr.Group(visible=False)), None, forms, **quiet)
        self.delete.click(lambda: (gr.Group(visible=False), gr.Group(visible=True)), None, forms, **quiet)
        self.really_delete.click(delete, browser, shown, **quiet)
        for button, make in ((self.as_json, export_json), (self.as_markdown, export_markdown)):
            button.click(make, browser, self.document, **quiet).then(
                None, self.document, self.document, js=SAVE_FILE, **quiet
            )

    async def refresh(self, visitor: Visitor) -> Updates:
        """Raises StoreUnavailable."""
        conversations = await asyncio.to_thread(self.store.conversations, visitor.owner)
        return {
            self.listing: render.conversation_list(conversations, visitor.conversation),
            self.tools: gr.Row(visible=bool(visitor.conversation)),
        }


def file_name(title: str) -> str:
    """A title as a file name that any system takes."""
    return re.sub(r"[^\w-]+", "-", title).strip("-")[:60] or "conversation"
