"""The Preferences tab: look at the votes, see who leads, take them out and bring them in, and one's own data."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import gradio as gr

from assistant.catalog import Catalog
from assistant.errors import SwapboardError
from assistant.feedback.battles import By
from assistant.feedback.filters import Filters
from assistant.feedback.votes import VoteStore
from assistant.ui.history import Updates
from assistant.ui.own_votes import OwnVotes
from assistant.ui.standings import Standings
from assistant.ui.toast import tell
from assistant.ui.visitor import read_visitor
from assistant.ui.vote_files import VoteFiles
from assistant.ui.vote_filters import VoteFilters, read_filters
from assistant.ui.vote_list import VoteList

Look = Literal["votes", "board", "own", "out", "in"]
"""Which part of the tab is open; the last two show nothing that changes by itself."""


class PreferencesTab:
    """Builds the tab inside the current Blocks. One set of filters says which votes all of its parts are about."""

    def __init__(self, votes: VoteStore, catalog: Catalog) -> None:
        self.votes = votes
        self.catalog = catalog
        self.filters = VoteFilters()
        self.list = VoteList(votes)
        self.standings = Standings()
        self.files = VoteFiles(votes)
        self.own = OwnVotes(votes)

    def build(self) -> None:
        self.look = gr.State("votes")
        with gr.Column(elem_id="vote-filters", elem_classes="sb-panel"):
            self.filters.build()
        self.tabs: dict[Look, gr.Tab] = {}
        with gr.Tabs(elem_id="preference-kinds"):
            with gr.Tab("Votes", id="votes") as self.tabs["votes"]:
                self.list.build()
            with gr.Tab("Leaderboard", id="board") as self.tabs["board"]:
                self.standings.build()
            with gr.Tab("Take out", id="out") as self.tabs["out"]:
                self.files.build_export()
            with gr.Tab("Bring in", id="in") as self.tabs["in"]:
                self.files.build_import()
            with gr.Tab("Your data", id="own") as self.tabs["own"]:
                self.own.build()

    def connect(self, tab: gr.Tab, browser: gr.BrowserState) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        filters = self.filters.fields
        shown = [*self.list.outputs, *self.standings.outputs, *self.own.outputs]
        told = [browser, self.standings.by, *filters]
        offered = [self.filters.adapters, self.filters.task]
        tab.select(lambda: self.filters.offer(self.catalog), None, offered, **quiet)
        for look, part in self.tabs.items():
            part.select(lambda look=look: look, None, self.look, **quiet)
        # One listener for all, so that no answer to what was asked before comes after the last; and what is asked while
        # it reads is asked once it is done.
        gr.on(
            [tab.select, self.look.change, *self.filters.changes, self.standings.by.change],
            self._shown,
            [self.look, *told],
            shown,
            trigger_mode="always_last",
            **quiet,
        )
        self.filters.reset.click(self.filters.cleared, None, filters, **quiet)
        self.list.connect(browser, filters, self._list_anew, self.list.outputs)
        self.files.connect(browser, filters, self._read)
        self.own.connect(browser)

    # Events ---------------------------------------------------------------------------------------

    async def _shown(self, look: Look, kept: Any, by: By, *filters: Any) -> Updates:
        """The part that is open, as the store has it."""
        owner = read_visitor(kept).owner
        try:
            if look == "own":
                return await self.own.show(owner)
            if look == "votes":
                return await self._list(owner, 0, filters)
            if look == "board":
                wanted = self._read(owner, filters)
                cases = await asyncio.to_thread(self.votes.votes, wanted)
                return await self.standings.show(cases, by, wanted != Filters())
        except SwapboardError as error:
            tell(error, "The votes cannot be shown")
        return {self.list.first: gr.skip()}

    async def _list_anew(self, kept: Any, first: int, *filters: Any) -> Updates:
        try:
            return await self._list(read_visitor(kept).owner, first, filters)
        except SwapboardError as error:
            tell(error, "The votes cannot be shown")
            return {self.list.first: gr.skip()}

    async def _list(self, owner: str, first: int, filters: tuple[Any, ...]) -> Updates:
        """Raises InvalidRequest, DataError, StoreUnavailable."""
        wanted = self._read(owner, filters)
        return self.list.show(await asyncio.to_thread(self.votes.votes, wanted), owner, wanted, first)

    def _read(self, owner: str, filters: tuple[Any, ...]) -> Filters:
        return read_filters(filters, owner, self.catalog)
