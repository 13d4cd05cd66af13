"""Answers that are being written. They belong to their visitor, not to the page that shows them.

So a refresh in the middle of an answer loses nothing, several pages can follow one answer, and Stop ends
the computing itself rather than the showing of it. When the visitor has closed every page, so do their answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from assistant.errors import InvalidRequest
from assistant.messages import ChatRequest, Failed
from assistant.service import ChatService
from assistant.ui.exchange import Exchange

log = logging.getLogger(__name__)

REPAINT = 0.06
"""Seconds between two looks at a stream; all text of that time is shown at once."""

READY_POLL = 0.2


class LiveReply:
    """One answer under way. All methods must be called on the event loop that made it."""

    def __init__(self, service: ChatService, request: ChatRequest, owner: str) -> None:
        self.owner = owner
        self.exchange = Exchange(request.messages[-1].content)
        self._service = service
        self._request = request
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._run())

    async def changes(self) -> AsyncIterator[Exchange]:
        """The exchange as it is now and after every change, until it is over."""
        while True:
            shown = self.exchange
            yield shown
            if shown.is_over:
                return
            await asyncio.sleep(REPAINT)
            async with self._changed:
                while self.exchange is shown:
                    await self._changed.wait()

    async def stop(self) -> None:
        """End the computing; returns once it has ended and what there is of the answer is kept."""
        # A second cancel would interrupt the clearing up after the first.
        if not self._task.cancelling():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while not self._service.is_ready:
                await asyncio.sleep(READY_POLL)
            async with aclosing(self._service.reply(self._request)) as events:
                async for event in events:
                    await self._show(self.exchange.after(event))
        except Exception as error:  # nobody awaits this task, so whoever follows it is told here
            log.exception("an answer ended in an unexpected error")
            failed = Failed(status=500, code="internal_error", message=f"unexpected error: {type(error).__name__}")
            await self._show(self.exchange.after(failed))
        finally:
            if not self.exchange.is_over:
                await self._show(self.exchange.stopped())

    async def _show(self, exchange: Exchange) -> None:
        async with self._changed:
            self.exchange = exchange
            self._changed.notify_all()


class LiveReplies:
    """The answers under way, by conversation: at most one in each."""

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self._replies: dict[str, LiveReply] = {}

    def find(self, conversation_id: str) -> LiveReply | None:
        reply = self._replies.get(conversation_id)
        return None if reply is None or reply.exchange.is_over else reply

    def start(self, conversation_id: str, request: ChatRequest, owner: str) -> LiveReply:
        """Raises InvalidRequest where the conversation is being answered already."""
        if self.find(conversation_id) is not None:
            raise InvalidRequest("this conversation is being answered: wait for the answer or stop it first")
        self._replies = {key: reply for key, reply in self._replies.items() if not reply.exchange.is_over}
        self._replies[conversation_id] = LiveReply(self._service, request, owner)
        return self._replies[conversation_id]

    async def stop_all(self, owner: str) -> None:
        """End every answer of a visitor who has gone; what there is of each is kept."""
        await asyncio.gather(*(reply.stop() for reply in self._replies.values() if reply.owner == owner))


class Views:
    """Which event handler may write to the page of a session: the last one that took it.

    A page that has moved on to another conversation must not be painted over by the answer it left.
    """

    def __init__(self) -> None:
        self._holders: dict[str, object] = {}

    def take(self, session: str) -> Callable[[], bool]:
        """Take the page; the result says whether it is still ours."""
        holder = object()
        self._holders[session] = holder
        return lambda: self._holders.get(session) is holder

    def drop(self, session: str) -> None:
        self._holders.pop(session, None)
