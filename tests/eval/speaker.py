"""A service without a model: it reads sentiment off one word, and its likelihoods off a given function."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from assistant.catalog import Catalog
from assistant.messages import (
    BASE,
    ChatRequest,
    CompletionRequest,
    Done,
    Part,
    Route,
    StreamEvent,
    Timing,
    TokenScore,
    Usage,
)
from tests.fakes import CharPrompter

Surprise = Callable[[str, str, str], float]
"""(adapter, text so far, next character) → ln P."""


def evenly(adapter: str, before: str, character: str) -> float:
    return math.log(0.5)


class Speaker:
    """One token per character. Chats are answered by `answer`, "positive" to what says "good" unless given."""

    base_name, base_digest = "fake-base", "b" * 64

    def __init__(
        self,
        adapters: Path,
        surprise: Surprise = evenly,
        answer: Callable[[ChatRequest], str] = lambda r: (
            "positive" if "good" in r.messages[-1].content.split() else "negative"
        ),
    ) -> None:
        self.catalog, self.prompter, self.backend = Catalog(adapters), CharPrompter(), self
        self.surprise, self.answer = surprise, answer
        self.chats: list[ChatRequest] = []
        self.echoes: list[str] = []

    async def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        self.chats.append(request)
        text = self.answer(request)
        scores = tuple(TokenScore(token=c, token_id=ord(c), logprob=-0.1) for c in text)
        yield self._done(request, text, scores=scores)

    async def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        ids = request.prompt if isinstance(request.prompt, tuple) else tuple(map(ord, request.prompt))
        text = "".join(map(chr, ids))
        self.echoes.append(text)
        scores = tuple(
            TokenScore(token=c, token_id=ord(c), logprob=self.surprise(request.adapter, text[:n], c) if n else None)
            for n, c in enumerate(text)
        )
        yield self._done(request, text, prompt_scores=scores)

    @asynccontextmanager
    async def measured_service(self, *_: object) -> AsyncIterator[Speaker]:
        yield self

    def _done(self, request: ChatRequest | CompletionRequest, text: str, **scores: tuple[TokenScore, ...]) -> Done:
        route = Route(adapter=request.adapter, confidence=1, reason="chosen by you", text="")
        digest = None if request.adapter == BASE else self.catalog.get(request.adapter).digest
        usage, timing = Usage(completion_tokens=len(text)), Timing(total=0.5)
        part = Part(
            route=route,
            digest=digest,
            decoding=request.decoding,
            text=text,
            finish_reason="stop",
            usage=usage,
            timing=timing,
            **scores,
        )
        return Done(turn_id="t", parts=(part,))
