"""Votes as files: taken out in the formats people train on, and brought in again."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from assistant.background import in_background
from assistant.errors import DataError, StoreUnavailable, SwapboardError
from assistant.feedback.admission import ADMITTED, admit
from assistant.feedback.export import Side, export_rows
from assistant.feedback.filters import Filters
from assistant.feedback.formats import FILE_TYPES, FORMATS, FileType, Format, write
from assistant.feedback.importing import read_file
from assistant.feedback.votes import VoteStore
from assistant.ui.adapter_view import result
from assistant.ui.history import Updates
from assistant.ui.preference_view import import_outcome
from assistant.ui.toast import tell
from assistant.ui.visitor import read_visitor

ReadFilters = Callable[[Any, tuple[Any, ...]], Filters]
"""What the browser keeps, and the values of the filters → which votes are meant."""

NAMES: dict[Format, str] = {
    "preference": "Pairs of a better and a worse answer (TRL preference: Reward, DPO)",
    "unpaired": "Answers labelled good or bad (TRL unpaired: KTO)",
    "ranked": "Ranked lists, with everything about each ranking",
    "arena": "Arena records (Chatbot Arena)",
    "ratings": "Ratings, with everything about each",
}
TYPES: dict[FileType, str] = {"jsonl": "JSON lines", "parquet": "Parquet", "csv": "CSV, safe in spreadsheets"}
SIDES: dict[Side, str] = {"all": "All prompts", "train": "Only those to train on", "test": "Only those held out"}
MEDIA = "application/octet-stream"

SAVE_BYTES = """(document) => {
    if (!document) return document;
    const bytes = Uint8Array.from(atob(document.base64), (one) => one.charCodeAt(0));
    const link = window.document.createElement('a');
    link.href = URL.createObjectURL(new Blob([bytes], {type: document.type}));
    link.download = document.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    return null;
}"""
"""As SAVE_FILE, for what is no text."""


class VoteFiles:
    """Builds its two parts of the tab inside the current Blocks."""

    def __init__(self, votes: VoteStore) -> None:
        self.votes = votes

    def build_export(self) -> None:
        gr.HTML(
            '<p class="sb-hint">The votes that the filters above leave. Voters are named by pseudonyms.</p>',
            apply_default_css=False,
        )
        with gr.Row(elem_classes="sb-fields"):
            formats = [(NAMES[format], format) for format in FORMATS]
            self.format = gr.Dropdown(
                formats, value="preference", label="Format", scale=2, min_width=280, elem_id="export-format"
            )
            types = [(TYPES[file_type], file_type) for file_type in FILE_TYPES]
            self.type = gr.Radio(types, value="jsonl", label="File", elem_classes="sb-points", min_width=280)
        with gr.Row(elem_classes="sb-fields"):
            self.agreement = gr.Slider(
                0, 1, 0, step=0.05, label="Share of voters that must agree", min_width=220, elem_id="export-agreement"
            )
            self.share = gr.Slider(
                0,
                0.9,
                0.1,
                step=0.05,
                label="Share of prompts held out for tests",
                min_width=220,
                elem_id="export-share",
            )
            sides = [(SIDES[side], side) for side in get_args(Side)]
            self.side = gr.Dropdown(sides, value="all", label="Prompts", min_width=180, elem_id="export-side")
        with gr.Row(elem_classes="sb-tools"):
            self.export = gr.Button(
                "Save the file", variant="primary", size="sm", min_width=140, scale=0, elem_id="export-votes"
            )
        self.told = gr.HTML(apply_default_css=False, elem_id="export-outcome")
        self.document = gr.JSON(visible=False)

    def build_import(self) -> None:
        gr.HTML(
            '<p class="sb-hint">Files in the same formats. <b>Ranked lists</b>, <b>ratings</b> and <b>arena records</b> '
            "are votes: those that are not here yet are added, with their answers and under the pseudonyms of their "
            "voters. Pairs and labels are only checked: who voted and when cannot be told from them. Train on such files "
            "as they are.</p>",
            apply_default_css=False,
        )
        with gr.Row(elem_classes="sb-fields"):
            formats = [(NAMES[format], format) for format in FORMATS]
            self.import_format = gr.Dropdown(
                formats, value="ranked", label="Format", min_width=280, elem_id="import-format"
            )
        self.file = gr.File(
            label="JSON lines, Parquet or CSV; the ending tells which",
            file_types=[f".{one}" for one in FILE_TYPES],
            height=120,
            elem_id="import-file",
        )
        self.outcome = gr.HTML(apply_default_css=False, elem_id="import-outcome")

    def connect(self, browser: gr.BrowserState, filters: list[Any], read: ReadFilters) -> None:
        self._read_filters = read
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        wanted = [self.format, self.type, self.agreement, self.share, self.side]
        self.export.click(self._export, [browser, *wanted, *filters], [self.document, self.told], **quiet).then(
            None, self.document, self.document, js=SAVE_BYTES, **quiet
        )
        self.file.upload(self._import, [self.file, self.import_format], [self.outcome, self.file], **quiet)

    async def _export(
        self, kept: Any, format: Format, file_type: FileType, agreement: float, share: float, side: Side, *filters: Any
    ) -> tuple[dict[str, str] | None, str]:
        try:
            chosen = self._read_filters(read_visitor(kept).owner, filters)
            count, data = await in_background(self._made, chosen, format, file_type, agreement, share, side)
        except SwapboardError as error:
            tell(error, "Nothing was saved")
            return None, result(str(error), "bad")
        part = "" if side == "all" else f"-{side}"
        name = f"{format}{part}-{datetime.now(UTC):%Y-%m-%d}.{file_type}"
        rows = f"{count} row" + ("" if count == 1 else "s")
        document = {"name": name, "type": MEDIA, "base64": base64.b64encode(data).decode()}
        return document, result(f"{name}: {rows}", "good")

    def _made(
        self, filters: Filters, format: Format, file_type: FileType, agreement: float, share: float, side: Side
    ) -> tuple[int, bytes]:
        """The number of rows, and the file. Raises DataError where there is no row."""
        rows = export_rows(self.votes.votes(filters), format, agreement, side, share)
        if not rows:
            raise DataError(f"no vote fits, so there are no {format} rows")
        target = io.BytesIO()
        write(rows, format, file_type, target)
        return len(rows), target.getvalue()

    async def _import(self, file: str | None, format: Format) -> Updates:
        if not file:
            return {self.outcome: gr.skip()}
        path = Path(file)
        try:
            rows = await in_background(read_file, path, format)
            done = await in_background(admit, self.votes.database, rows, format) if format in ADMITTED else None
            told = import_outcome(path.name, format, len(rows), done)
        except StoreUnavailable as error:  # a long file may have come in in part, which the error tells
            told = result(f"The votes did not come in: {error}", "bad")
        except SwapboardError as error:
            told = result(f"Nothing was added. {error}", "bad")
        return {self.outcome: told, self.file: None}
