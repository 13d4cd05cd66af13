"""What all columns share: who gives rewards, worked examples, the documents to answer from, a system prompt, a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import gradio as gr
from pydantic import ValidationError

from assistant.comparison.request import Contestant, FewShot, Setup
from assistant.errors import InvalidRequest
from assistant.messages import Retrieval
from assistant.retrieval.records import Collection
from assistant.ui.controls import collection_picker, read_retrieval
from assistant.ui.history import Updates

EXAMPLES = (
    ("Which planet is nearest to the sun?", "Mercury"),
    ("How many strings does a violin have?", "four"),
    ("Who painted the Mona Lisa?", "Leonardo da Vinci"),
)
"""To begin with; a newcomer replaces them by examples of their own task."""

NOBODY = ""
"""Picked where no rewards are wanted."""


class SharedSetup:
    """The fields, built inside the current Blocks. `values` are in the order of `fields`."""

    def build(self, collections: Sequence[Collection], judging: Sequence[str]) -> None:
        with gr.Row(elem_classes="sb-fields"):
            self.reward_by = gr.Dropdown(
                _judges(judging),
                value=NOBODY,
                label="Reward by",
                info="a score under each answer; only differences between answers to one question mean something",
                allow_custom_value=True,
                min_width=220,
                visible=bool(judging),
                elem_id="compare-reward-by",
            )
        # A table that is folded away has no value of its own yet, so its rows are kept beside it.
        self.examples = gr.State([list(row) for row in EXAMPLES])
        with gr.Accordion("Worked examples, documents, system prompt", open=False, elem_classes="sb-fold"):
            self.table = gr.Dataframe(
                [list(row) for row in EXAMPLES],
                headers=["Question", "Answer"],
                column_count=2,
                type="array",
                interactive=True,
                wrap=True,
                max_height=260,
                label="Worked examples, for prompts with examples",
                buttons=[],
                elem_id="compare-examples",
            )
            with gr.Row(elem_classes="sb-fields"):
                self.collections = collection_picker(collections, elem_id="compare-collections")
                self.top_k = gr.Slider(1, 20, value=4, step=1, label="Passages", min_width=160)
                self.seed = gr.Textbox(label="Seed of all columns", placeholder="random", max_lines=1, min_width=120)
            with gr.Row(elem_classes="sb-fields"):
                self.system = gr.Textbox(
                    label="System prompt; left empty, each adapter's own is used",
                    lines=1,
                    max_lines=8,
                    elem_id="compare-system",
                )

    @property
    def fields(self) -> list[Any]:
        return [self.examples, self.collections, self.top_k, self.seed, self.system, self.reward_by]

    @property
    def outputs(self) -> list[Any]:
        return [self.table, *self.fields]

    def connect(self) -> None:
        self.table.input(lambda rows: rows, self.table, self.examples, show_progress="hidden", api_visibility="private")

    def offer(self, judging: Sequence[str]) -> Updates:
        """The updates for reward adapters that have come or gone."""
        return {self.reward_by: gr.update(choices=_judges(judging), visible=bool(judging))}

    def show(self, request: Setup) -> Updates:
        """The updates that make the fields say what `request` was asked with."""
        rows = [[one.question, one.answer] for one in request.examples] or [["", ""]]
        return {
            self.examples: rows,
            self.table: rows,
            self.collections: list(request.retrieval.collections),
            self.top_k: request.retrieval.top_k,
            self.seed: "" if request.seed is None else str(request.seed),
            self.system: request.system or "",
            self.reward_by: request.reward_by or NOBODY,
        }


def read_setup(contestants: Sequence[Contestant], blind: bool, values: Sequence[Any]) -> Setup:
    """The set-up that the fields make.

    Raises:
        InvalidRequest: a field is wrong; names it and what is allowed.
    """
    examples, collections, top_k, seed, system, reward_by = values
    typed = (seed or "").strip()
    if typed and not typed.isdecimal():
        raise InvalidRequest(f"Seed: {seed!r} is not allowed (a whole number from 0, or nothing)")
    try:
        return Setup(
            contestants=tuple(contestants),
            system=(system or "").strip() or None,
            examples=read_examples(examples),
            retrieval=read_retrieval(True, collections, top_k) or Retrieval(),
            blind=bool(blind),
            seed=int(typed) if typed else None,
            reward_by=reward_by or None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"{place}: {first['msg']}") from error


def read_examples(rows: Sequence[Sequence[Any]] | None) -> tuple[FewShot, ...]:
    """Rows of the table that were filled in.

    Raises:
        InvalidRequest: a row has a question without an answer, or the other way round.
    """
    examples = []
    for number, row in enumerate(rows or (), 1):
        question, answer = (str(cell or "").strip() for cell in row)
        if bool(question) != bool(answer):
            raise InvalidRequest(f"Worked example {number} needs both a question and an answer")
        if question:
            examples.append(FewShot(question=question, answer=answer))
    return tuple(examples)


def read_references(text: str | None) -> tuple[str, ...]:
    """Accepted answers: the paragraphs of the text."""
    return tuple(piece.strip() for piece in re.split(r"\n\s*\n", text or "") if piece.strip())


def write_references(references: Sequence[str]) -> str:
    return "\n\n".join(references)


def _judges(names: Sequence[str]) -> list[tuple[str, str]]:
    return [("nobody", NOBODY), *((name, name) for name in names)]
