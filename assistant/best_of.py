"""Best of n: several answers drawn to one step of a reply, of which the one that is judged best is given."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from assistant.backends.base import Backend, Generation
from assistant.catalog import Adapter
from assistant.errors import InvalidRequest
from assistant.merge import AT_ONCE, merged
from assistant.messages import GREEDY_BELOW, Candidate, ChatRequest, Decoding, Drawn, Drew, Finished, Part, Scored
from assistant.planner import Step

SPREAD = 0.8
"""The temperature where the request names none: one answer n times would leave nothing to choose from."""

SEEDS = 2**63

Judges = Callable[[Sequence[str]], Awaitable[list[float]]]
"""Gives the rewards of these answers, in their order."""


def check_spread(asked: Decoding) -> None:
    """Raises InvalidRequest where all answers would be the same."""
    if "temperature" in asked.model_fields_set and asked.is_greedy:
        raise InvalidRequest(
            f"temperature {asked.temperature:g} gives one answer n times; allowed for best of n: from {GREEDY_BELOW:g}"
        )


def spread(request: ChatRequest) -> ChatRequest:
    """The request with a temperature to draw different answers at, whatever the adapter's own is.

    Raises:
        InvalidRequest: it asks for temperature 0.
    """
    check_spread(request.decoding)
    if "temperature" in request.decoding.model_fields_set:
        return request
    asked = request.decoding.model_dump(exclude_unset=True)
    return request.model_copy(update={"decoding": Decoding.model_validate({**asked, "temperature": SPREAD})})


async def best_of(
    backend: Backend, step: Step, n: int, judge: Adapter, score: Judges, index: int
) -> AsyncGenerator[Drew | Part, None]:
    """A `Drew` with each answer that has been drawn, at last the part with the best of them.

    Their seeds follow the step's own, so that equal requests give equal answers. Of equal rewards the first wins; an
    answer without a word has nothing to be judged by and comes last. Closing the stream cancels all of them.

    Raises:
        SwapboardError: an answer failed, or `score` did.
    """
    start = time.perf_counter()
    first = step.generation.decoding.seed or 0
    seeds = [(first + number) % SEEDS for number in range(n)]
    steps = [_seeded(step, seed) for seed in seeds]
    ends: dict[int, tuple[str, Finished]] = {}
    at_once = min(AT_ONCE, backend.max_batch)
    async with aclosing(merged([_whole(backend, one.generation) for one in steps], at_once)) as drawn:
        async for number, end in drawn:
            ends[number] = end
            yield Drew(index=index, done=len(ends), of=n)
    spoken = [number for number in range(n) if ends[number][0].strip()]
    rewards = dict(zip(spoken, await score([ends[number][0] for number in spoken]), strict=True)) if spoken else {}
    candidates = tuple(
        Candidate(seed=seed, text=ends[number][0], usage=ends[number][1].usage, reward=rewards.get(number))
        for number, seed in enumerate(seeds)
    )
    best = max(range(n), key=lambda number: rewards.get(number, -math.inf))
    seconds = time.perf_counter() - start
    told = Drawn(judge=judge.name, digest=judge.digest, candidates=candidates, seconds=seconds)
    part = await asyncio.to_thread(steps[best].part, *ends[best])
    yield part.model_copy(update={"drawn": told})


def _seeded(step: Step, seed: int) -> Step:
    decoding = step.generation.decoding.model_copy(update={"seed": seed})
    return replace(step, generation=replace(step.generation, decoding=decoding))


async def _whole(backend: Backend, generation: Generation) -> AsyncGenerator[tuple[str, Finished], None]:
    """The answer, once it is whole."""
    text = ""
    async with aclosing(backend.generate(generation)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Finished):
                yield text, piece
            else:
                text += piece.text if isinstance(piece, Scored) else piece
