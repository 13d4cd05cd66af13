"""What the command needs of a task, and what a run of one gives back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from assistant.messages import ChatRequest, Decoding, Message, StreamEvent
from eval.metrics.bootstrap import Measure

Mode = Literal["prompt", "few-shot", "tuned"]
Record = Mapping[str, Any]


class Replies(Protocol):
    """The service that users get, as far as a measurement needs it."""

    def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]: ...


@dataclass(frozen=True)
class Prompt:
    """One way to ask. The first prompt of a mode is the one measured unless another is named."""

    name: str
    mode: Mode
    messages: Callable[[Record], tuple[Message, ...]]


@dataclass(frozen=True)
class Outcome:
    """What a run measured. `examples` holds every example with its answer."""

    metrics: dict[str, Measure]
    examples: list[dict[str, Any]]
    config: dict[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """A task whose examples are asked one by one."""

    @property
    def name(self) -> str: ...

    @property
    def prompts(self) -> Sequence[Prompt]: ...

    @property
    def decoding(self) -> Decoding:
        """How the base is asked; an adapter is asked with the decoding of its card."""
        ...

    def load(self, data: str | None) -> list[Record]:
        """Examples of a file or hub dataset; the project's own small set for None. Raises DataError."""
        ...

    def score(self, records: Sequence[Record], answers: Sequence[str]) -> Outcome:
        """Raises EvaluationError where there is nothing to score."""
        ...
