"""What follows the answers of a comparison: the vote and the reveal, ratings of single answers, what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr

from assistant.errors import InvalidRequest, NotFound, SwapboardError
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.votes import Ranking, VoteStore
from assistant.ui import compare_view as view
from assistant.ui.board import LETTERS, Board, from_record
from assistant.ui.compare_parts import SCROLL, CompareParts
from assistant.ui.history import Updates
from assistant.ui.ranking import by_place, ranking_html, read_ranks, vote_note
from assistant.ui.rating import EMPTY, checked, clean_tags, is_empty, rating_values, read_rating, summary
from assistant.ui.toast import tell
from assistant.ui.visitor import read_visitor

Shows = Callable[[str, Board], Awaitable[Updates]]
"""Gives the updates that show a comparison whole, as the store has it."""


class Verdicts:
    """Answers the events below the columns. Everything is told as kept only once the store has returned."""

    def __init__(self, comparisons: ComparisonStore, votes: VoteStore, parts: CompareParts) -> None:
        self.comparisons = comparisons
        self.votes = votes
        self.parts = parts

    def connect(self, browser: gr.BrowserState, opened: gr.BrowserState, shown: list[Any], shows: Shows) -> None:
        self._shows = shows
        parts = self.parts
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        here = [browser, opened]
        parts.ranking.select(self._rank, [*here, parts.tags, parts.comment], shown, **quiet)
        parts.reveal.click(self._reveal, here, shown, **quiet)
        form = [parts.rated, parts.drafts, *parts.form.fields]
        rating = [*form, parts.rating, parts.rating_head, parts.rating_note]
        for column in parts.columns:
            column.select(self._choose, [*here, *form], rating, **quiet).then(
                None, None, None, js=SCROLL.format("compare-rating"), **quiet
            )
        parts.save_rating.click(self._rate, [*here, *form], rating, **quiet)
        parts.clear_rating.click(lambda: list(EMPTY), None, parts.form.fields, **quiet)
        parts.close_rating.click(self._close, form, rating, **quiet)
        parts.differ.click(self._differ, [*here, parts.left, parts.right], parts.difference, **quiet)

    # Showing --------------------------------------------------------------------------------------

    def settled(self, owner: str, board: Board) -> Updates:
        """The panel for a comparison that is over, with what this visitor has said of it. Raises StoreUnavailable."""
        parts = self.parts
        vote, changes = None, 0
        if board.id is not None and board.can_be_ranked:
            vote = self.votes.ranking(owner, board.id)
            changes = max(len(self.votes.history(owner, board.id)) - 1, 0)
        ranks = ranks_by_place(board, vote)
        return {
            parts.vote: gr.Group(visible=board.can_be_ranked),
            parts.reveal: gr.Button(visible=board.is_hidden and board.is_over),
            parts.ranking: ranking_html(board, ranks) if board.can_be_ranked else "",
            parts.vote_note: vote_note(vote, ranks, changes) if vote else "",
            parts.tags: list(vote.tags) if vote else [],
            parts.comment: vote.comment if vote else "",
            **parts.show_differences(board),
        }

    def blank(self) -> Updates:
        """The panel before there are answers: nothing of the comparison before is left in it."""
        parts = self.parts
        cleared = dict(zip(parts.form.fields, EMPTY, strict=True))
        hidden: Updates = {parts.rating: gr.Group(visible=False), parts.rated: None, parts.drafts: {}}
        return {**cleared, **hidden, parts.rating_note: "", parts.vote_note: "", parts.difference: ""}

    # Voting ---------------------------------------------------------------------------------------

    async def _rank(self, event: gr.SelectData, kept: Any, opened: Any, tags: list[str], comment: str) -> Updates:
        owner = read_visitor(kept).owner
        try:
            board = await asyncio.to_thread(self._board, owner, opened)
            ranking = self._read_vote(board, event.value, tags, comment)
            await asyncio.to_thread(self.votes.rank, owner, ranking, None, True)
        except SwapboardError as error:
            tell(error, "Your vote was not saved")
            return {self.parts.vote_note: _not_saved("Your vote", error)}
        try:
            return await self._shown(owner, await asyncio.to_thread(self._told, owner, board))
        except SwapboardError as error:
            tell(error, "Your vote is saved, but the names cannot be shown")
            return {self.parts.vote_note: '<p class="sb-vote" role="status">Your vote is saved.</p>'}

    def _read_vote(self, board: Board, value: Any, tags: list[str], comment: str) -> Ranking:
        verdict = value.get("verdict") if isinstance(value, dict) else None
        if board.id is None or verdict not in ("ranked", "all_bad", "skipped"):
            raise InvalidRequest("the vote does not fit the answers shown; reload the page")
        return checked(
            Ranking,
            comparison_id=board.id,
            verdict=verdict,
            ranks=read_ranks(board, value) if verdict == "ranked" else (),
            comment=(comment or "").strip(),
            tags=clean_tags(tags),
        )

    async def _reveal(self, kept: Any, opened: Any) -> Updates:
        owner = read_visitor(kept).owner
        try:
            board = await asyncio.to_thread(self._board, owner, opened)
            return await self._shown(owner, await asyncio.to_thread(self._told, owner, board))
        except SwapboardError as error:
            tell(error, "The names cannot be shown")
            return {self.parts.reveal: gr.skip()}

    def _told(self, owner: str, board: Board) -> Board:
        """The comparison with its names told from now on."""
        if board.id is None:
            raise NotFound("no comparison is open")
        return from_record(self.comparisons.reveal(board.id, owner)) if board.is_hidden else board

    async def _shown(self, owner: str, board: Board) -> Updates:
        return await self._shows(owner, board)

    def _board(self, owner: str, opened: Any) -> Board:
        """The comparison that is open on the page, as the store has it. Raises NotFound."""
        if not isinstance(opened, str) or not opened:
            raise NotFound("no comparison is open")
        return from_record(self.comparisons.comparison(opened, owner))

    # Rating one answer ----------------------------------------------------------------------------

    async def _choose(
        self, event: gr.SelectData, kept: Any, opened: Any, rated: str | None, drafts: dict[str, Any], *rest: Any
    ) -> Updates:
        """Open the form for an answer. What was typed for another one is kept for when it is opened again."""
        parts, owner = self.parts, read_visitor(kept).owner
        drafts = {**drafts, rated: list(rest)} if rated else drafts
        try:
            board = await asyncio.to_thread(self._board, owner, opened)
            place = int(event.value)
            turn_id = board.columns[place].turn_id
            if place not in board.finished or turn_id is None:
                raise InvalidRequest("only finished answers can be rated")
            said = await asyncio.to_thread(self.votes.rating, owner, turn_id)
        except SwapboardError as error:
            tell(error)
            return {parts.rating: gr.skip()}
        values = drafts.get(turn_id) or rating_values(said)
        return {
            parts.rated: turn_id,
            parts.drafts: drafts,
            parts.rating: gr.Group(visible=True),
            parts.rating_head: f"<h3>Rate answer {LETTERS[place]}</h3>",
            parts.rating_note: _kept(summary(said)) if said and not said.is_empty else "",
            **dict(zip(parts.form.fields, values, strict=True)),
        }

    async def _rate(self, kept: Any, opened: Any, rated: str | None, drafts: dict[str, Any], *values: Any) -> Updates:
        parts, owner = self.parts, read_visitor(kept).owner
        try:
            if not rated:
                raise InvalidRequest("pick the answer first")
            rating = read_rating(rated, values)
            await asyncio.to_thread(self.votes.rate, owner, rating)
        except SwapboardError as error:
            tell(error, "Your rating was not saved")
            return {parts.rating_note: _not_saved("Your rating", error)}
        left = {turn_id: draft for turn_id, draft in drafts.items() if turn_id != rated}
        note = "Your rating is taken back." if rating.is_empty else ""
        return {parts.drafts: left, parts.rating_note: _kept(summary(rating)) if not note else _note(note)}

    def _close(self, rated: str | None, drafts: dict[str, Any], *values: Any) -> Updates:
        parts = self.parts
        if rated and not is_empty(values):
            drafts = {**drafts, rated: list(values)}
        return {parts.rating: gr.Group(visible=False), parts.rated: None, parts.drafts: drafts}

    # What differs ---------------------------------------------------------------------------------

    async def _differ(self, kept: Any, opened: Any, left: int | None, right: int | None) -> str:
        try:
            board = await asyncio.to_thread(self._board, read_visitor(kept).owner, opened)
            places = range(len(board.columns))
            if left is None or right is None or left == right or left not in places or right not in places:
                raise InvalidRequest("pick two different answers")
        except SwapboardError as error:
            tell(error)
            return ""
        return await asyncio.to_thread(view.difference_html, board, left, right)


def ranks_by_place(board: Board, vote: Ranking | None) -> tuple[int, ...]:
    """An earlier vote as the columns stand; empty while names, and with them the places, are hidden."""
    order = [column.position for column in board.columns]
    known = [position for position in order if position is not None]
    return by_place(vote.ranks, known) if vote and len(known) == len(order) else ()


def _kept(text: str) -> str:
    return _note(f"Saved: {text}. Save again to change it.")


def _note(text: str) -> str:
    return f'<p class="sb-vote" role="status">{view.one_line(text)}</p>'


def _not_saved(what: str, error: SwapboardError) -> str:
    return f'<p class="sb-refusal" role="alert">{view.one_line(f"{what} was not saved: {error}")}</p>'
