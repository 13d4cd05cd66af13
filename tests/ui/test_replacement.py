"""A question that is edited or asked again: what it replaces goes once it has an answer, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from assistant.errors import InvalidRequest, QueueFull, StoreUnavailable
from assistant.feedback.store import Store
from assistant.messages import AUTO, ChatRequest, Message
from assistant.ui.chat import ChatTab
from assistant.ui.exchange import Exchange
from assistant.ui.history import Updates
from assistant.ui.live import LiveReplies, LiveReply
from assistant.ui.replacement import make_room
from assistant.ui.visitor import Visitor
from tests.databases import ready_database
from tests.fake_library import word_library
from tests.fakes import EchoBackend, fake_service

ASKED = ("one", "two", "three")
REQUEST: Any = SimpleNamespace(session_hash="s")


class Chat:
    """A conversation of three answered turns, and what the Chat tab does with it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.service = fake_service(folder, EchoBackend(words=2), store)
        self.service.is_ready = True
        self.live = LiveReplies(self.service)
        self.visitor = Visitor("ann", store.create_conversation("ann").id)

    async def ask(self, text: str | None, place: int | None = None) -> LiveReply:
        shown = None if place is None else self.turn_ids[place:]
        conversation, question, replaced = make_room(self.store, self.visitor, text, shown)
        request = ChatRequest(
            messages=(*conversation.messages, Message(role="user", content=question)),
            conversation_id=conversation.id,
            turn_id=replaced.turn_id if replaced else None,
        )
        return self.live.start(conversation.id, request, "ann", replaced)

    async def end(self, text: str | None, place: int | None = None) -> LiveReply:
        reply = await self.ask(text, place)
        await until(reply, lambda exchange: exchange.is_over)
        return reply

    @property
    def turn_ids(self) -> list[str]:
        return [turn.id for turn in self.store.conversation(self.visitor.conversation, "ann").turns]

    @property
    def shown(self) -> list[str]:
        turns = self.store.conversation(self.visitor.conversation, "ann").turns
        assert [turn.position for turn in turns] == list(range(len(turns)))
        return [turn.user_text for turn in turns]


def tab_over(chat: Chat) -> ChatTab:
    chat.service.library = word_library(chat.store.database)
    with gr.Blocks():
        tab = ChatTab(chat.service, chat.store)
        tab.build()
    return tab


def settings_of(tab: ChatTab) -> list[object]:
    return [AUTO, "", False, [], 5, *[""] * len(tab.parts.controls)]


async def until(reply: LiveReply, found) -> Exchange:
    async for exchange in reply.changes():
        if found(exchange):
            return exchange
    raise AssertionError("the answer ended before that")


@pytest.fixture
async def chat(tmp_path: Path) -> Iterator[Chat]:
    with ready_database("sqlite", tmp_path) as url:
        store = Store(url, busy_timeout=1)
        chat = Chat(store, tmp_path)
        for text in ASKED:
            await chat.end(text)
        yield chat
        store.close()


@pytest.mark.parametrize("text", ["two!", None])
async def test_an_answered_question_takes_the_place_of_what_it_replaces(chat, text):
    reply = await chat.end(text, 1)
    assert chat.shown == ["one", text or "two"] and not reply.replaced.is_withdrawn
    await chat.end("four")
    assert chat.shown == ["one", text or "two", "four"]


@pytest.mark.parametrize("text", ["two!", None])
async def test_a_refused_question_leaves_the_conversation_as_it_was(chat, text):
    chat.service.backend.error = QueueFull("64 requests wait already", 2)
    reply = await chat.end(text, 1)
    assert reply.exchange.code == "queue_full" and reply.replaced.is_withdrawn
    assert chat.shown == list(ASKED)
    chat.service.backend.error = None
    await chat.end(text, 1)
    assert chat.shown == ["one", text or "two"]


async def test_a_question_that_is_stopped_before_its_first_word_leaves_the_conversation_as_it_was(chat):
    chat.service.backend.pace = 10
    reply = await chat.ask("two!", 1)
    await until(reply, lambda exchange: exchange.state == "writing")
    assert chat.shown == [*ASKED, "two!"], "until then a crash loses nothing"
    await reply.stop()
    assert reply.exchange.state == "stopped" and chat.shown == list(ASKED)


async def test_an_answer_that_is_stopped_midway_stays(chat):
    chat.service.backend.words, chat.service.backend.pace = 1000, 0.001
    reply = await chat.ask("two!", 1)
    await until(reply, lambda exchange: exchange.text)
    assert chat.shown == ["one", "two!"]
    await reply.stop()
    assert chat.shown == ["one", "two!"]


async def test_a_database_that_refuses_at_the_first_word_is_asked_again_at_the_end(chat, monkeypatch):
    asked, honest = [], chat.store.replace_turns

    def refuses_once(*where: object) -> None:
        asked.append(where)
        if len(asked) == 1:
            raise StoreUnavailable("nothing was saved: database is locked")
        honest(*where)

    monkeypatch.setattr(chat.store, "replace_turns", refuses_once)
    chat.service.backend.words = 20
    reply = await chat.end("two!", 1)
    assert reply.exchange.state == "finished" and len(asked) == 2 and chat.shown == ["one", "two!"]


async def test_a_question_that_could_not_be_kept_ends_and_changes_nothing(chat, monkeypatch):
    def refuse(*_: object) -> str:
        raise StoreUnavailable("nothing was saved: database is locked")

    monkeypatch.setattr(chat.store, "begin_turn", refuse)
    reply = await chat.end("two!", 1)
    assert reply.exchange.code == "store_unavailable" and chat.shown == list(ASKED)


@pytest.mark.parametrize(("text", "returned"), [("two!", "two!"), (None, "")])
async def test_the_page_shows_a_refused_question_while_it_waits_and_then_what_was_there(
    chat, monkeypatch, text, returned
):
    """What was typed goes back to the box; what was only asked again is still in the conversation."""
    told, shown = [], []
    monkeypatch.setattr("assistant.ui.chat.tell", lambda *words: told.append(words))
    tab = tab_over(chat)
    chat.service.backend.error = QueueFull("64 requests wait already", 2)
    settings = settings_of(tab)
    kept: Updates = {}
    async for updates in tab._ask(chat.visitor, text, settings, REQUEST, chat.turn_ids[1:]):
        kept |= updates
        if tab.parts.chatbot in updates:
            value = updates[tab.parts.chatbot]
            shown.append([one["content"] for one in getattr(value, "value", value) if one["role"] == "user"])
    assert len(shown[0]) == 2 and len(shown[-1]) == 3, "without and with what comes after it"
    assert kept[tab.parts.returned] == returned and "64 requests" in str(told)


async def test_what_got_no_answer_is_replaced_at_once(chat):
    chat.service.backend.error = QueueFull("64 requests wait already", 2)
    for text, place in (("four", None), ("four!", None), ("four?", 3)):
        reply = await chat.end(text, place)
        assert reply.replaced is None and chat.shown == [*ASKED, text]


@pytest.mark.parametrize("elsewhere", ["edited", "asked", "undone"])
async def test_a_tab_that_is_behind_changes_nothing_that_it_does_not_show(chat, monkeypatch, elsewhere):
    """Another tab has edited the second question, or asked a fourth, or taken the last two back."""
    told: list[str] = []
    monkeypatch.setattr("assistant.ui.chat.tell", lambda error, *words: told.append(str(error)))
    tab, turn_ids = tab_over(chat), chat.turn_ids
    if elsewhere == "undone":
        chat.store.remove_turns_from(chat.visitor.conversation, "ann", 1)
    else:
        await chat.end(*{"edited": ("two!", 1), "asked": ("four",)}[elsewhere])
    there = chat.shown
    kept, settings, second = chat.visitor.kept, settings_of(tab), SimpleNamespace(index=2, value="two?")
    last = SimpleNamespace(index=(5, 0))
    for updates in (
        tab._retry(REQUEST, last, kept, turn_ids, *settings),
        tab._edit(REQUEST, second, kept, turn_ids, *settings),
        tab._undo(kept, turn_ids, last),
    ):
        assert [tab.parts.chatbot in one for one in [made async for made in updates]] == [False]
    assert chat.shown == there and told == ["this conversation has changed meanwhile; reload the page"] * 3
    await tab._like(kept, turn_ids, SimpleNamespace(index=(5, 0), liked=False))
    assert (await tab._show_thumbs(kept, turn_ids))[tab.parts.chatbot] == gr.skip()
    turns = chat.store.conversation(chat.visitor.conversation, "ann").turns
    rated = [turn.user_text for turn in turns if turn.liked is False]
    assert rated == (["three"] if elsewhere == "asked" else []) and len(told) == (3 if rated else 4)


async def test_the_page_knows_the_turns_that_it_shows(chat):
    tab = tab_over(chat)
    kept: Updates = {}
    async for updates in tab._ask(chat.visitor, "four", settings_of(tab), REQUEST):
        kept |= updates
        if tab.parts.chatbot in updates:
            value = updates[tab.parts.chatbot]
            assert len(getattr(value, "value", value)) == 2 * len(updates[tab.parts.turn_ids])
    assert kept[tab.parts.turn_ids] == chat.turn_ids and len(chat.turn_ids) == 4


async def test_an_exchange_that_could_not_be_kept_is_neither_asked_again_nor_in_the_way(chat):
    shown = [*chat.turn_ids, None]
    with pytest.raises(InvalidRequest, match="reload the page"):
        make_room(chat.store, chat.visitor, None, shown[3:])
    assert make_room(chat.store, chat.visitor, None, shown[1:])[1] == "two"
