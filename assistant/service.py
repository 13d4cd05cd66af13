"""One turn, end to end: plan → backend → record. The page and the API share this one service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from assistant.backends.base import Backend, Residency
from assistant.background import in_background
from assistant.best_of import best_of, spread
from assistant.catalog import Adapter, Catalog
from assistant.errors import AdapterError, InvalidRequest, NotFound, QueueFull, StoreUnavailable, SwapboardError
from assistant.messages import (
    ChatRequest,
    CompletionRequest,
    Done,
    Failed,
    Finished,
    Message,
    Part,
    PartFinished,
    PartStarted,
    Reward,
    Scored,
    StreamEvent,
    TextDelta,
    Timing,
    Usage,
)
from assistant.planner import Planner, Renders, Routes, Searches, Step
from assistant.scoring import reward_adapter, score_conversations

if TYPE_CHECKING:
    from assistant.adapter_pool.revisions import Revision
    from assistant.retrieval.library import Library

log = logging.getLogger(__name__)


class Store(Protocol):
    """What the service needs of the store; `assistant.feedback.store` provides it."""

    def begin_turn(self, request: ChatRequest | CompletionRequest, base_digest: str) -> str: ...

    def finish_turn(self, turn_id: str, parts: Sequence[Part], error: Failed | None = None) -> None: ...


class Intake(Protocol):
    """Takes adapters in and out of the catalogue's folder; `assistant.adapter_pool.intake` provides it."""

    def admit(self, source: Path, name: str | None = None) -> Adapter: ...

    def delete(self, name: str) -> None: ...

    def revisions(self, name: str) -> list[Revision]: ...

    def revert(self, name: str, digest: str | None = None) -> Adapter: ...


@dataclass(frozen=True)
class AdapterStatus:
    """A catalogue entry and, when it is in memory, its place there."""

    adapter: Adapter
    residency: Residency | None

    @property
    def state(self) -> str:
        if self.adapter.error is not None:
            return "broken"
        return self.residency.state if self.residency else "on disk"


R = TypeVar("R", ChatRequest, CompletionRequest)

CUT_OFF = Finished(finish_reason="cancelled", usage=Usage(), timing=Timing())
"""How an answer ended that has no end of its own."""

CANCELLED = Failed(status=499, code="cancelled", message="stopped before the answer was finished")


class ChatService:
    """Everything a user can ask for. Methods raise `SwapboardError`; streams end in `Failed` instead."""

    def __init__(
        self,
        catalog: Catalog,
        intake: Intake,
        backend: Backend,
        prompter: Renders,
        router: Routes,
        store: Store,
        library: Library,
        retriever: Searches,
    ) -> None:
        self.catalog = catalog
        self.intake = intake
        self.backend = backend
        self.prompter = prompter
        self.router = router
        self.store = store
        self.library = library
        self.retriever = retriever
        self.planner = Planner(catalog, backend, prompter, router, retriever)
        self.listeners: list[Callable[[ChatRequest | CompletionRequest, StreamEvent], None]] = []
        """Called with every event of every request. A cancelled one ends in a `Failed` that only they are told."""
        self.is_ready = False

    async def start(self) -> None:
        await self.backend.start()
        self.is_ready = True

    async def stop(self) -> None:
        self.is_ready = False
        await self.backend.stop()

    @property
    def has_failed(self) -> bool:
        """Started, and what computes has died since: every request is refused until the server is started again."""
        return self.is_ready and not self.backend.is_alive

    async def reply(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Answer one turn: see `assistant.messages` for the order of events. Closing the stream cancels it."""
        async with aclosing(self._turn(request, self._plan)) as events:
            async for event in events:
                yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        """Continue raw text. Same events as `reply`, with one part."""
        async with aclosing(self._turn(request, self.planner.completion)) as events:
            async for event in events:
                yield event

    async def score(self, adapter: str, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """What a reward adapter makes of the answer that each conversation ends with: see `assistant.scoring`."""
        return await self._score(await asyncio.to_thread(reward_adapter, self.catalog, adapter), conversations)

    # Adapters -----------------------------------------------------------------------------------

    def adapters(self) -> list[AdapterStatus]:
        residents = {(r.name, r.digest): r for r in self.backend.residents()}
        return [AdapterStatus(a, residents.get((a.name, a.digest))) for a in self.catalog.adapters()]

    async def load_adapter(self, name: str) -> None:
        await self.backend.load(await asyncio.to_thread(self.catalog.get, name))

    async def unload_adapter(self, name: str) -> None:
        await self.backend.unload(await asyncio.to_thread(self.catalog.get, name))

    async def pin_adapter(self, name: str, pinned: bool) -> None:
        await self.backend.pin(await asyncio.to_thread(self.catalog.get, name), pinned)

    async def upload_adapter(self, source: Path, name: str | None = None) -> Adapter:
        """Take a zip or folder into the catalogue. Nothing of it is kept when it is refused.

        Under a name that exists it is a new revision: requests in flight finish on the old one, and a
        pinned name stays pinned, unless there is no room for both.
        """
        return await self._swapped(await in_background(self.intake.admit, source, name))

    async def revisions(self, name: str) -> list[Revision]:
        """The adapter's earlier revisions that are kept, newest first."""
        return await asyncio.to_thread(self.intake.revisions, name)

    async def revert_adapter(self, name: str, digest: str | None = None) -> Adapter:
        """Go back to the revision before, or to the kept one of that digest: a swap as any other, see above."""
        return await self._swapped(await in_background(self.intake.revert, name, digest))

    async def _swapped(self, adapter: Adapter) -> Adapter:
        was_pinned = any(r.pinned for r in self.backend.residents() if r.name == adapter.name)
        await self.backend.retire(adapter.name, keep=adapter.digest)
        if was_pinned:
            try:
                await self.backend.pin(adapter, True)
            except AdapterError as error:
                # It is served all the same, and loaded for its next request; its status says that it is not pinned.
                log.warning("the new revision of %r could not be pinned: %s", adapter.name, error)
        return adapter

    async def delete_adapter(self, name: str) -> None:
        """Remove an adapter from the catalogue; running requests finish on it, those that wait for a place may fail."""
        await asyncio.to_thread(self.intake.delete, name)
        await self.backend.retire(name)

    # One turn -----------------------------------------------------------------------------------

    def _plan(self, request: ChatRequest) -> list[Step]:
        return self.planner.chat(request if request.best_of is None else spread(request))

    async def _turn(self, request: R, plan: Callable[[R], list[Step]]) -> AsyncGenerator[StreamEvent, None]:
        turn_id: str | None = None
        parts: list[Part] = []
        unfinished: list[tuple[Step, str]] = []
        begun = asyncio.create_task(asyncio.to_thread(self.store.begin_turn, request, self.backend.base_digest))
        try:
            turn_id = await asyncio.shield(begun)
            steps = await asyncio.to_thread(plan, request)
            for index, step in enumerate(steps):
                started = PartStarted(
                    index=index, of=len(steps), route=step.route, digest=step.digest, passages=step.passages
                )
                yield self._tell(request, started)
                if isinstance(request, ChatRequest) and request.best_of is not None:
                    async with aclosing(self._best_of(request, step, index)) as drawn:
                        async for news in drawn:
                            if isinstance(news, PartFinished):
                                parts.append(news.part)
                            yield self._tell(request, news)
                    continue
                text = ""
                async with aclosing(self.backend.generate(step.generation)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Finished):
                            parts.append(await whole_part(step, text, piece))
                            unfinished = []
                            continue
                        delta, scores = (piece.text, piece.scores) if isinstance(piece, Scored) else (piece, ())
                        text += delta
                        unfinished = [(step, text)]
                        yield self._tell(request, TextDelta(index=index, text=delta, scores=scores))
                yield self._tell(request, PartFinished(index=index, part=parts[-1]))
            if isinstance(request, ChatRequest) and request.reward_by is not None:
                parts[-1] = parts[-1].model_copy(
                    update={"reward": await self._reward(request, request.reward_by, parts)}
                )
            await asyncio.to_thread(self.store.finish_turn, turn_id, parts)
            end: Done | Failed = Done(turn_id=turn_id, parts=tuple(parts))
        except Exception as error:
            end = failure(error, turn_id)
            await self._record_end(begun, parts, unfinished, end)
        except (asyncio.CancelledError, GeneratorExit):
            self._tell(request, CANCELLED.model_copy(update={"turn_id": turn_id}))
            await asyncio.shield(self._record_end(begun, parts, unfinished, CANCELLED))
            raise
        # Outside the try: a reader that leaves once it has the end cancels nothing.
        yield self._tell(request, end)

    async def _best_of(self, request: ChatRequest, step: Step, index: int) -> AsyncGenerator[StreamEvent, None]:
        assert request.best_of is not None
        judge = await asyncio.to_thread(reward_adapter, self.catalog, request.best_of.judge)
        score = partial(self._judged, judge, request)
        async with aclosing(best_of(self.backend, step, request.best_of.n, judge, score, index)) as news:
            async for one in news:
                if isinstance(one, Part):
                    yield TextDelta(index=index, text=one.text)
                    yield PartFinished(index=index, part=one)
                else:
                    yield one

    async def _reward(self, request: ChatRequest, name: str, parts: Sequence[Part]) -> Reward:
        """An answer is an answer where it cannot be judged, too."""
        drawn, text = parts[0].drawn, Done(turn_id="", parts=tuple(parts)).text
        known = [one.reward for one in drawn.candidates if one.reward is not None] if drawn else []
        if len(parts) == 1 and drawn is not None and drawn.judge == name and known:
            return Reward(judge=name, digest=drawn.digest, score=max(known))
        try:
            if not text.strip():
                raise InvalidRequest("an empty answer has nothing to be judged by")
            judge = await asyncio.to_thread(reward_adapter, self.catalog, name)
            [score] = await self._judged(judge, request, [text])
        except SwapboardError as error:
            return Reward(judge=name, error=str(error))
        return Reward(judge=name, digest=judge.digest, score=score)

    async def _judged(self, judge: Adapter, request: ChatRequest, texts: Sequence[str]) -> list[float]:
        said = request.judged or request.messages
        return await self._score(judge, [(*said, Message(role="assistant", content=text)) for text in texts])

    async def _score(self, judge: Adapter, conversations: Sequence[Sequence[Message]]) -> list[float]:
        return await score_conversations(judge, self.backend, self.planner.prompter, conversations)

    async def _record_end(
        self, begun: asyncio.Task[str], parts: Sequence[Part], unfinished: Sequence[tuple[Step, str]], failed: Failed
    ) -> None:
        """Record how a turn ended when it did not end well, even while it began. The user is told either way."""
        try:
            turn_id = await begun
        except Exception:  # nothing was recorded
            return
        cut_off = [await whole_part(step, text, CUT_OFF) for step, text in unfinished]
        try:
            await asyncio.to_thread(self.store.finish_turn, turn_id, [*parts, *cut_off], failed)
        except (StoreUnavailable, NotFound) as error:  # NotFound: deleted with its conversation meanwhile
            log.error("turn %s ended with %s and could not be recorded: %s", turn_id, failed.code, error)

    def _tell(self, request: ChatRequest | CompletionRequest, event: StreamEvent) -> StreamEvent:
        for listener in self.listeners:
            listener(request, event)
        return event


async def whole_part(step: Step, text: str, end: Finished) -> Part:
    """What the step has come to. To look a long answer up in its passages takes time, which the others do not wait."""
    return await asyncio.to_thread(step.part, text, end) if step.passages else step.part(text, end)


def failure(error: Exception, turn_id: str | None) -> Failed:
    """What the user is told. An error nobody foresaw is logged whole; its words may hold what is not for users."""
    if not isinstance(error, SwapboardError):
        log.error("a turn failed unexpectedly", exc_info=error)
        error = SwapboardError("an internal error; the log of the server says more")
    return Failed(
        status=error.status,
        code=error.code,
        message=str(error),
        retry_after=error.retry_after if isinstance(error, QueueFull) else None,
        turn_id=turn_id,
    )
