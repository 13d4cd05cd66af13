"""What a comparison tells while it runs.

First one `ComparisonStarted`, then the `ColumnEvent`s of all columns as they come, each column's in the order that
`assistant.messages` gives, last one `ComparisonDone`. A column that fails ends in its own `Failed`; the others go on.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from assistant.messages import Frozen, StreamEvent


class ComparisonStarted(Frozen):
    """`order[place]` is the contestant at that place from the left, as numbered in the request; None when blind."""

    kind: Literal["comparison_started"] = "comparison_started"
    id: str
    order: tuple[int, ...] | None


class ColumnEvent(Frozen):
    """`column` is the place from the left, from 0. In a blind comparison the event tells the text and nothing else."""

    kind: Literal["column"] = "column"
    column: int
    event: Annotated[StreamEvent, Field(discriminator="kind")]


class ComparisonDone(Frozen):
    """Every column has ended, and all of it is recorded."""

    kind: Literal["comparison_done"] = "comparison_done"
    id: str


ComparisonEvent = ComparisonStarted | ColumnEvent | ComparisonDone
