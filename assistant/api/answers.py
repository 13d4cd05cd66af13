"""Events of the service as OpenAI's objects, whole or in chunks."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from assistant.api.connection import Json
from assistant.api.errors import TurnFailed
from assistant.api.logprobs import chat_logprobs, text_logprobs, width
from assistant.merge import AT_ONCE, merged
from assistant.messages import Done, Failed, Part, PartStarted, Passage, StreamEvent, TextDelta, TokenScore, Usage

PART_BREAK = "\n\n"
"""Stands between the parts of one answer, as in `Done.text`."""

Endpoint = Literal["chat", "text"]


@dataclass(frozen=True)
class Writer:
    """Writes one answer. `model` is what was asked for; `fingerprint` names the base; `at_once` streams are read at a
    time."""

    endpoint: Endpoint
    model: str
    fingerprint: str
    at_once: int = AT_ONCE
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    async def whole(self, streams: Sequence[AsyncGenerator[StreamEvent, None]]) -> Json:
        """One choice for each stream. Raises TurnFailed at the first that fails; the others are then stopped."""
        ends: dict[int, Done] = {}
        async with aclosing(merged(streams, self.at_once)) as events:
            async for index, event in events:
                if isinstance(event, Failed):
                    raise TurnFailed(event)
                if isinstance(event, Done):
                    ends[index] = event
        turns = [ends[index] for index in range(len(streams))]
        kind = "chat.completion" if self.endpoint == "chat" else "text_completion"
        return {
            **self._head(kind),
            "choices": [self._choice(index, turn) for index, turn in enumerate(turns)],
            "usage": usage_of(sum((turn.usage for turn in turns), Usage())),
            "swapboard": record_of(turns[0]) if self.endpoint == "chat" else {"turns": [record_of(t) for t in turns]},
        }

    async def chunks(
        self, streams: Sequence[AsyncGenerator[StreamEvent, None]], includes_usage: bool
    ) -> AsyncGenerator[Json, None]:
        """The same in chunks. The first comes with the first text, so that all earlier errors come before it."""
        total = Usage()
        openings: dict[int, Json] = {}
        offsets = [0] * len(streams)
        usage: Json = {"usage": None} if includes_usage else {}
        async with aclosing(merged(streams, self.at_once)) as events:
            async for index, event in events:
                if isinstance(event, Failed):
                    raise TurnFailed(event)
                if isinstance(event, PartStarted):
                    openings[index] = self._opening(index, event) | usage
                    continue
                if index in openings:
                    yield openings.pop(index)
                if isinstance(event, TextDelta):
                    yield self._chunk(index, event.text, logprobs=self._logprobs(event.scores, offsets[index])) | usage
                    offsets[index] += width(event.scores)
                elif isinstance(event, Done):
                    total += event.usage
                    yield self._chunk(index, None, finish_reason(event.parts), record_of(event)) | usage
        if includes_usage:
            yield {**self._head(self._chunk_kind), "choices": [], "usage": usage_of(total)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.endpoint == "chat" else "text_completion"

    def _head(self, kind: str) -> Json:
        prefix = "chatcmpl" if self.endpoint == "chat" else "cmpl"
        return {
            "id": f"{prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }

    def _choice(self, index: int, turn: Done) -> Json:
        scores = [score for part in turn.parts for score in (*part.prompt_scores, *part.scores)]
        end = {"index": index, "logprobs": self._logprobs(scores), "finish_reason": finish_reason(turn.parts)}
        if self.endpoint == "chat":
            return {**end, "message": {"role": "assistant", "content": turn.text, "refusal": None}}
        return {**end, "text": turn.text}

    def _opening(self, index: int, event: PartStarted) -> Json:
        chunk = self._chunk(index, PART_BREAK if event.index else "")
        if self.endpoint == "chat" and event.index == 0:
            chunk["choices"][0]["delta"]["role"] = "assistant"
        route = event.route
        started = {
            "index": event.index,
            "of": event.of,
            "adapter": route.adapter,
            "digest": event.digest,
            "confidence": route.confidence,
            "reason": route.reason,
            **_passages(event.passages),
        }
        return {**chunk, "swapboard": {"part": started}}

    def _chunk(
        self,
        index: int,
        text: str | None,
        finish_reason: str | None = None,
        record: Json | None = None,
        logprobs: Json | None = None,
    ) -> Json:
        choice: Json = {"index": index, "logprobs": logprobs, "finish_reason": finish_reason}
        if self.endpoint == "chat":
            choice["delta"] = {} if text is None else {"content": text}
        else:
            choice["text"] = text or ""
        return {**self._head(self._chunk_kind), "choices": [choice], **({"swapboard": record} if record else {})}

    def _logprobs(self, scores: Sequence[TokenScore], offset: int = 0) -> Json | None:
        if not scores:
            return None
        return chat_logprobs(scores) if self.endpoint == "chat" else text_logprobs(scores, offset)


def finish_reason(parts: Sequence[Part]) -> str:
    return "length" if any(part.finish_reason == "length" for part in parts) else "stop"


def usage_of(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def record_of(turn: Done) -> Json:
    """What OpenAI's objects have no place for: who answered, why, how, and under which id it is recorded."""
    return {"turn_id": turn.turn_id, "parts": [_part(part) for part in turn.parts]}


def _part(part: Part) -> Json:
    return {
        "adapter": part.route.adapter,
        "digest": part.digest,
        "confidence": part.route.confidence,
        "reason": part.route.reason,
        "text": part.text,
        "finish_reason": part.finish_reason,
        "decoding": part.decoding.model_dump(mode="json"),
        "usage": usage_of(part.usage),
        "timing": part.timing.model_dump(mode="json"),
        **_passages(part.passages),
        **({"grounding": part.grounding.model_dump(mode="json")} if part.grounding else {}),
    }


def _passages(passages: Sequence[Passage]) -> Json:
    """In the order of their numbers; nothing where the answer is not from the documents."""
    return {"passages": [passage.model_dump(mode="json") for passage in passages]} if passages else {}
