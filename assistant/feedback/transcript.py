"""A conversation as a document to keep: JSON with everything, Markdown to read."""

from __future__ import annotations

import json
from typing import Literal

from assistant.errors import InvalidRequest
from assistant.feedback.records import Conversation, Turn

Format = Literal["json", "markdown"]


def render(conversation: Conversation, format: Format) -> str:
    """Raises InvalidRequest for a format that is neither json nor markdown."""
    if format == "json":
        return to_json(conversation)
    if format == "markdown":
        return to_markdown(conversation)
    raise InvalidRequest(f"export format {format!r}; allowed: json, markdown")


def to_json(conversation: Conversation) -> str:
    return json.dumps(
        {
            "id": conversation.id,
            "title": conversation.title,
            "created_at": conversation.created_at.isoformat(),
            "updated_at": conversation.updated_at.isoformat(),
            "turns": [_turn_as_dict(turn) for turn in conversation.turns],
        },
        ensure_ascii=False,
        indent=2,
    )


def _turn_as_dict(turn: Turn) -> dict[str, object]:
    error = {"code": turn.error_code, "message": turn.error_message} if turn.error_code else None
    return {
        "id": turn.id,
        "position": turn.position,
        "created_at": turn.created_at.isoformat(),
        "finished_at": turn.finished_at.isoformat() if turn.finished_at else None,
        "state": turn.state,
        "adapter": turn.adapter,
        "user": turn.user_text,
        "assistant": turn.text,
        "parts": [part.model_dump(mode="json") for part in turn.parts],
        "base_digest": turn.base_digest,
        "error": error,
        "liked": turn.liked,
        "request": turn.request,
    }


def to_markdown(conversation: Conversation) -> str:
    lines = [
        f"# {conversation.title or 'Conversation'}",
        "",
        f"Begun {conversation.created_at:%Y-%m-%d %H:%M} UTC, last used {conversation.updated_at:%Y-%m-%d %H:%M} UTC.",
        "",
    ]
    for turn in conversation.turns:
        lines += ["## You", "", turn.user_text, ""]
        for part in turn.parts:
            lines += [f"## {part.route.adapter}", "", part.text, ""]
        if turn.state == "cancelled":
            lines += ["*Stopped before the answer was finished.*", ""]
        elif turn.state == "failed":
            lines += [f"*Failed: {turn.error_message}*", ""]
    return "\n".join(lines).rstrip() + "\n"
