"""What the API answers while the database is locked or full."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from assistant.api.comparisons import comparisons_router
from assistant.api.openai import install
from assistant.api.votes import votes_router
from assistant.build import build_comparisons
from assistant.feedback.store import Store
from assistant.retrieval.library import Library
from tests.api.conftest import MAX_UPLOAD
from tests.bag_of_words import BagOfWords
from tests.databases import full, locked, ready_database
from tests.fakes import EchoBackend, fake_service
from tests.feedback.ballot_box import BallotBox

LONG = " ".join(f"word{n}" for n in range(1000))
CHAT = {"model": "base", "messages": [{"role": "user", "content": LONG}]}
COMPARED = {"question": LONG, "contestants": [{"mode": "prompt"}, {"mode": "tuned", "adapter": "mood"}]}
BATCH = {"contestants": COMPARED["contestants"], "rows": [{"question": LONG}]}
FILES = {"file": ("a.txt", LONG.encode())}

TAKES_ROOM: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/chat/completions", {"json": CHAT}),
    ("POST", "/v1/chat/completions", {"json": {**CHAT, "stream": True}}),
    ("POST", "/v1/completions", {"json": {"model": "base", "prompt": LONG}}),
    ("POST", "/v1/comparisons", {"json": COMPARED}),
    ("POST", "/v1/comparisons", {"json": {**COMPARED, "stream": True}}),
    ("POST", "/v1/comparisons/batches", {"json": BATCH}),
    ("POST", "/v1/documents", {"files": FILES}),
    ("POST", "/v1/votes", {"json": {"turn_id": "{turn}", "correction": LONG}}),
]
CHANGES: list[tuple[str, str, dict[str, Any]]] = [
    ("DELETE", "/v1/votes", {}),
    ("POST", "/v1/collections", {"json": {"name": "Boats"}}),
    ("DELETE", "/v1/documents/{document}", {}),
]


@pytest.fixture
async def client(folder, tmp_path):
    with ready_database("sqlite", tmp_path) as url:
        store = Store(url, busy_timeout=0.05)
        library = Library(store.database, BagOfWords().embed, lambda text: len(text.split()))
        service = fake_service(folder, EchoBackend(), store, library)
        service.backend.context_length = 10 * len(LONG)
        box = BallotBox(store)
        comparator, batches = build_comparisons(service, store)
        app = FastAPI()
        others = votes_router(box.votes, service.catalog), comparisons_router(comparator, batches)
        install(app, service, MAX_UPLOAD, *others)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            client.database, client.backend = store.database, service.backend
            client.ids = {"turn": box.turn("a", "b"), "document": library.add("kept.txt", b"It floats.").document.id}
            yield client
        store.close()


@pytest.mark.parametrize(
    ("trouble", "says", "method", "path", "sent"),
    [
        *((full, "database or disk is full", *request) for request in TAKES_ROOM),
        *((locked, "database is locked", *request) for request in (*TAKES_ROOM, *CHANGES)),
    ],
)
async def test_nothing_is_computed_and_the_answer_is_503_with_the_reason(client, trouble, says, method, path, sent):
    for name, id in client.ids.items():
        path = path.replace(f"{{{name}}}", id)
        if sent.get("json", {}).get(f"{name}_id"):
            sent = {"json": {**sent["json"], f"{name}_id": id}}
    with trouble(client.database):
        answer = await client.request(method, path, **sent)
    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["type"]) == ("store_unavailable", "server_error")
    assert error["message"].startswith("nothing was saved: ") and says in error["message"]
    assert client.backend.seen == []
    again = await client.request(method, path, **sent)
    assert again.is_success, again.text
