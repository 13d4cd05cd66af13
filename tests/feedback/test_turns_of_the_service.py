"""The service over the real store."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from assistant.feedback.store import Store
from assistant.messages import ChatRequest, Done, Failed, Message, TextDelta
from tests.fakes import EchoBackend, fake_service


@pytest.fixture
def store(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=0.1)
    store.migrate()
    yield store
    store.close()


def ask(conversation_id: str) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content="hello"),), conversation_id=conversation_id)


async def test_a_turn_is_kept_with_all_it_was_made_of(store, tmp_path):
    service = fake_service(tmp_path / "adapters", store=store)
    conversation = store.create_conversation("ann")
    *_, done = [event async for event in service.reply(ask(conversation.id))]
    (turn,) = store.conversation(conversation.id, "ann").turns
    assert isinstance(done, Done) and (turn.id, turn.parts, turn.state) == (done.turn_id, done.parts, "finished")
    assert turn.parts[0].decoding.seed is not None and turn.base_digest == service.backend.base_digest


async def test_a_turn_left_midway_keeps_what_was_said(store, tmp_path):
    service = fake_service(tmp_path / "adapters", EchoBackend(pace=0.001), store)
    conversation = store.create_conversation("ann")
    async with aclosing(service.reply(ask(conversation.id))) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    (turn,) = store.conversation(conversation.id, "ann").turns
    assert (turn.state, turn.text) == ("cancelled", "base:")


async def test_an_unknown_conversation_is_told_and_computes_nothing(store, tmp_path):
    service = fake_service(tmp_path / "adapters", store=store)
    events = [event async for event in service.reply(ask("nowhere"))]
    assert [(e.status, e.code, e.turn_id) for e in events] == [(404, "not_found", None)]
    assert service.backend.generated == 0


async def test_a_locked_database_is_told_before_anything_is_computed(store, tmp_path):
    service = fake_service(tmp_path / "adapters", store=store)
    conversation = store.create_conversation("ann")
    with store.database.writing():
        events = [event async for event in service.reply(ask(conversation.id))]
    assert [(e.status, e.code) for e in events] == [(503, "store_unavailable")]
    assert service.backend.generated == 0


async def test_a_conversation_deleted_while_it_is_answered_ends_in_one_failure(store, tmp_path):
    service = fake_service(tmp_path / "adapters", store=store)
    conversation = store.create_conversation("ann")
    events = []
    async for event in service.reply(ask(conversation.id)):
        if isinstance(event, TextDelta) and not any(isinstance(e, TextDelta) for e in events):
            store.delete_conversation(conversation.id, "ann")
        events.append(event)
    assert [e.code for e in events if isinstance(e, Failed | Done)] == ["not_found"]
