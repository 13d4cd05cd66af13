"""The leaderboard: who is preferred, with intervals, and what that rests on."""

from __future__ import annotations

from typing import Any

import gradio as gr

from assistant.background import in_background
from assistant.feedback.ballots import Case
from assistant.feedback.battles import By
from assistant.feedback.leaderboard import FEWEST, Leaderboard, leaderboard
from assistant.ui import standing_view as view
from assistant.ui.history import Updates
from assistant.ui.preference_view import NONE_FITS, NONE_YET

BY: list[tuple[str, By]] = [("Way and adapter", "contestant"), ("Way", "mode"), ("Adapter", "adapter")]
HOW = (
    '<p class="sb-hint">Bradley–Terry strengths with ties as Davidson has them, in Elo points around 1000; brackets and '
    "bars are 95 % intervals from 1,000 bootstrap samples of whole rankings. Too few votes for one have those in fewer "
    f"than {FEWEST} rankings, and those who only won or only lost. The other column takes away what standing further left "
    "and being longer did.</p>"
)
NO_BATTLES = '<p class="sb-empty">No two answers have been ranked against each other yet: vote in <b>Compare</b>.</p>'


class Standings:
    """Builds its part of the tab inside the current Blocks."""

    def build(self) -> None:
        with gr.Row(elem_classes="sb-fields"):
            self.by = gr.Radio(BY, value="contestant", label="Compare by", elem_classes="sb-points", elem_id="board-by")
        self.empty = gr.HTML(NONE_YET, apply_default_css=False)
        with gr.Column(visible=False, elem_id="board") as self.panel:
            with gr.Column(visible=False) as self.fought:
                self.table = gr.HTML(apply_default_css=False, elem_id="board-table")
                self.plot = gr.HTML(apply_default_css=False, elem_id="board-plot")
                gr.HTML(HOW, apply_default_css=False)
                gr.HTML("<h3>Who beats whom</h3>", elem_classes="sb-heading", apply_default_css=False)
                self.matrix = gr.HTML(apply_default_css=False, elem_id="board-matrix")
            self.basis = gr.HTML(apply_default_css=False, elem_id="board-basis")
            gr.HTML("<h3>Votes per day</h3>", elem_classes="sb-heading", apply_default_css=False)
            self.days = gr.HTML(apply_default_css=False, elem_id="board-days")
            gr.HTML("<h3>Do voters agree?</h3>", elem_classes="sb-heading", apply_default_css=False)
            self.agreement = gr.HTML(apply_default_css=False, elem_id="board-agreement")

    @property
    def outputs(self) -> list[Any]:
        return [
            *(self.empty, self.panel, self.fought, self.table, self.plot),
            *(self.matrix, self.basis, self.days, self.agreement),
        ]

    async def show(self, cases: list[Case], by: By, is_filtered: bool) -> Updates:
        """The leaderboard of these votes. It is computed beside the event loop."""
        if not cases:
            told = NONE_FITS if is_filtered else NONE_YET
            return {self.empty: gr.HTML(told, visible=True), self.panel: gr.Column(visible=False)}
        return await in_background(self._computed, cases, by)

    def _computed(self, cases: list[Case], by: By) -> Updates:
        board = leaderboard(cases, by)
        return {
            self.empty: gr.HTML(NO_BATTLES, visible=not board.standings),
            self.panel: gr.Column(visible=True),
            self.fought: gr.Column(visible=bool(board.standings)),
            **(self._fought(board, by) if board.standings else {}),
            self.basis: view.basis(board),
            self.days: view.days_plot(board.votes_per_day),
            self.agreement: view.agreement_table(board),
        }

    def _fought(self, board: Leaderboard, by: By) -> Updates:
        return {
            self.table: view.standings_table(board, by),
            self.plot: view.standings_plot(board, by),
            self.matrix: view.matrix_table(board, by),
        }
