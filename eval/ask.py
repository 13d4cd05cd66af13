"""Many requests through the service, some at a time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from time import perf_counter
from types import MappingProxyType
from typing import Protocol

from assistant.errors import EvaluationError
from assistant.messages import (
    ChatRequest,
    CompletionRequest,
    Done,
    Failed,
    Part,
    Route,
    StreamEvent,
    Timing,
    TokenScore,
    Usage,
)

log = logging.getLogger(__name__)

Request = ChatRequest | CompletionRequest

NO_REVISIONS: Mapping[str, str] = MappingProxyType({})


class Ended(Done):
    """A `Done`, and the `seconds` from the request to it: with the search and the wait for a place, which the engine's
    own timing leaves out."""

    seconds: float


class Replies(Protocol):
    """The service that users get, as far as a measurement needs it."""

    def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]: ...

    def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]: ...


async def ask_all(
    service: Replies,
    requests: Sequence[Request],
    concurrency: int,
    names: Sequence[object] | None = None,
    unanswered: Collection[str] = (),
    revisions: Mapping[str, str] = NO_REVISIONS,
) -> list[Ended]:
    """How each request ended, in their order. Chats go to `reply`, raw texts to `complete`.

    Args:
        concurrency: how many run at the same time, from 1.
        names: what to call each request when it fails; its number, from 0, unless given.
        unanswered: codes of failures that are no answer, rather than the end of the run: they give an empty one.
        revisions: adapter → digest of the revision that is to answer; others answer unchecked.

    Raises:
        EvaluationError: a request failed, another revision of an adapter answered, or there are no requests. The others
            are cancelled.
    """
    if not requests:
        raise EvaluationError("no examples to ask; an empty run has no score")
    names = range(len(requests)) if names is None else names
    gate = asyncio.Semaphore(concurrency)
    finished = 0

    async def ask(request: Request, name: object) -> Ended:
        nonlocal finished
        async with gate:
            started = perf_counter()
            end = await _end(service, request, name, unanswered, revisions)
            done = Ended(**dict(end), seconds=perf_counter() - started)
        finished += 1
        if finished % 100 == 0:
            log.info("%d of %d answered", finished, len(requests))
        return done

    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(request, name)) for request, name in zip(requests, names, strict=True)]
    except ExceptionGroup as failed:
        # One failure ends the run; the requests beside it were cancelled.
        raise failed.exceptions[0] from failed
    return [task.result() for task in asked]


async def _end(
    service: Replies,
    request: Request,
    name: object,
    unanswered: Collection[str],
    revisions: Mapping[str, str],
) -> Done:
    events = service.reply(request) if isinstance(request, ChatRequest) else service.complete(request)
    async for event in events:
        if isinstance(event, Failed) and event.code in unanswered:
            return _nothing(request, event)
        if isinstance(event, Failed):
            raise EvaluationError(f"example {name} failed: {event.code}: {event.message}")
        if isinstance(event, Done):
            for part in event.parts:
                check_revision(part.route.adapter, part.digest, revisions)
            return event
    raise EvaluationError(f"example {name}: the reply ended without an end")


def check_revision(adapter: str, digest: str | None, revisions: Mapping[str, str]) -> None:
    """Raises EvaluationError where an adapter is not the revision that it is to be: it was replaced meanwhile."""
    if (wanted := revisions.get(adapter, digest)) != digest:
        raise EvaluationError(
            f"adapter {adapter!r} was replaced while it was measured: revision {str(digest)[:12]} answers, and "
            f"{str(wanted)[:12]} is what is measured; allowed: the same from beginning to end, so measure again"
        )


def _nothing(request: Request, failed: Failed) -> Done:
    """An empty answer, of which the model was not sure at all."""
    part = Part(
        route=Route(adapter=request.adapter, confidence=1.0, reason=failed.message, text=""),
        digest=None,
        decoding=request.decoding,
        text="",
        finish_reason="stop",
        usage=Usage(),
        timing=Timing(),
        scores=(TokenScore(token="", token_id=0, logprob=-math.inf),),
    )
    return Done(turn_id=failed.turn_id or "", parts=(part,))
