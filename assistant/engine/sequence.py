"""One request on its way through the engine."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from assistant.adapter_pool.pool import Lease
from assistant.catalog import Adapter
from assistant.engine.spans import SpanConstraint
from assistant.errors import SwapboardError
from assistant.messages import Decoding, Finished, FinishReason, Scored, Timing, Usage

log = logging.getLogger(__name__)

_ids = itertools.count()


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(eq=False)
class Sequence:
    """A prompt, and the answer as it grows.

    Positions count virtual tokens first (a soft prompt's, `virtual` of them), then `tokens`.
    `computed` positions lie in the cache slot; the rest are still to be run.

    `stream` (text so far), `scores` (those asked for), `generator` (random numbers) and `reward` (what a reward
    adapter makes of the prompt) are set by the engine when first needed.

    Args:
        prompt: token ids.
        adapter: None for the base.
        max_tokens: most tokens of the answer.
        emit: receives text pieces and at the end one `Finished` or the error; called on the engine's thread.
        echo: the prompt's text comes first, with its scores where any are asked for.
        constraint: which tokens may come next.
        continues: the answer goes on in the middle of the prompt's text.
    """

    prompt: tuple[int, ...]
    adapter: Adapter | None
    decoding: Decoding
    max_tokens: int
    emit: Callable[[str | Scored | Finished | SwapboardError], None]
    echo: bool = False
    constraint: SpanConstraint | None = None
    continues: bool = False
    virtual: int = 0
    id: int = field(default_factory=lambda: next(_ids))
    state: State = State.WAITING
    tokens: list[int] = field(init=False)
    computed: int = 0
    cached: int = 0
    passed: int = 0
    slot: int | None = None
    lease: Lease | None = None
    is_cancelled: bool = False
    stream: Any = None
    scores: Any = None
    generator: Any = None
    reward: float | None = None
    submitted: float = field(default_factory=time.perf_counter)
    admitted: float = 0.0
    first_token: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = list(self.prompt)

    @property
    def key(self) -> str | None:
        """What the cache content depends on besides the tokens."""
        return self.adapter.digest if self.adapter else None

    @property
    def length(self) -> int:
        """Positions known so far, virtual ones included."""
        return self.virtual + len(self.tokens)

    @property
    def left(self) -> int:
        """Positions still to be run; 1 while decoding."""
        return self.length - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.prompt)

    @property
    def scores_prompt(self) -> bool:
        """Then every token of the prompt is run, wherever else its keys and values lie."""
        return self.echo and self.decoding.logprobs is not None

    @property
    def goes_on_from(self) -> tuple[int, ...]:
        """Tokens whose text the answer's own goes on from."""
        return self.prompt if self.continues else ()

    @property
    def is_prefilling(self) -> bool:
        return self.left > 1 or not self.generated

    @property
    def is_over(self) -> bool:
        return self.state in (State.FINISHED, State.CANCELLED, State.FAILED)

    def cancel(self) -> None:
        """Ask for the end; the engine honours it before its next step. Safe from any thread."""
        self.is_cancelled = True

    def tell(self, item: str | Scored | Finished | SwapboardError) -> None:
        """Emit an item. Whoever cannot take it, say because its event loop is closed, ends this request alone."""
        try:
            self.emit(item)
        except Exception:
            log.exception("request %d could not be told %r", self.id, item)
            self.cancel()

    def summary(self, reason: FinishReason) -> Finished:
        now = time.perf_counter()
        return Finished(
            finish_reason=reason,
            usage=Usage(prompt_tokens=len(self.prompt), cached_tokens=self.cached, completion_tokens=self.generated),
            timing=Timing(
                queued=(self.admitted or now) - self.submitted,
                first_token=(self.first_token or now) - self.submitted,
                total=now - self.submitted,
            ),
            scores=tuple(self.scores.answer) if self.scores else (),
            prompt_scores=tuple(self.scores.prompt) if self.scores else (),
        )


def common_beginning(first: Tokens[int], second: Tokens[int]) -> int:
    """How many tokens two lists of them begin with alike."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    return next(i for i in range(limit) if first[i] != second[i])
