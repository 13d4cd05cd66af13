"""Answers that live longer than the page that asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from assistant.errors import InvalidRequest
from assistant.messages import ChatRequest, Message, StreamEvent
from assistant.service import ChatService
from assistant.ui.exchange import Exchange
from assistant.ui.live import LiveReplies, Views
from tests.fakes import EchoBackend, MemoryStore, fake_service

QUESTION = ChatRequest(messages=(Message(role="user", content="hello"),))


def slow_service(folder: Path, store: MemoryStore | None = None) -> ChatService:
    service = fake_service(folder, EchoBackend(words=1000, pace=0.001), store)
    service.is_ready = True
    return service


async def until(found, changes: AsyncIterator[Exchange]) -> Exchange:
    async for exchange in changes:
        if found(exchange):
            return exchange
    raise AssertionError("the answer ended before that")


async def test_stop_ends_the_computing_and_keeps_what_was_written(tmp_path):
    store = MemoryStore()
    service = slow_service(tmp_path, store)
    reply = LiveReplies(service).start("c", QUESTION, "me")
    await until(lambda exchange: exchange.text, reply.changes())
    await asyncio.gather(reply.stop(), reply.stop())
    computed = service.backend.generated
    assert service.backend.running == 0 and 0 < computed < 1000
    await asyncio.sleep(0.03)
    assert service.backend.generated == computed
    assert reply.exchange.state == "stopped" and store.turns["turn-0"]["parts"][0].text == reply.exchange.text


async def test_an_answer_goes_on_when_nobody_looks_and_can_be_followed_again(tmp_path):
    service = fake_service(tmp_path, EchoBackend(words=30, pace=0.005))
    service.is_ready = True
    live = LiveReplies(service)
    live.start("c", QUESTION, "me")
    changes = live.find("c").changes()
    await until(lambda exchange: exchange.text, changes)
    await changes.aclose()
    last = await until(lambda exchange: exchange.is_over, live.find("c").changes())
    assert last.state == "finished" and last.text.endswith("word29")
    assert live.find("c") is None


async def test_a_conversation_is_answered_once_at_a_time_and_others_beside_it(tmp_path):
    live = LiveReplies(slow_service(tmp_path))
    first, second = live.start("a", QUESTION, "me"), live.start("b", QUESTION, "me")
    with pytest.raises(InvalidRequest, match="being answered"):
        live.start("a", QUESTION, "me")
    for reply in (first, second):
        await until(lambda exchange: exchange.text, reply.changes())
    await first.stop()
    await second.stop()
    again = live.start("a", QUESTION, "me")
    await again.stop()


async def test_a_question_waits_for_the_base_model(tmp_path):
    service = fake_service(tmp_path)
    reply = LiveReplies(service).start("c", QUESTION, "me")
    changes = reply.changes()
    assert (await anext(changes)).state == "waiting" and not service.backend.seen
    service.is_ready = True
    assert (await until(lambda exchange: exchange.is_over, changes)).state == "finished"


async def test_an_unexpected_error_is_told_and_not_only_logged(tmp_path, monkeypatch):
    async def broken(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        raise ZeroDivisionError("secret detail")
        yield

    service = slow_service(tmp_path)
    monkeypatch.setattr(service, "reply", broken)
    last = await until(lambda exchange: exchange.is_over, LiveReplies(service).start("c", QUESTION, "me").changes())
    assert (last.state, last.error) == ("failed", "unexpected error: ZeroDivisionError")


def test_the_last_to_take_a_page_holds_it():
    views = Views()
    first, other = views.take("session"), views.take("another session")
    assert first() and other()
    second = views.take("session")
    assert second() and not first() and other()
    views.drop("session")
    assert not second()
