"""The composition root: settings → store and service → API and page, in one process on one port."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import FastAPI

from assistant.api.comparisons import comparisons_router
from assistant.api.openai import install
from assistant.api.votes import votes_router
from assistant.build import build_comparisons, build_service, build_store
from assistant.errors import SettingsError, SwapboardError
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


def listen(host: str, port: int) -> list[socket.socket]:
    """The port, taken on every address of the host. Who connects before the server runs waits for it.

    Raises:
        SettingsError: the host is no address of this machine, or the port cannot be had.
    """
    sockets: list[socket.socket] = []
    failed: list[OSError] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"SWAPBOARD_HOST={host!r}: {error}; allowed: a name or address of this machine") from error
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
        try:
            sockets.append(socket.create_server(address, family=family))
        except OSError as error:
            failed.append(error)
    # A machine without IPv6 may well have it as an address of localhost.
    missing = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    errors = [error for error in failed if error.errno not in missing]
    if sockets and not errors:
        return sockets
    for taken in sockets:
        taken.close()
    if errors:
        why, allowed = errors[0].strerror, "a port from 1 to 65535 that no other program uses and that you may open"
        raise SettingsError(f"SWAPBOARD_PORT={port}: {why}; allowed: {allowed}") from errors[0]
    raise SettingsError(
        f"SWAPBOARD_HOST={host!r}: {failed[0].strerror}; allowed: a name or address of this machine"
    ) from failed[0]


class Server(uvicorn.Server):
    """Says so when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"Swapboard is ready at http://{self.config.host}:{self.config.port}", flush=True)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    allow_open_files()
    try:
        settings = load_settings()
        sockets = listen(settings.host, settings.port)
        store = build_store(settings)
        service = build_service(settings, store)
    except SwapboardError as error:
        sys.exit(f"Swapboard cannot start: {error}")
    app = build_app(settings, service, store)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", timeout_graceful_shutdown=5
    )
    with suppress(KeyboardInterrupt):
        Server(config).run(sockets)


if __name__ == "__main__":
    main()
