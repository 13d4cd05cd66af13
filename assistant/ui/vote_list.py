"""The table of votes, and one of them in a drawer: its answers, its history, its tags, and how to delete it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr

from assistant.errors import InvalidRequest, SwapboardError
from assistant.feedback.ballots import IMPORTED, Case, Vote
from assistant.feedback.filters import Filters
from assistant.feedback.votes import VoteStore
from assistant.ui import preference_view as view
from assistant.ui.history import Updates
from assistant.ui.pick_list import PICK
from assistant.ui.rating import clean_tags, tag_field
from assistant.ui.toast import inform, tell
from assistant.ui.visitor import read_visitor

PAGE = 50
Refresh = Callable[..., Awaitable[Updates]]


class VoteList:
    """Builds its part of the tab inside the current Blocks. Only one's own votes can be changed."""

    def __init__(self, votes: VoteStore) -> None:
        self.votes = votes

    def build(self) -> None:
        self.first = gr.State(0)
        self.opened = gr.State("")
        self.table = gr.HTML(elem_id="vote-table", apply_default_css=False, js_on_load=PICK)
        with gr.Row(elem_classes="sb-tools", visible=False) as self.pager:
            self.newer = gr.Button("Newer", size="sm", min_width=80, scale=0)
            self.older = gr.Button("Older", size="sm", min_width=80, scale=0)
            self.where = gr.HTML(apply_default_css=False)
        with gr.Column(visible=False, elem_id="vote-drawer", elem_classes="sb-drawer") as self.panel:
            with gr.Row(elem_classes="sb-panel-head"):
                gr.HTML("<h3>Vote</h3>", elem_classes="sb-heading", apply_default_css=False)
                self.close = gr.Button("Close", size="sm", min_width=80, scale=0, elem_classes="sb-drawer-close")
            self.detail = gr.HTML(apply_default_css=False, elem_id="vote-detail")
            with gr.Column(elem_id="vote-own") as self.own:
                with gr.Row(elem_classes="sb-fields"):
                    self.tags = tag_field()
                with gr.Row(elem_classes="sb-tools"):
                    self.retag = gr.Button("Save the tags", size="sm", min_width=120, scale=0)
                    self.delete = gr.Button("Delete this vote", size="sm", min_width=120, scale=0)
                with gr.Group(visible=False, elem_id="vote-delete-form") as self.delete_form:
                    gr.HTML(
                        "<p>Delete this vote and what you said about the same before, for good?</p>",
                        elem_classes="sb-question",
                        apply_default_css=False,
                    )
                    with gr.Row(elem_classes="sb-tools"):
                        self.really_delete = gr.Button("Delete it", variant="stop", size="sm", min_width=80)
                        self.keep = gr.Button("Keep it", size="sm", min_width=80)
            self.others = gr.HTML(
                '<p class="sb-hint">Another voter’s: only they can change or delete it.</p>', apply_default_css=False
            )

    def connect(self, browser: gr.BrowserState, filters: list[Any], refresh: Refresh, outputs: list[Any]) -> None:
        """`refresh(kept, first, *filters)` gives the updates of `outputs` that show the votes anew."""
        self._refresh = refresh
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        here = [browser, self.opened]
        again = [self.first, *filters]
        self.table.select(self._open, browser, self.drawer, **quiet)
        self.close.click(lambda: gr.Column(visible=False), None, self.panel, **quiet)
        self.retag.click(self._retag, [*here, self.tags, *again], [*outputs, *self.drawer], **quiet)
        self.delete.click(lambda: gr.Group(visible=True), None, self.delete_form, **quiet)
        self.keep.click(lambda: gr.Group(visible=False), None, self.delete_form, **quiet)
        self.really_delete.click(self._delete, [*here, *again], [*outputs, *self.drawer], **quiet)
        for button, step in ((self.newer, -PAGE), (self.older, PAGE)):
            button.click(self._turner(step), [browser, *again], outputs, **quiet)

    @property
    def outputs(self) -> list[Any]:
        return [self.first, self.table, self.pager, self.where]

    @property
    def drawer(self) -> list[Any]:
        return [self.panel, self.opened, self.detail, self.tags, self.own, self.others, self.delete_form]

    def show(self, cases: list[Case], owner: str, filters: Filters, first: int) -> Updates:
        """A page of these votes, from number `first` on, or the first page where there are no more."""
        first = first if 0 <= first < len(cases) else 0
        last = min(first + PAGE, len(cases))
        told = f'<span class="sb-hint">{first + 1}–{last} of {len(cases)}</span>'
        return {
            self.first: first,
            self.table: view.vote_table(cases[first:last], owner, filters != Filters()),
            self.pager: gr.Row(visible=len(cases) > PAGE),
            self.where: told,
        }

    # Events ---------------------------------------------------------------------------------------

    def _turner(self, step: int) -> Callable[..., Awaitable[Updates]]:
        async def turn(kept: Any, first: int, *filters: Any) -> Updates:
            return await self._refresh(kept, max(first + step, 0), *filters)

        return turn

    async def _open(self, kept: Any, event: gr.SelectData) -> Updates:
        try:
            return await self._opened(read_visitor(kept).owner, str(event.value))
        except SwapboardError as error:
            tell(error, "The vote cannot be shown")
            return {self.panel: gr.skip()}

    async def _opened(self, owner: str, vote_id: str) -> Updates:
        case, history = await asyncio.to_thread(self._read, vote_id)
        is_own = case.vote.voter == owner
        return {
            self.panel: gr.Column(visible=True),
            self.opened: vote_id,
            self.detail: view.vote_detail(case, history, owner),
            self.tags: list(case.vote.ballot.tags),
            self.own: gr.Column(visible=is_own),
            self.others: gr.HTML(visible=not is_own),
            self.delete_form: gr.Group(visible=False),
        }

    def _read(self, vote_id: str) -> tuple[Case, list[Vote]]:
        case = self.votes.case(vote_id)
        return case, self.votes.history(case.vote.voter, case.vote.subject_id)

    async def _retag(self, kept: Any, opened: str, tags: list[str], first: int, *filters: Any) -> Updates:
        owner = read_visitor(kept).owner
        try:
            await asyncio.to_thread(self._check_own, owner, opened)
            await asyncio.to_thread(self.votes.retag, opened, clean_tags(tags))
            updates = await self._opened(owner, opened)
        except SwapboardError as error:
            tell(error, "The tags were not saved")
            return {self.panel: gr.skip()}
        inform("The tags are saved.")
        return {**updates, **await self._refresh(kept, first, *filters)}

    async def _delete(self, kept: Any, opened: str, first: int, *filters: Any) -> Updates:
        try:
            await asyncio.to_thread(self._check_own, read_visitor(kept).owner, opened)
            await asyncio.to_thread(self.votes.delete, opened)
        except SwapboardError as error:
            tell(error, "The vote was not deleted")
            return {self.panel: gr.skip()}
        inform("The vote is deleted.")
        closed = {self.panel: gr.Column(visible=False), self.delete_form: gr.Group(visible=False), self.opened: ""}
        return {**closed, **await self._refresh(kept, first, *filters)}

    def _check_own(self, owner: str, vote_id: str) -> None:
        """Raises InvalidRequest for another's vote, NotFound where there is none."""
        if owner.startswith(IMPORTED) or self.votes.case(vote_id).vote.voter != owner:
            raise InvalidRequest("this is another voter’s; only they can change or delete it")
