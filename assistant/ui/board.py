"""One comparison as the page shows it, whether it is being answered or comes from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from assistant.comparison.events import ColumnEvent, ComparisonEvent, ComparisonStarted
from assistant.comparison.request import ComparisonRequest, Contestant
from assistant.comparison.scores import Scores, score
from assistant.feedback.comparison_records import Answered, ColumnState, Comparison
from assistant.messages import Done, Drew, Failed, Part, PartFinished, PartStarted, Reward, StreamEvent, TextDelta

LETTERS = "ABCDEF"


@dataclass(frozen=True)
class Column:
    """One answer. `contestant` and `position` (its number as asked for) are None while names are hidden.

    `drew` is set while a best of n is under way.
    """

    contestant: Contestant | None = None
    position: int | None = None
    state: ColumnState = "waiting"
    text: str = ""
    part: Part | None = None
    error: str | None = None
    turn_id: str | None = None
    drew: Drew | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("finished", "failed", "cancelled")

    def after(self, event: StreamEvent) -> Column:
        """The column once `event` has happened in it."""
        match event:
            case PartStarted():
                return replace(self, state="running")
            case Drew():
                return replace(self, drew=event)
            case TextDelta():
                return replace(self, text=self.text + event.text)
            case PartFinished():
                return replace(self, text=event.part.text, part=event.part)
            case Done():
                # Its reward, where one was asked for, is in the last word on it only.
                part = event.parts[0] if event.parts else self.part
                return replace(self, state="finished", text=event.text, part=part, turn_id=event.turn_id)
            case Failed():
                return replace(self, state="failed", error=event.message, turn_id=event.turn_id)


@dataclass(frozen=True)
class Board:
    """`columns` from left to right. `id` is None until the comparison is recorded; `error` says why there is none."""

    request: ComparisonRequest
    columns: tuple[Column, ...]
    id: str | None = None
    is_hidden: bool = False
    is_over: bool = False
    error: str | None = None

    @property
    def finished(self) -> tuple[int, ...]:
        """The places whose answers have finished: those that can be voted on."""
        return tuple(place for place, column in enumerate(self.columns) if column.state == "finished")

    @property
    def can_be_ranked(self) -> bool:
        return self.is_over and len(self.finished) > 1

    @property
    def scores(self) -> dict[int, Scores]:
        """By place, how near each finished answer is to the references, in [0, 1]; nothing while names are hidden.

        A figure beside a nameless answer would vote before the visitor does.
        """
        if self.is_hidden:
            return {}
        made = {place: score(self.columns[place].text, self.request.references) for place in self.finished}
        return {place: scores for place, scores in made.items() if scores is not None}

    @property
    def rewards(self) -> dict[int, Reward]:
        """By place, what the judge who was asked for made of each finished answer; nothing while names are hidden."""
        if self.is_hidden:
            return {}
        made = {place: self.columns[place].part for place in self.finished}
        return {place: part.reward for place, part in made.items() if part is not None and part.reward is not None}

    def rewarded(self, rewards: Mapping[int, Reward]) -> Board:
        """The comparison with these rewards, by place, and no others."""
        columns = tuple(
            replace(column, part=column.part and column.part.model_copy(update={"reward": rewards.get(place)}))
            for place, column in enumerate(self.columns)
        )
        return replace(self, columns=columns)

    def after(self, event: ComparisonEvent) -> Board:
        """The comparison once `event` has happened."""
        match event:
            case ComparisonStarted():
                if event.order is None:
                    return replace(self, id=event.id)
                named = tuple(Column(self.request.contestants[position], position) for position in event.order)
                return replace(self, id=event.id, columns=named)
            case ColumnEvent():
                columns = list(self.columns)
                columns[event.column] = columns[event.column].after(event.event)
                return replace(self, columns=tuple(columns))
        return replace(self, is_over=True)

    def ended(self, error: str | None = None) -> Board:
        """The comparison once nothing more will come: it was stopped, or failed as a whole."""
        columns = tuple(column if column.is_over else replace(column, state="cancelled") for column in self.columns)
        return replace(self, columns=columns, is_over=True, error=error)


def new_board(request: ComparisonRequest) -> Board:
    """A comparison of which nothing has come yet."""
    return Board(request, tuple(Column() for _ in request.contestants), is_hidden=request.blind)


def from_record(record: Comparison) -> Board:
    """The comparison that the store kept."""
    request = ComparisonRequest.model_validate(record.request)
    columns = tuple(_column(request, answered) for answered in record.columns)
    return Board(request, columns, record.id, record.is_hidden, record.is_over, record.error)


def _column(request: ComparisonRequest, answered: Answered) -> Column:
    return Column(
        contestant=None if answered.position is None else request.contestants[answered.position],
        position=answered.position,
        state=answered.state,
        text=answered.text,
        part=answered.parts[0] if answered.parts else None,
        error=answered.error,
        turn_id=answered.turn_id,
    )
