"""Answers judged by a reward adapter: conversations in, one number each out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from assistant.backends.base import Backend
from assistant.catalog import Adapter, Catalog
from assistant.errors import InvalidRequest
from assistant.messages import AUTO, BASE, Message, PromptTemplate

Conversation = Sequence[Message]


class RendersExamples(Protocol):
    def render_example(
        self, messages: Sequence[Message], template: PromptTemplate | None = None
    ) -> tuple[list[int], list[int]]: ...


def reward_adapter(catalog: Catalog, name: str) -> Adapter:
    """The adapter of that name, which scores answers.

    Raises:
        InvalidRequest: it is no reward adapter.
        AdapterError: it is unknown or broken.
    """
    if name in (BASE, AUTO):
        raise InvalidRequest(f"{name!r} scores no answers; allowed: an adapter with a reward head")
    adapter = catalog.get(name)
    if not adapter.is_reward:
        raise InvalidRequest(f"adapter {name!r} writes answers and scores none; allowed: an adapter with a reward head")
    return adapter


async def score_conversations(
    adapter: Adapter, backend: Backend, prompter: RendersExamples, conversations: Sequence[Conversation]
) -> list[float]:
    """Each conversation ends with the answer that is judged; higher is better. Only differences have a meaning:
    of two answers to one prompt the first is preferred with probability sigmoid(r₁ − r₂) (Bradley and Terry, 1952).

    Raises:
        InvalidRequest: a conversation does not end with an answer.
        PromptTooLong, QueueFull, AdapterError, EngineError: see `Backend.score`.
    """
    for number, messages in enumerate(conversations):
        if len(messages) < 2 or messages[-1].role != "assistant" or not messages[-1].content.strip():
            raise InvalidRequest(f"conversation {number} must end with the assistant's answer to something, not empty")
    # Many long ones take seconds to tokenise.
    examples = await asyncio.to_thread(
        lambda: [prompter.render_example(messages, adapter.card.template) for messages in conversations]
    )
    return await backend.score(adapter, [(*prompt, *answer) for prompt, answer in examples])
