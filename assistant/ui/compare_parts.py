"""What one comparison is made of on the page, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from assistant.comparison.request import MOST
from assistant.comparison.scores import Scores
from assistant.ui import compare_view as view
from assistant.ui.board import LETTERS, Board
from assistant.ui.history import Updates
from assistant.ui.pick_list import PICK
from assistant.ui.ranking import RANK
from assistant.ui.rating import RatingForm, tag_field

SCROLL = "() => document.getElementById('{}')?.scrollIntoView({{block: 'nearest', behavior: 'smooth'}})"


class CompareParts:
    """The components, built inside the current Blocks: the question, the columns, and what comes after the answers."""

    def build(self) -> None:
        self.question = gr.Textbox(
            show_label=False,
            placeholder="One question for all columns (Enter sends)",
            lines=1,
            max_lines=8,
            submit_btn=True,
            container=False,
            elem_id="compare-question",
            elem_classes="sb-composer",
        )
        with gr.Row(elem_id="compare-options", elem_classes="sb-fields"):
            self.blind = gr.Checkbox(
                label="Blind",
                info="shuffled; names and figures come with your vote",
                min_width=260,
                scale=1,
                elem_id="compare-blind",
            )
            self.reference = gr.Textbox(
                label="Reference answer, where there is one: gives EM, F1 and ROUGE-L (an empty line between several)",
                lines=1,
                max_lines=6,
                min_width=300,
                scale=3,
                elem_id="compare-reference",
            )
        # Always there, and hidden by the stylesheet while empty: what has just been made visible loses updates.
        with gr.Row(elem_id="compare-columns", elem_classes="sb-columns"):
            self.columns = [
                gr.HTML(apply_default_css=False, js_on_load=PICK, elem_classes="sb-place", min_width=0)
                for _ in range(MOST)
            ]
        with gr.Column(visible=False, elem_id="compare-after") as self.after:
            self._build_vote()
            self._build_rating()
            self._build_difference()

    def _build_vote(self) -> None:
        with gr.Group(elem_id="compare-vote", elem_classes="sb-panel") as self.vote:
            with gr.Row(elem_classes="sb-panel-head"):
                gr.HTML("<h3>Which is best?</h3>", elem_classes="sb-heading", apply_default_css=False)
                self.reveal = gr.Button(
                    "Reveal without voting", size="sm", min_width=160, scale=0, visible=False, elem_id="compare-reveal"
                )
            self.vote_note = gr.HTML(apply_default_css=False, elem_id="compare-vote-note")
            self.ranking = gr.HTML(apply_default_css=False, js_on_load=RANK, elem_id="compare-ranking")
            with gr.Row(elem_classes="sb-fields"):
                self.tags = tag_field()
                self.comment = gr.Textbox(label="Comment", lines=1, max_lines=6, min_width=240)

    def _build_rating(self) -> None:
        self.rated = gr.State()
        self.drafts = gr.State({})
        with gr.Group(visible=False, elem_id="compare-rating", elem_classes="sb-panel") as self.rating:
            self.rating_head = gr.HTML(apply_default_css=False, elem_classes="sb-heading")
            self.form = RatingForm()
            self.form.build()
            with gr.Row(elem_classes="sb-tools"):
                self.save_rating = gr.Button("Save the rating", variant="primary", size="sm", min_width=120, scale=0)
                self.clear_rating = gr.Button("Clear", size="sm", min_width=80, scale=0)
                self.close_rating = gr.Button("Close", size="sm", min_width=80, scale=0)
            self.rating_note = gr.HTML(apply_default_css=False, elem_id="compare-rating-note")

    def _build_difference(self) -> None:
        with gr.Accordion("Word by word", open=False, elem_classes="sb-fold", elem_id="compare-differences"):
            with gr.Row(elem_classes="sb-fields"):
                self.left = gr.Dropdown(label="Between", min_width=160, elem_id="difference-left")
                self.right = gr.Dropdown(label="and", min_width=160, elem_id="difference-right")
                self.differ = gr.Button("Show what differs", size="sm", min_width=140, scale=0)
            self.difference = gr.HTML(apply_default_css=False, elem_id="compare-difference")

    @property
    def answers(self) -> list[Any]:
        """Whatever changes while answers come."""
        return [self.question, *self.columns, self.after]

    @property
    def verdicts(self) -> list[Any]:
        """Whatever the end of the answers and a vote change beside."""
        shown = [self.reveal, self.vote, self.vote_note, self.ranking, self.tags, self.comment]
        shown += [self.rated, self.drafts, self.rating, self.rating_head, self.rating_note, *self.form.fields]
        return [*shown, self.left, self.right, self.difference]

    def show_columns(self, board: Board, scores: Mapping[int, Scores], shown: list[str | None]) -> Updates:
        """The updates for those columns that do not look as in `shown`, which is brought up to date."""
        updates: Updates = {}
        for place, column in enumerate(self.columns):
            made = view.column_html(board, place, scores.get(place)) if place < len(board.columns) else ""
            if made != shown[place]:
                updates[column] = made
                shown[place] = made
        return updates

    def show_differences(self, board: Board) -> Updates:
        """What can be compared word by word: any two answers with text."""
        places = [place for place, column in enumerate(board.columns) if column.text]
        choices = [(f"Answer {LETTERS[place]}", place) for place in places]
        left, right = (places[0], places[1]) if len(places) > 1 else (None, None)
        return {
            self.left: gr.Dropdown(choices=choices, value=left),
            self.right: gr.Dropdown(choices=choices, value=right),
            self.difference: "",
        }
