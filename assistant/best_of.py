"""Best of n: several answers drawn to one request, ranked by a reward adapter."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from assistant.errors import InvalidRequest, SwapboardError
from assistant.messages import ChatRequest, Done, Failed, Message
from assistant.service import ChatService

MOST = 16
SPREAD = 0.8
"""The temperature where the request names none: one answer n times would leave nothing to choose from."""


class NotAnswered(SwapboardError):
    """One of the answers failed; carries what the user would have been told."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.status, self.code = failed.status, failed.code


@dataclass(frozen=True)
class Ranked:
    """One answer with the turn it is recorded as. `reward` has a meaning only beside the others'."""

    text: str
    reward: float
    done: Done


async def best_of(service: ChatService, request: ChatRequest, judge: str, n: int) -> list[Ranked]:
    """Draw `n` answers at the same time, each with a seed of its own, and rank them; the best comes first.

    Seeds follow the request's, so that equal requests give equal answers. Each answer is recorded as a turn of its
    own, outside of any conversation. Cancelling the call cancels all of them.

    Args:
        judge: name of a reward adapter.

    Raises:
        InvalidRequest: n is not 1 to 16, the temperature is 0, or `judge` scores no answers.
        NotAnswered: an answer failed.
        AdapterError, EngineError: the judge cannot be served.
    """
    if not 1 <= n <= MOST:
        raise InvalidRequest(f"best of {n}: allowed are 1 to {MOST}")
    asked = request.decoding
    if n > 1 and "temperature" in asked.model_fields_set and asked.temperature == 0:
        raise InvalidRequest("temperature 0 gives one answer n times; allowed for best of n: above 0")
    first = asked.seed if asked.seed is not None else secrets.randbits(32)
    decoding = {**asked.model_dump(exclude_unset=True)}
    decoding.setdefault("temperature", SPREAD)
    requests = [
        request.model_copy(
            update={
                "conversation_id": None,
                "turn_id": None,
                "decoding": type(asked).model_validate({**decoding, "seed": first + number}),
            }
        )
        for number in range(n)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_answer(service, one)) for one in requests]
    except* NotAnswered as errors:
        raise errors.exceptions[0] from None
    answers = [task.result() for task in tasks]
    # An answer without a word has nothing to be judged by and comes last.
    spoken = [done for done in answers if done.text.strip()]
    rewards = await service.score(
        judge, [(*request.messages, Message(role="assistant", content=done.text)) for done in spoken]
    )
    ranked = [Ranked(done.text, reward, done) for done, reward in zip(spoken, rewards, strict=True)]
    silent = [Ranked(done.text, float("-inf"), done) for done in answers if not done.text.strip()]
    return sorted(ranked, key=lambda one: one.reward, reverse=True) + silent


async def _answer(service: ChatService, request: ChatRequest) -> Done:
    async for event in service.reply(request):
        if isinstance(event, Done):
            return event
        if isinstance(event, Failed):
            raise NotAnswered(event)
    raise RuntimeError("a reply ended without its last event")
