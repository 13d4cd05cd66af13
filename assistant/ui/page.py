"""The whole page: a bar with the state of the base model, and one tab for each thing to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from assistant.comparison.batch import Batches
from assistant.errors import StoreUnavailable
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from assistant.messages import AUTO
from assistant.service import AdapterStatus, ChatService
from assistant.ui import render
from assistant.ui.adapters import AdaptersTab
from assistant.ui.chat import ChatTab
from assistant.ui.compare import CompareTab
from assistant.ui.controls import offer_collections
from assistant.ui.documents import DocumentsTab
from assistant.ui.history import Updates
from assistant.ui.preferences import PreferencesTab
from assistant.ui.reader import Reader
from assistant.ui.theme import CSS, HEAD, page_theme

TICK = 2.0
"""Seconds between two looks at the state of the model and the catalogue."""

UPLOAD_AGE = 3600
"""Seconds after which uploaded files are removed from the page's own folder."""


def build_page(service: ChatService, store: Store, batches: Batches) -> gr.Blocks:
    """The page over one service and one store. It holds no state of its own beside the answers under way."""
    chat, adapters = ChatTab(service, store), AdaptersTab(service)
    compare = CompareTab(batches, VoteStore(store.database))
    preferences = PreferencesTab(VoteStore(store.database), service.catalog)
    documents, reader = DocumentsTab(service.library, service.retriever), Reader(service.library)
    with gr.Blocks(
        title="Swapboard", analytics_enabled=False, fill_width=True, delete_cache=(UPLOAD_AGE, UPLOAD_AGE)
    ) as page:
        with gr.Row(elem_id="top-bar"):
            gr.HTML("<h1>Swapboard</h1>", elem_id="brand", apply_default_css=False)
            status = gr.HTML(
                render.status_line(service.is_ready, service.has_failed, service.backend.base_name),
                elem_id="status",
                apply_default_css=False,
            )
        compare.build_memory()
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", id="chat"):
                chat.build()
            with gr.Tab("Compare", id="compare") as compare_tab:
                compare.build()
            with gr.Tab("Preferences", id="preferences") as preferences_tab:
                preferences.build()
            with gr.Tab("Documents", id="documents"):
                documents.build()
            with gr.Tab("Adapters", id="adapters"):
                adapters.build()
        reader.build()
        seen = gr.State()
        timer = gr.Timer(TICK)

        async def look(request: gr.Request, last: Any, picked: str, selected: str) -> Updates:
            statuses = await asyncio.to_thread(service.adapters)
            now = (service.is_ready, service.has_failed, statuses, [_offered(status) for status in statuses])
            if now == last:
                return {seen: gr.skip()}
            updates: Updates = {
                seen: now,
                status: render.status_line(service.is_ready, service.has_failed, service.backend.base_name),
                **adapters.refresh(statuses, adapters.chosen(request, selected)),
            }
            if last is None or now[-1] != last[-1]:
                choices = render.adapter_choices(statuses)
                is_gone = picked not in {value for _, value in choices}
                # The value is left alone where it can be: another may have been picked since this was asked.
                offer = gr.Dropdown(choices=choices, value=AUTO) if is_gone else gr.Dropdown(choices=choices)
                updates[chat.parts.picker] = offer
                updates[chat.parts.chatbot] = gr.Chatbot(examples=render.examples(statuses))
            return updates

        timer.tick(
            look,
            [seen, chat.parts.picker, adapters.selected],
            [seen, status, chat.parts.picker, chat.parts.chatbot, *adapters.outputs],
            show_progress="hidden",
            api_visibility="private",
        )
        library_seen = gr.State()

        async def look_at_library(request: gr.Request, last: Any, selected: str, *picked: list[str] | None) -> Updates:
            """The documents are everyone's: what another does with them is seen here, too."""
            try:
                now = await asyncio.to_thread(documents.snapshot)
                if now == last:
                    return {library_seen: gr.skip()}
                updates = {library_seen: now, **await documents.refresh(documents.chosen(request, selected))}
            except StoreUnavailable:  # the next look will tell
                return {library_seen: gr.skip()}
            for picker, ids in zip(pickers, picked, strict=True):
                updates[picker] = offer_collections(now[1], ids)
            return updates

        pickers = [chat.parts.retrieval.collections, documents.scope, compare.setup.collections]
        timer.tick(
            look_at_library,
            [library_seen, documents.selected, *pickers],
            [library_seen, *documents.outputs, *pickers],
            show_progress="hidden",
            api_visibility="private",
        )
        chat.connect(page)
        documents.connect(page, chat.parts.browser)
        reader.connect()
        adapters.connect(page)
        compare.connect(page, compare_tab, chat.parts.browser)
        preferences.connect(preferences_tab, chat.parts.browser)
    page.queue(default_concurrency_limit=None)
    return page


def mount_page(app: FastAPI, service: ChatService, store: Store, batches: Batches, max_upload_bytes: int) -> FastAPI:
    """Serve the page at the root of `app`. Nothing on disk is opened to the browser, and nothing is sent elsewhere."""
    return gr.mount_gradio_app(
        app,
        build_page(service, store, batches),
        path="/",
        max_file_size=max_upload_bytes,
        theme=page_theme(),
        css=CSS,
        head=HEAD,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        favicon_path=str(Path(__file__).with_name("favicon.png")),
    )


def _offered(status: AdapterStatus) -> tuple[Any, ...]:
    """What the picker and the examples depend on."""
    return (status.adapter.name, status.adapter.digest, status.adapter.error, status.adapter.card)
