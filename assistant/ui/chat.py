"""The Chat tab: ask, watch the answer come, stop it, try again; every answer says who wrote it and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from assistant.errors import InvalidRequest, NotFound, NothingRelevant, StoreUnavailable, SwapboardError
from assistant.feedback.store import Store
from assistant.feedback.votes import Rating, VoteStore
from assistant.messages import AUTO, ChatRequest, Message, Retrieval
from assistant.service import ChatService
from assistant.ui import render
from assistant.ui.chat_parts import ChatParts
from assistant.ui.contestants import judges
from assistant.ui.controls import placeholders, read_controls, read_retrieval
from assistant.ui.exchange import Exchange, from_turn
from assistant.ui.history import History, Updates
from assistant.ui.live import LiveReplies, LiveReply, Views
from assistant.ui.presence import Presence
from assistant.ui.rating_panel import RatingPanel
from assistant.ui.replacement import CHANGED, make_room, place_of
from assistant.ui.reward_panel import RewardPanel
from assistant.ui.toast import tell
from assistant.ui.visitor import Visitor, read_visitor

TurnIds = list[str | None]
"""Those of the exchanges that a page shows, None for one that is not kept."""

GIVE_BACK = "(typed, returned) => [typed && typed.trim() ? typed : returned, '']"
"""A text that got no answer returns to the box, unless something new has been typed there."""


class ChatTab:
    """Builds the tab inside the current Blocks and answers its events."""

    def __init__(self, service: ChatService, store: Store) -> None:
        self.service = service
        self.store = store
        self.votes = VoteStore(store.database)
        self.live = LiveReplies(service)
        self.views = Views()
        self.presence = Presence(self.live.stop_all)
        self.history = History(store)
        self.rating = RatingPanel(store, self.votes)
        self.reward = RewardPanel(service, store)

    def build(self) -> None:
        self.parts = ChatParts(
            self.service.adapters(), self.service.library.collections(), self.history, self.rating, self.reward
        )

    def connect(self, page: gr.Blocks) -> None:
        parts = self.parts
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        seen = [parts.browser, parts.turn_ids]
        asking = [
            parts.composer.submit(self._send, [parts.composer, parts.browser, *parts.settings], parts.shown, **quiet),
            parts.chatbot.example_select(self._send_example, [parts.browser, *parts.settings], parts.shown, **quiet),
            parts.chatbot.retry(self._retry, [*seen, *parts.settings], parts.shown, **quiet),
            parts.chatbot.edit(self._edit, [*seen, *parts.settings], parts.shown, **quiet),
            parts.chatbot.undo(self._undo, seen, parts.shown, **quiet),
            page.load(self._load, parts.browser, parts.shown, **quiet),
        ]
        for event in asking:
            returned = [parts.composer, parts.returned]
            event.then(None, returned, returned, js=GIVE_BACK, **quiet)
        parts.composer.stop(self._stop, parts.browser, parts.composer, **quiet)
        parts.chatbot.like(self._like, seen, None, **quiet)
        parts.from_documents.change(
            lambda is_on: gr.Row(visible=is_on), parts.from_documents, parts.retrieval.row, **quiet
        )
        parts.picker.change(self._show_defaults, parts.picker, parts.controls[:-1], **quiet)
        self.rating.connect(parts.browser, self._show_thumbs, seen, [parts.chatbot])
        self.reward.connect(parts.browser)
        self.history.connect(parts.browser, parts.shown, self._open, self._stop_reply)
        page.unload(self._leave)

    # Events ---------------------------------------------------------------------------------------

    async def _load(self, kept: Any, request: gr.Request) -> AsyncIterator[Updates]:
        visitor = read_visitor(kept)
        self.presence.enter(str(request.session_hash), visitor.owner)
        async for updates in self._open(visitor, request):
            yield updates

    async def _leave(self, request: gr.Request) -> None:
        self.views.drop(str(request.session_hash))
        self.presence.leave(str(request.session_hash))

    async def _send(self, request: gr.Request, text: str, kept: Any, *settings: Any) -> AsyncIterator[Updates]:
        async for updates in self._ask(read_visitor(kept), text, settings, request):
            yield updates

    async def _send_example(
        self, request: gr.Request, event: gr.SelectData, kept: Any, *settings: Any
    ) -> AsyncIterator[Updates]:
        async for updates in self._ask(read_visitor(kept), event.value["text"], settings, request):
            yield updates

    async def _retry(
        self, request: gr.Request, event: gr.RetryData, kept: Any, turn_ids: TurnIds, *settings: Any
    ) -> AsyncIterator[Updates]:
        async for updates in self._ask(read_visitor(kept), None, settings, request, _shown_from(event, turn_ids)):
            yield updates

    async def _edit(
        self, request: gr.Request, event: gr.EditData, kept: Any, turn_ids: TurnIds, *settings: Any
    ) -> AsyncIterator[Updates]:
        text = str(event.value)
        async for updates in self._ask(read_visitor(kept), text, settings, request, _shown_from(event, turn_ids)):
            yield updates

    async def _undo(self, kept: Any, turn_ids: TurnIds, event: gr.UndoData) -> AsyncIterator[Updates]:
        visitor = read_visitor(kept)
        try:
            self._check_idle(visitor)
            conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
            turn = conversation.turns[place_of(conversation.turns, _shown_from(event, turn_ids))]
            await asyncio.to_thread(self.store.remove_turns_from, conversation.id, visitor.owner, turn.position)
            yield {**await self._settled(visitor), self.parts.returned: turn.user_text}
        except SwapboardError as error:
            tell(error)
            yield {self.parts.returned: gr.skip()}

    async def _stop(self, kept: Any) -> Any:
        await self._stop_reply(read_visitor(kept).conversation)
        return gr.update(submit_btn=True, stop_btn=False)

    async def _like(self, kept: Any, turn_ids: TurnIds, event: gr.LikeData) -> None:
        visitor, shown = read_visitor(kept), _shown_from(event, turn_ids)
        liked = event.liked if isinstance(event.liked, bool) else None
        try:
            if not shown or shown[0] is None:
                raise InvalidRequest("only an answer that is kept can be rated")
            conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
            if shown[0] not in [turn.id for turn in conversation.turns]:
                raise InvalidRequest(CHANGED)
            await asyncio.to_thread(self._rate, visitor.owner, shown[0], liked)
        except SwapboardError as error:
            tell(error, "Your rating was not kept")

    def _rate(self, owner: str, turn_id: str, thumb: bool | None) -> None:
        said = self.votes.rating(owner, turn_id) or Rating(turn_id=turn_id)
        self.votes.rate(owner, said.model_copy(update={"thumb": thumb}))

    async def _show_thumbs(self, kept: Any, turn_ids: TurnIds) -> Updates:
        """A thumb given in the form is the one beside the answer."""
        visitor = read_visitor(kept)
        try:
            self._check_idle(visitor)
            conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
            shown = conversation.turns[place_of(conversation.turns, turn_ids) :]
        except SwapboardError:  # the thumbs are brought up to date when the conversation is shown next
            return {self.parts.chatbot: gr.skip()}
        return {self.parts.chatbot: gr.Chatbot(feedback_value=render.feedback([from_turn(turn) for turn in shown]))}

    async def _show_defaults(self, name: str) -> list[Any]:
        usable = {status.adapter.name: status.adapter for status in self.service.adapters()}
        return placeholders(usable.get(name))

    # Asking ---------------------------------------------------------------------------------------

    async def _ask(
        self,
        visitor: Visitor,
        text: str | None,
        settings: Sequence[Any],
        request: gr.Request,
        shown: TurnIds | None = None,
    ) -> AsyncIterator[Updates]:
        """Answer `text` at the end of the conversation, or in place of the exchanges whose turns are `shown`.

        Without a text, the first of them is asked again.
        """
        try:
            self._check_idle(visitor)
            if text is not None and not text.strip():
                raise InvalidRequest("Write a message first.")
            retrieval, decoding = read_retrieval(*settings[2:5]), read_controls(settings[5:])
            conversation, question, replaced = await asyncio.to_thread(make_room, self.store, visitor, text, shown)
            visitor = replace(visitor, conversation=conversation.id)
            messages = [*conversation.messages, Message(role="user", content=question)]
            if settings[1] and settings[1].strip():
                messages.insert(0, Message(role="system", content=settings[1]))
            reply = self.live.start(
                conversation.id,
                ChatRequest(
                    messages=tuple(messages),
                    adapter=settings[0] or AUTO,
                    decoding=decoding,
                    conversation_id=conversation.id,
                    retrieval=retrieval,
                    turn_id=replaced.turn_id if replaced else None,
                ),
                visitor.owner,
                replaced,
            )
            # A newcomer gets their id with the first message.
            self.presence.enter(str(request.session_hash), visitor.owner)
        except SwapboardError as error:
            tell(error, "Not sent")
            yield {self.parts.returned: text or ""}
            return
        is_ours = self.views.take(str(request.session_hash))
        yield {
            self.parts.composer: gr.update(value="", submit_btn=False, stop_btn=True),
            self.parts.browser: visitor.kept,
        }
        async for updates in self._follow(visitor, reply, is_ours, request):
            yield updates

    async def _follow(
        self, visitor: Visitor, reply: LiveReply, is_ours: Any, request: gr.Request
    ) -> AsyncIterator[Updates]:
        """Show an answer while it is written, then what was kept of it."""
        try:
            conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
            turns = [turn for turn in conversation.turns if turn.state != "running"]
            if (replaced := reply.replaced) is not None:
                turns = [turn for turn in turns if turn.position < replaced.position]
            before = [from_turn(turn) for turn in turns]
        except SwapboardError as error:
            tell(error)
            before = []
        has_judges = await self._has_judges()
        exchange, is_listed = reply.exchange, False
        async for exchange in reply.changes():
            if not is_ours():
                return
            exchanges = [*before, exchange]
            updates: Updates = {
                self.parts.chatbot: render.chat_messages(exchanges, has_judges),
                self.parts.turn_ids: [one.turn_id for one in exchanges],
            }
            if exchange.state == "writing" and not is_listed:
                # The conversation has its title once the question has been kept.
                is_listed = True
                updates |= await self.history.refresh(visitor)
            yield updates
        withdrawn = reply.replaced if reply.replaced is not None and reply.replaced.is_withdrawn else None
        # That nothing was found stands in the conversation, unless the question does not.
        if exchange.state == "failed" and (exchange.code != NothingRelevant.code or withdrawn):
            tell(exchange.error or "", "No answer")
        try:
            updates = await self._settled(visitor, exchange)
        except SwapboardError as error:
            # Nothing can be read back; what there is of the answer stays to be seen.
            tell(error, "The conversation cannot be shown as it was kept")
            updates = {self.parts.composer: gr.update(submit_btn=True, stop_btn=False)}
        is_unanswered = exchange.state == "failed" or (exchange.state == "stopped" and not exchange.text)
        if is_unanswered and not (withdrawn and withdrawn.question == exchange.user_text):
            updates[self.parts.returned] = exchange.user_text
        if is_ours():
            yield updates

    # Showing --------------------------------------------------------------------------------------

    async def _open(self, visitor: Visitor, request: gr.Request) -> AsyncIterator[Updates]:
        """Show a conversation, or room for a new one; follow its answer where one is being written."""
        is_ours = self.views.take(str(request.session_hash))
        try:
            yield await self._settled(visitor, restores=True)
        except NotFound:
            visitor = replace(visitor, conversation="")
            yield await self._settled(visitor)
        except SwapboardError as error:
            tell(error, "Your conversations cannot be shown")
            yield {self.parts.browser: visitor.kept}
            return
        reply = self.live.find(visitor.conversation)
        if reply is not None:
            yield {self.parts.composer: gr.update(submit_btn=False, stop_btn=True)}
            async for updates in self._follow(visitor, reply, is_ours, request):
                yield updates

    async def _settled(self, visitor: Visitor, last: Exchange | None = None, restores: bool = False) -> Updates:
        """The page as the store has it. `last` is shown behind where it, or the end of it, could not be kept.

        With `restores`, adapter, system prompt and documents become what the last question was asked with.
        """
        updates: Updates = {
            self.parts.browser: visitor.kept,
            self.parts.composer: gr.update(submit_btn=True, stop_btn=False),
            self.parts.returned: "",
        }
        exchanges: list[Exchange] = []
        if visitor.conversation:
            conversation = await asyncio.to_thread(self.store.conversation, visitor.conversation, visitor.owner)
            exchanges = [from_turn(turn) for turn in conversation.turns]
            if conversation.turns and restores:
                request = conversation.turns[-1].request
                updates[self.parts.picker] = request["adapter"]
                system = [message["content"] for message in request["messages"] if message["role"] == "system"]
                updates[self.parts.system] = system[0] if system else ""
                updates |= await self._restored(request.get("retrieval"))
        if last is not None and _is_lost(last):
            exchanges = [*(one for one in exchanges if one.turn_id != last.turn_id), last]
        updates[self.parts.chatbot] = gr.Chatbot(
            value=render.chat_messages(exchanges, await self._has_judges()), feedback_value=render.feedback(exchanges)
        )
        updates[self.parts.turn_ids] = [one.turn_id for one in exchanges]
        return {**updates, **await self.history.refresh(visitor)}

    async def _restored(self, kept: dict[str, Any] | None) -> Updates:
        """The document controls as a question was asked with them; collections that are gone are left out."""
        parts, retrieval = self.parts, Retrieval.model_validate(kept or {})
        there = {collection.id for collection in await asyncio.to_thread(self.service.library.collections)}
        return {
            parts.from_documents: kept is not None,
            parts.retrieval.row: gr.Row(visible=kept is not None),
            parts.retrieval.collections: [id for id in retrieval.collections if id in there],
            parts.retrieval.top_k: retrieval.top_k,
        }

    async def _has_judges(self) -> bool:
        return bool(judges(await asyncio.to_thread(self.service.adapters)))

    def _check_idle(self, visitor: Visitor) -> None:
        if visitor.conversation and self.live.find(visitor.conversation) is not None:
            raise InvalidRequest("This conversation is being answered: wait for the answer or stop it first.")

    async def _stop_reply(self, conversation_id: str) -> None:
        reply = self.live.find(conversation_id)
        if reply is not None:
            await reply.stop()


def _is_lost(exchange: Exchange) -> bool:
    """Whether the store does not have it, or not how it ended."""
    return exchange.state == "failed" and (exchange.turn_id is None or exchange.code == StoreUnavailable.code)


def _shown_from(event: Any, turn_ids: TurnIds) -> TurnIds:
    """What the page shows from the exchange on that an event of the chat is about: each is shown as two messages."""
    index = event.index[0] if isinstance(event.index, list | tuple) else event.index
    return turn_ids[int(index) // 2 :]
