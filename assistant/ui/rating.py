"""What somebody thinks of one answer: a thumb, four scales, tags, a comment, and what it should have said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import gradio as gr
from pydantic import ValidationError

from assistant.errors import InvalidRequest
from assistant.feedback.votes import SCALES, Ranking, Rating

Ballot = TypeVar("Ballot", Ranking, Rating)

POINTS = ("1", "2", "3", "4", "5")
THUMBS: dict[str, bool] = {"Good": True, "Bad": False}
TAGS = ("wrong", "made up", "incomplete", "too long", "off topic", "unclear", "unsafe", "well put")
"""Offered; others can be typed."""

EMPTY: tuple[Any, ...] = (None, *(None for _ in SCALES), [], "", "")
"""The values of a form in which nothing has been said."""


class RatingForm:
    """The fields, built inside the current Blocks. `values` are in the order of `fields`."""

    def build(self) -> None:
        with gr.Row(elem_classes=["sb-scales", "sb-fields"]):
            self.scales = [
                gr.Radio(POINTS, label=scale.capitalize(), elem_classes="sb-points", min_width=150) for scale in SCALES
            ]
        with gr.Row(elem_classes="sb-fields"):
            self.thumb = gr.Radio(tuple(THUMBS), label="All in all", elem_classes="sb-points", min_width=150, scale=0)
            self.tags = tag_field()
        with gr.Row(elem_classes="sb-fields"):
            self.comment = gr.Textbox(label="Comment", lines=2, max_lines=8, min_width=240)
            self.correction = gr.Textbox(label="What it should have said", lines=2, max_lines=12, min_width=240)

    @property
    def fields(self) -> list[Any]:
        return [self.thumb, *self.scales, self.tags, self.comment, self.correction]


def tag_field() -> gr.Dropdown:
    return gr.Dropdown(
        TAGS, label="Tags: pick some, or type your own", multiselect=True, allow_custom_value=True, min_width=240
    )


def read_rating(turn_id: str, values: Sequence[Any]) -> Rating:
    """What the fields say of an answer. An empty correction is none.

    Raises:
        InvalidRequest: a text or a tag is too long, or there are too many tags.
    """
    thumb, *points, tags, comment, correction = values
    return checked(
        Rating,
        turn_id=turn_id,
        thumb=THUMBS.get(thumb),
        scales={scale: int(point) for scale, point in zip(SCALES, points, strict=True) if point},
        tags=clean_tags(tags),
        comment=(comment or "").strip(),
        correction=(correction or "").strip() or None,
    )


def checked(kind: type[Ballot], **fields: Any) -> Ballot:
    """A ballot of these fields. Raises InvalidRequest, which says what is not allowed."""
    try:
        return kind(**fields)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise InvalidRequest("; ".join(wrong)) from error


def rating_values(rating: Rating | None) -> tuple[Any, ...]:
    """The values of the fields that say what `rating` says."""
    if rating is None:
        return EMPTY
    thumb = next((word for word, value in THUMBS.items() if value is rating.thumb), None)
    points = (str(rating.scales[scale]) if scale in rating.scales else None for scale in SCALES)
    return (thumb, *points, list(rating.tags), rating.comment, rating.correction or "")


def is_empty(values: Sequence[Any]) -> bool:
    """Whether nothing has been said at all."""
    return not any(value.strip() if isinstance(value, str) else value for value in values)


def clean_tags(tags: Sequence[str] | None) -> tuple[str, ...]:
    """Tags in the order they were picked, none twice."""
    return tuple(dict.fromkeys(tag.strip() for tag in tags or () if tag.strip()))


def summary(rating: Rating) -> str:
    """A rating in a line."""
    said = [word for word, value in THUMBS.items() if value is rating.thumb]
    said += [f"{scale} {rating.scales[scale]}" for scale in SCALES if scale in rating.scales]
    said += rating.tags
    said += ["a comment"] if rating.comment else []
    said += ["a correction"] if rating.correction else []
    return ", ".join(said)
