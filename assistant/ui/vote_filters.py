"""Which votes are meant: one row of fields for the table, the leaderboard and the exports alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import gradio as gr

from assistant.catalog import Catalog
from assistant.errors import InvalidRequest
from assistant.feedback.export import adapters_of_task
from assistant.feedback.filters import Filters
from assistant.messages import BASE
from assistant.ui.compare_view import MODES
from assistant.ui.history import Updates
from assistant.ui.rating import clean_tags, tag_field

Kind = Literal["ranking", "rating"]
KINDS: dict[str, Kind | None] = {"Rankings and ratings": None, "Rankings": "ranking", "Ratings": "rating"}
ANY = "Any"
VOTERS = ("Everyone’s", "Mine")
SIGHT: dict[str, bool | None] = {"Hidden or told": None, "Hidden at the vote": True, "Told at the vote": False}


class VoteFilters:
    """The fields, built inside the current Blocks. Left alone they ask for nothing."""

    def build(self) -> None:
        with gr.Row(elem_classes="sb-fields"):
            self.text = gr.Textbox(
                label="Search in questions, answers, comments",
                placeholder="Enter searches",
                max_lines=1,
                min_width=220,
                scale=2,
                elem_id="vote-search",
            )
            self.voter = gr.Radio(VOTERS, value=VOTERS[0], label="Whose", elem_classes="sb-points", min_width=170)
            self.kind = gr.Dropdown(list(KINDS), value=next(iter(KINDS)), label="Kind", min_width=170)
        with gr.Accordion("More filters", open=False, elem_classes="sb-fold", elem_id="vote-more-filters"):
            with gr.Row(elem_classes="sb-fields"):
                ways = [(label, mode) for mode, label in MODES.items()]
                self.modes = gr.Dropdown(ways, value=[], label="Ways", multiselect=True, min_width=180)
                self.adapters = gr.Dropdown(
                    [BASE], value=[], label="Adapters", multiselect=True, allow_custom_value=True, min_width=180
                )
                self.task = gr.Dropdown([ANY], value=ANY, label="Task of an adapter", min_width=150)
            with gr.Row(elem_classes="sb-fields"):
                self.since = gr.DateTime(label="From day (UTC)", include_time=False, type="string", min_width=150)
                self.until = gr.DateTime(label="To day, included", include_time=False, type="string", min_width=150)
                self.sight = gr.Dropdown(list(SIGHT), value=next(iter(SIGHT)), label="Names", min_width=160)
                self.tags = tag_field()
            self.reset = gr.Button("Take all filters away", size="sm", min_width=160, scale=0)

    @property
    def fields(self) -> list[Any]:
        """What `read_filters` takes the values of."""
        return [self.text, self.voter, self.kind, self.modes, self.adapters, self.task, *self._last]

    @property
    def _last(self) -> list[Any]:
        return [self.since, self.until, self.sight, self.tags]

    @property
    def changes(self) -> list[Any]:
        """The events after which other votes are meant."""
        return [self.text.submit, *(field.change for field in self.fields[1:])]

    def cleared(self) -> list[Any]:
        return ["", VOTERS[0], next(iter(KINDS)), [], [], ANY, None, None, next(iter(SIGHT)), []]

    def offer(self, catalog: Catalog) -> Updates:
        """The adapters and tasks there are now. Values are left as they are."""
        adapters = catalog.adapters()
        tasks = sorted({adapter.card.task for adapter in adapters if adapter.card.task})
        return {
            self.adapters: gr.Dropdown(choices=[BASE, *(adapter.name for adapter in adapters)]),
            self.task: gr.Dropdown(choices=[ANY, *tasks]),
        }


def read_filters(values: Sequence[Any], owner: str, catalog: Catalog) -> Filters:
    """The filters that the fields make.

    Raises:
        InvalidRequest: a day is none.
        DataError: no adapter is for the task.
    """
    text, voter, kind, modes, adapters, task, since, until, sight, tags = values
    wanted = frozenset(adapters or ()) or None
    if task and task != ANY:
        of_task = adapters_of_task(catalog, task)
        wanted = of_task if wanted is None else wanted & of_task
    return Filters(
        since=read_day(since),
        until=read_day(until, later=1),
        voter=owner if voter == VOTERS[1] else None,
        kind=KINDS[kind],
        adapters=wanted,
        modes=frozenset(modes or ()) or None,
        text=(text or "").strip() or None,
        tags=frozenset(clean_tags(tags)),
        blind=SIGHT[sight],
    )


def read_day(text: str | None, later: int = 0) -> datetime | None:
    """The beginning of a day in UTC, or of one so many days later. Raises InvalidRequest."""
    if not text or not text.strip():
        return None
    try:
        day = date.fromisoformat(text.strip()[:10]) + timedelta(days=later)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"day {text!r}; allowed: year-month-day, such as 2026-11-21") from error
    return datetime.combine(day, time(), UTC)
