"""What the store gives back: conversations and turns, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from assistant.messages import Message, Part

TurnState = Literal["running", "finished", "failed", "cancelled"]
TurnKind = Literal["chat", "completion"]


@dataclass(frozen=True)
class Turn:
    """One question and what came of it.

    `request` is the whole request as it was sent, `adapter` what it asked for; what answered is in `parts`.
    `position` counts the shown turns of the conversation from 0. `liked` is the thumb of the conversation's owner, see
    `assistant.feedback.votes`; it is None for a turn that was read on its own.
    """

    id: str
    conversation_id: str | None
    position: int
    created_at: datetime
    finished_at: datetime | None
    removed_at: datetime | None
    state: TurnState
    kind: TurnKind
    adapter: str
    request: dict[str, Any]
    user_text: str
    parts: tuple[Part, ...]
    base_digest: str
    error_code: str | None
    error_message: str | None
    liked: bool | None = None

    @property
    def text(self) -> str:
        """The answer, or as much of it as there was."""
        return "\n\n".join(part.text for part in self.parts)


@dataclass(frozen=True)
class Conversation:
    """`turns` holds the shown turns in order; it is empty in a listing."""

    id: str
    owner: str
    title: str
    created_at: datetime
    updated_at: datetime
    turns: tuple[Turn, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as the next request carries it on. Turns that got no answer are left out."""
        answered = [turn for turn in self.turns if turn.text]
        return tuple(
            message
            for turn in answered
            for message in (
                Message(role="user", content=turn.user_text),
                Message(role="assistant", content=turn.text),
            )
        )
