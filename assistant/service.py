"""One turn, end to end: route → prompt → backend → record. The page and the API share this one service."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from assistant.backends.base import Backend, Generation, Residency
from assistant.catalog import Adapter, Catalog
from assistant.errors import InvalidRequest, NotFound, QueueFull, StoreUnavailable, SwapboardError
from assistant.messages import (
    AUTO,
    BASE,
    ChatRequest,
    CompletionRequest,
    Decoding,
    Done,
    Failed,
    Finished,
    Message,
    Part,
    PartFinished,
    PartStarted,
    PromptTemplate,
    Route,
    Scored,
    StreamEvent,
    TextDelta,
    Timing,
    Usage,
)

log = logging.getLogger(__name__)


class Store(Protocol):
    """What the service needs of the store; `assistant.feedback.store` provides it."""

    def begin_turn(self, request: ChatRequest | CompletionRequest, base_digest: str) -> str: ...

    def finish_turn(self, turn_id: str, parts: Sequence[Part], error: Failed | None = None) -> None: ...


class Routes(Protocol):
    def route(self, text: str) -> list[Route]: ...


class Renders(Protocol):
    def render(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> list[int]: ...

    def encode(self, text: str) -> list[int]: ...


class Intake(Protocol):
    """Takes adapters in and out of the catalogue's folder; `assistant.adapter_pool.intake` provides it."""

    def admit(self, source: Path, name: str | None = None) -> Adapter: ...

    def delete(self, name: str) -> None: ...


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


@dataclass(frozen=True)
class Step:
    """One part of a reply, ready to compute."""

    route: Route
    generation: Generation

    @property
    def digest(self) -> str | None:
        return self.generation.adapter.digest if self.generation.adapter else None

    def part(self, text: str, end: Finished) -> Part:
        return Part(
            route=self.route,
            digest=self.digest,
            decoding=self.generation.decoding,
            text=text,
            **dict(end),
        )


R = TypeVar("R", ChatRequest, CompletionRequest)

CUT_OFF = Finished(finish_reason="cancelled", usage=Usage(), timing=Timing())
"""How an answer ended that has no end of its own."""

CANCELLED = Failed(status=499, code="cancelled", message="stopped before the answer was finished")


class ChatService:
    """Everything a user can ask for. Methods raise `SwapboardError`; streams end in `Failed` instead."""

    def __init__(
        self, catalog: Catalog, intake: Intake, backend: Backend, prompter: Renders, router: Routes, store: Store
    ) -> None:
        self.catalog = catalog
        self.intake = intake
        self.backend = backend
        self.prompter = prompter
        self.router = router
        self.store = store
        self.listeners: list[Callable[[ChatRequest | CompletionRequest, StreamEvent], None]] = []
        """Called with every event of every request. A cancelled one ends in a `Failed` that only they are told."""
        self.is_ready = False

    async def start(self) -> None:
        await self.backend.start()
        self.is_ready = True

    async def stop(self) -> None:
        self.is_ready = False
        await self.backend.stop()

    async def reply(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Answer one turn: see `assistant.messages` for the order of events. Closing the stream cancels it."""
        async with aclosing(self._turn(request, self._chat_steps)) as events:
            async for event in events:
                yield event

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[StreamEvent, None]:
        """Continue raw text. Same events as `reply`, with one part."""
        async with aclosing(self._turn(request, self._completion_steps)) as events:
            async for event in events:
                yield event

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
        pinned name stays pinned.
        """
        adapter = await asyncio.to_thread(self.intake.admit, source, name)
        was_pinned = any(r.pinned for r in self.backend.residents() if r.name == adapter.name)
        await self.backend.retire(adapter.name, keep=adapter.digest)
        if was_pinned:
            await self.backend.pin(adapter, True)
        return adapter

    async def delete_adapter(self, name: str) -> None:
        """Remove an adapter from the catalogue; requests in flight finish on it."""
        await asyncio.to_thread(self.intake.delete, name)
        await self.backend.retire(name)

    # One turn -----------------------------------------------------------------------------------

    async def _turn(self, request: R, plan: Callable[[R], list[Step]]) -> AsyncGenerator[StreamEvent, None]:
        turn_id: str | None = None
        parts: list[Part] = []
        partial: list[Part] = []
        try:
            turn_id = await asyncio.to_thread(self.store.begin_turn, request, self.backend.base_digest)
            steps = await asyncio.to_thread(plan, request)
            for index, step in enumerate(steps):
                yield self._tell(request, PartStarted(index=index, of=len(steps), route=step.route, digest=step.digest))
                text = ""
                async with aclosing(self.backend.generate(step.generation)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Finished):
                            parts.append(step.part(text, piece))
                            continue
                        delta, scores = (piece.text, piece.scores) if isinstance(piece, Scored) else (piece, ())
                        text += delta
                        partial = [step.part(text, CUT_OFF)]
                        yield self._tell(request, TextDelta(index=index, text=delta, scores=scores))
                partial = []
                yield self._tell(request, PartFinished(index=index, part=parts[-1]))
            await asyncio.to_thread(self.store.finish_turn, turn_id, parts)
            end: Done | Failed = Done(turn_id=turn_id, parts=tuple(parts))
        except Exception as error:
            end = failure(error, turn_id)
            await self._record_end(turn_id, [*parts, *partial], end)
        except (asyncio.CancelledError, GeneratorExit):
            self._tell(request, CANCELLED.model_copy(update={"turn_id": turn_id}))
            await asyncio.shield(self._record_end(turn_id, [*parts, *partial], CANCELLED))
            raise
        # Outside the try: a reader that leaves once it has the end cancels nothing.
        yield self._tell(request, end)

    async def _record_end(self, turn_id: str | None, parts: Sequence[Part], failed: Failed) -> None:
        """Record how a turn ended when it did not end well. The user is told either way."""
        if turn_id is None:
            return
        try:
            await asyncio.to_thread(self.store.finish_turn, turn_id, parts, failed)
        except (StoreUnavailable, NotFound) as error:  # NotFound: deleted with its conversation meanwhile
            log.error("turn %s ended with %s and could not be recorded: %s", turn_id, failed.code, error)

    def _chat_steps(self, request: ChatRequest) -> list[Step]:
        last = request.messages[-1]
        if last.role != "user" or not last.content.strip():
            raise InvalidRequest("the last message must be the user's and hold some text")
        if request.adapter == AUTO:
            routes = self.router.route(last.content)
        else:
            routes = [Route(adapter=request.adapter, confidence=1.0, reason="chosen by you", text=last.content)]
        return [self._chat_step(request, route) for route in routes]

    def _chat_step(self, request: ChatRequest, route: Route) -> Step:
        adapter = self._find(route.adapter)
        messages = [*request.messages[:-1], Message(role="user", content=route.text)]
        prompt = self.prompter.render(messages, adapter.card.template if adapter else None)
        decoding = resolve_decoding(request.decoding, adapter)
        if not decoding.max_tokens:
            raise InvalidRequest("max_tokens 0 generates nothing; allowed: from 1")
        source = route.text if decoding.constraint else None
        return Step(route, Generation(tuple(prompt), adapter, decoding, caps_length(request), span_source=source))

    def _completion_steps(self, request: CompletionRequest) -> list[Step]:
        if request.adapter == AUTO:
            raise InvalidRequest(
                f"model {AUTO!r} chooses by the message, which raw text has not; allowed: base or an adapter"
            )
        if not request.prompt:
            raise InvalidRequest("the prompt is empty")
        adapter = self._find(request.adapter)
        decoding = resolve_decoding(request.decoding, adapter)
        if not decoding.max_tokens and not request.echo:
            raise InvalidRequest("max_tokens 0 generates nothing; allowed: from 1, or 0 together with echo")
        if request.decoding.constraint:
            raise InvalidRequest(f"constraint {decoding.constraint!r} needs a message, which raw text has not")
        # A card's constraint is about messages too.
        decoding = decoding.model_copy(update={"constraint": None})
        prompt = request.prompt if isinstance(request.prompt, tuple) else self.prompter.encode(request.prompt)
        route = Route(adapter=request.adapter, confidence=1.0, reason="chosen by you", text=request.text)
        return [Step(route, Generation(tuple(prompt), adapter, decoding, caps_length(request), echo=request.echo))]

    def _find(self, name: str) -> Adapter | None:
        return None if name == BASE else self.catalog.get(name)

    def _tell(self, request: ChatRequest | CompletionRequest, event: StreamEvent) -> StreamEvent:
        for listener in self.listeners:
            listener(request, event)
        return event


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


def caps_length(request: ChatRequest | CompletionRequest) -> bool:
    """A limit nobody asked for gives way to the context; one that was asked for is kept or refused."""
    return "max_tokens" not in request.decoding.model_fields_set


def resolve_decoding(wanted: Decoding, adapter: Adapter | None) -> Decoding:
    """What was asked for, over the adapter card's defaults, over the general ones; the seed is always settled."""
    defaults = adapter.card.decoding if adapter else {}
    asked = wanted.model_dump(exclude_unset=True)
    decoding = Decoding.model_validate({**defaults, **asked})
    if decoding.seed is None:
        decoding = decoding.model_copy(update={"seed": secrets.randbits(32)})
    return decoding
