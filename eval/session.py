"""The service that users get, for the time of a measurement, with a store of its own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from assistant.build import build_service, build_store
from assistant.service import ChatService
from assistant.settings import Settings, load_settings


@asynccontextmanager
async def measured_service(settings: Settings | None = None) -> AsyncIterator[ChatService]:
    """Built, started, and stopped at the end. Its turns are forgotten: thousands have no place in the user's history.

    Raises:
        BaseModelError: the base cannot be found, loaded or served.
        SettingsError: without `settings`, where the environment's are wrong.
    """
    settings = settings or load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        store = build_store(settings.model_copy(update={"database_url": f"sqlite:///{scratch}/measured.db"}))
        try:
            service = build_service(settings, store)
            await service.start()
            try:
                yield service
            finally:
                await service.stop()
        finally:
            store.close()
