"""The composition root: settings → store and service → API and page, in one process on one port."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from assistant.api.comparisons import comparisons_router
from assistant.api.openai import install
from assistant.api.votes import votes_router
from assistant.build import build_comparisons, build_service, build_store
from assistant.errors import SwapboardError
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from assistant.service import ChatService
from assistant.settings import Settings, load_settings
from assistant.ui.page import mount_page
from assistant.ui.uploads import allow_open_files


def build_app(settings: Settings, service: ChatService, store: Store) -> FastAPI:
    """The API at /v1 and the page at /; the service runs while the app does."""

    comparator, batches = build_comparisons(service, store)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        threading.Thread(target=warm_up, args=(service,), daemon=True).start()
        await batches.start()
        yield
        await batches.stop()
        await service.stop()
        store.close()

    app = FastAPI(title="Swapboard", lifespan=lifespan)
    votes = votes_router(VoteStore(store.database), service.catalog)
    install(app, service, settings.max_upload_bytes, comparisons_router(comparator, batches), votes)
    return mount_page(app, service, store, batches, settings.max_upload_bytes)


def warm_up(service: ChatService) -> None:
    """What takes seconds, before the first message needs it: the embedder for Auto, the index for the documents."""
    service.router.route("hello")
    service.retriever.refresh()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    allow_open_files()
    try:
        settings = load_settings()
        store = build_store(settings)
        service = build_service(settings, store)
    except SwapboardError as error:
        sys.exit(f"Swapboard cannot start: {error}")
    app = build_app(settings, service, store)
    print(f"Swapboard is ready at http://{settings.host}:{settings.port}", flush=True)
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
