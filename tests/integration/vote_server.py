"""A server that takes votes, over a fake backend and a real database, as a process that can be killed.

python -m tests.integration.vote_server URL PORT FOLDER
"""

from __future__ import annotations

from pathlib import Path

import uvicorn
from fastapi import FastAPI

from assistant.api.openai import install
from assistant.api.votes import votes_router
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from tests.fakes import fake_service


def main(url: str, port: int, folder: Path) -> None:
    """Serve until killed; `folder` is that of the adapters."""
    store = Store(url)
    store.migrate()
    store.recover()
    service = fake_service(folder, store=store)
    app = FastAPI()
    install(app, service, 1, votes_router(VoteStore(store.database), service.catalog))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
