"""What the store of comparisons gives back, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from assistant.messages import Part

ComparisonState = Literal["waiting", "running", "finished", "failed", "cancelled", "interrupted"]
"""`finished` has at least one answer, `failed` none; `interrupted` was cut off by the program's end."""

BatchState = Literal["running", "finished", "cancelled"]

ColumnState = Literal["waiting", "running", "finished", "failed", "cancelled"]


@dataclass(frozen=True)
class Seat:
    """A column that is to be asked: the contestant's number, its place from the left, the turn it is recorded as."""

    position: int
    shown: int
    turn_id: str


@dataclass(frozen=True)
class Answered:
    """One column and what came of it. `shown` is its place from the left, from 0.

    `mode` is the way it was answered: where one of several drawn answers was chosen it says so. While names are
    hidden, `position`, `mode` and `adapter` are None and `parts` hold nothing but text.
    """

    shown: int
    turn_id: str
    state: ColumnState
    parts: tuple[Part, ...]
    error: str | None
    position: int | None = None
    mode: str | None = None
    adapter: str | None = None

    @property
    def text(self) -> str:
        """The answer, or as much of it as there was."""
        return "\n\n".join(part.text for part in self.parts)

    @property
    def letter(self) -> str:
        """What the column is called while it has no name."""
        return "ABCDEF"[self.shown]


@dataclass(frozen=True)
class Comparison:
    """One question side by side; `columns` from left to right, empty in a listing.

    `request` is the whole request as it was asked, its contestants by number; `error` says why a row of a batch
    could not be asked at all.
    """

    id: str
    owner: str
    batch_id: str | None
    position: int
    created_at: datetime
    finished_at: datetime | None
    state: ComparisonState
    question: str
    request: dict[str, Any]
    blind: bool
    revealed_at: datetime | None
    error: str | None
    columns: tuple[Answered, ...] = ()

    @property
    def is_hidden(self) -> bool:
        """Whether the names are still to be told."""
        return self.blind and self.revealed_at is None

    @property
    def is_over(self) -> bool:
        return self.state not in ("waiting", "running")

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(self.request.get("references", ()))


@dataclass(frozen=True)
class Batch:
    """A set of questions put to the same contestants. `done` of its `rows` are over, `failed` of those got no answer."""

    id: str
    owner: str
    name: str
    created_at: datetime
    finished_at: datetime | None
    state: BatchState
    template: dict[str, Any]
    rows: int
    done: int
    failed: int
