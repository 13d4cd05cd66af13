"""Answers that are being written. They belong to their visitor, not to the page that shows them.

So a refresh in the middle of an answer loses nothing, several pages can follow one answer, and Stop ends
the computing itself rather than the showing of it. When the visitor has closed every page, so do their answers.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from assistant.errors import InvalidRequest, SwapboardError
from assistant.messages import ChatRequest, Failed
from assistant.service import ChatService
from assistant.ui.exchange import Exchange
from assistant.ui.replacement import Replacement

log = logging.getLogger(__name__)

REPAINT = 0.06
"""Seconds between two looks at a stream; all text of that time is shown at once."""

READY_POLL = 0.2


class Followed(Protocol):
    @property
    def is_over(self) -> bool: ...


S = TypeVar("S", bound=Followed)


class Live(ABC, Generic[S]):
    """Something that is being computed, and as much of it as there is: `now`.

    All methods must be called on the event loop that made it.
    """

    repaint = REPAINT

    def __init__(self, service: ChatService, owner: str, now: S) -> None:
        self.owner = owner
        self.now = now
        self._service = service
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._run())

    @abstractmethod
    def _steps(self) -> AsyncGenerator[S, None]:
        """`now` after each thing that happens."""

    @abstractmethod
    def _failed(self, error: Exception) -> S:
        """`now` once an error has ended it."""

    @abstractmethod
    def _stopped(self) -> S:
        """`now` once it has been stopped."""

    async def changes(self) -> AsyncIterator[S]:
        """What there is now and after every change, until it is over."""
        while True:
            shown = self.now
            yield shown
            if shown.is_over:
                return
            await asyncio.sleep(self.repaint)
            async with self._changed:
                while self.now is shown:
                    await self._changed.wait()

    async def stop(self) -> None:
        """End the computing; returns once it has ended and what there is of it is kept."""
        # A second cancel would interrupt the clearing up after the first.
        if not self._task.cancelling():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while not self._service.is_ready:
                await asyncio.sleep(READY_POLL)
            async with aclosing(self._steps()) as steps:
                async for now in steps:
                    await self._show(now)
        except Exception as error:  # nobody awaits this task, so whoever follows it is told here
            if not isinstance(error, SwapboardError):
                log.exception("an answer ended in an unexpected error")
            await self._show(self._failed(error))
        finally:
            if not self.now.is_over:
                await self._show(self._stopped())

    async def _show(self, now: S) -> None:
        async with self._changed:
            self.now = now
            self._changed.notify_all()


class LiveReply(Live[Exchange]):
    """One answer under way."""

    def __init__(
        self, service: ChatService, request: ChatRequest, owner: str, replaced: Replacement | None = None
    ) -> None:
        self.replaced = replaced
        self._request = request
        super().__init__(service, owner, Exchange(request.messages[-1].content))

    @property
    def exchange(self) -> Exchange:
        return self.now

    async def _steps(self) -> AsyncGenerator[Exchange, None]:
        async with aclosing(self._service.reply(self._request)) as events:
            async for event in events:
                yield self.now.after(event)

    async def _show(self, now: Exchange) -> None:
        if self.replaced is not None:
            await self.replaced.settle(now)
        await super()._show(now)

    def _failed(self, error: Exception) -> Exchange:
        return self.now.after(Failed(status=500, code="internal_error", message=told(error)))

    def _stopped(self) -> Exchange:
        return self.now.stopped()


def told(error: Exception) -> str:
    """What a user may read of an error; the words of one that nobody foresaw may hold what is not for users."""
    return str(error) if isinstance(error, SwapboardError) else f"unexpected error: {type(error).__name__}"


class LiveReplies:
    """The answers under way, by conversation: at most one in each."""

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self._replies: dict[str, LiveReply] = {}

    def find(self, conversation_id: str) -> LiveReply | None:
        reply = self._replies.get(conversation_id)
        return None if reply is None or reply.exchange.is_over else reply

    def start(
        self, conversation_id: str, request: ChatRequest, owner: str, replaced: Replacement | None = None
    ) -> LiveReply:
        """`replaced` are the turns whose place the question takes; the request bears the new turn's id.

        Raises InvalidRequest where the conversation is being answered already.
        """
        if self.find(conversation_id) is not None:
            raise InvalidRequest("this conversation is being answered: wait for the answer or stop it first")
        self._replies = {key: reply for key, reply in self._replies.items() if not reply.exchange.is_over}
        self._replies[conversation_id] = LiveReply(self._service, request, owner, replaced)
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
