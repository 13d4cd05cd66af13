"""What a request is made of beside its text: the documents to answer from, and the decoding.

A decoding field left empty is not part of the request, so the adapter's own default holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from pydantic import ValidationError

from assistant.catalog import Adapter
from assistant.errors import InvalidRequest
from assistant.messages import Decoding, Retrieval
from assistant.retrieval.records import Collection


@dataclass(frozen=True)
class Control:
    """One number, typed as text: Gradio's number field cannot be empty, it turns into a 0."""

    name: str
    label: str
    info: str


CONTROLS = (
    Control("temperature", "Temperature", "0 to 2; 0 always takes the likeliest word"),
    Control("top_p", "Top-p", "above 0, up to 1; keeps that share of likely words"),
    Control("top_k", "Top-k", "keeps that many likely words; 0 keeps all"),
    Control("repetition_penalty", "Repetition penalty", "0.5 to 2; above 1 repeats less"),
    Control("max_tokens", "Longest answer", "in tokens"),
    Control("seed", "Seed", "the same seed gives the same answer"),
)
STOP_INFO = "the answer ends before any of these; one a line, up to 8"


def build_controls() -> list[gr.Component]:
    """The fields in the order `read_controls` takes their values."""
    fields: list[gr.Component] = []
    with gr.Row(elem_classes="sb-controls"):
        for control in CONTROLS:
            fields.append(
                gr.Textbox(
                    label=control.label,
                    info=control.info,
                    placeholder=placeholder(control.name, None),
                    max_lines=1,
                    min_width=150,
                    elem_id=f"control-{control.name}",
                )
            )
    fields.append(gr.Textbox(label="Stop at", info=STOP_INFO, lines=1, max_lines=8, elem_id="control-stop"))
    return fields


def read_controls(values: Sequence[str | None]) -> Decoding:
    """Only the fields that were filled in are set.

    Raises:
        InvalidRequest: a value is not allowed; names the field and what is allowed.
    """
    *numbers, stop = values
    typed = {control.name: (text or "").strip() for control, text in zip(CONTROLS, numbers, strict=True)}
    given: dict[str, Any] = {name: text for name, text in typed.items() if text}
    lines = tuple(line for line in (stop or "").splitlines() if line)
    if lines:
        given["stop"] = lines
    try:
        return Decoding(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        labels = {control.name: (control.label, control.info) for control in CONTROLS}
        label, info = labels.get(name, ("Stop at", STOP_INFO))
        raise InvalidRequest(f"{label}: {first['input']!r} is not allowed ({info})") from error


def placeholder(name: str, adapter: Adapter | None) -> str:
    """What holds where a field is left empty, and whose it is."""
    is_own = adapter is not None and name in adapter.card.decoding and name != "seed"
    return f"{default(name, adapter)} ({adapter.name}'s own)" if adapter and is_own else default(name, adapter)


def default(name: str, adapter: Adapter | None) -> str:
    """What holds where a field is left empty."""
    if name == "seed":
        return "random"
    own = adapter.card.decoding if adapter is not None else {}
    return str(own[name] if name in own else Decoding.model_fields[name].default)


def placeholders(adapter: Adapter | None) -> list[Any]:
    """Updates of the number fields, for the adapter that was chosen; None where there is none, or not yet."""
    return [gr.update(placeholder=placeholder(control.name, adapter)) for control in CONTROLS]


# Documents --------------------------------------------------------------------------------------


class RetrievalControls:
    """Built inside the current Blocks; `fields` in the order `read_retrieval` takes their values."""

    def __init__(self, collections: Sequence[Collection]) -> None:
        with gr.Row(elem_id="document-options", visible=False) as self.row:
            self.collections = collection_picker(collections, elem_id="chat-collections")
            self.top_k = gr.Slider(
                1,
                Retrieval.model_fields["top_k"].metadata[1].le,
                value=Retrieval().top_k,
                step=1,
                label="Passages",
                min_width=180,
                scale=1,
                elem_id="chat-passages",
            )


def collection_picker(collections: Sequence[Collection], **more: Any) -> gr.Dropdown:
    """Which collections to look in; none named means all."""
    return gr.Dropdown(
        collection_choices(collections),
        value=[],
        multiselect=True,
        label="Collections (empty: all)",
        allow_custom_value=True,
        min_width=200,
        scale=2,
        **more,
    )


def collection_choices(collections: Sequence[Collection]) -> list[tuple[str, str]]:
    return [(collection.name, collection.id) for collection in collections]


def offer_collections(collections: Sequence[Collection], picked: Sequence[str] | None) -> Any:
    """The update of a picker whose collections have changed. The picked ones are left alone where they can be."""
    choices = collection_choices(collections)
    left = [id for id in picked or () if id in {value for _, value in choices}]
    return gr.update(choices=choices) if len(left) == len(picked or ()) else gr.update(choices=choices, value=left)


def read_retrieval(is_on: bool | None, collections: Sequence[str] | None, top_k: float | None) -> Retrieval | None:
    """None where the answer is not to come from the documents.

    Raises:
        InvalidRequest: a number of passages that is not allowed.
    """
    if not is_on:
        return None
    try:
        return Retrieval(collections=tuple(collections or ()), top_k=Retrieval().top_k if top_k is None else int(top_k))
    except ValidationError as error:
        raise InvalidRequest(f"Passages: {top_k} is not allowed; allowed: from 1 to 20") from error
