"""One question and its answer as the page shows them, whether it is being written or comes from the store."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from assistant.feedback.records import Turn
from assistant.messages import (
    Done,
    Drew,
    Failed,
    FinishReason,
    Grounding,
    Part,
    PartFinished,
    PartStarted,
    Passage,
    Route,
    StreamEvent,
    TextDelta,
    Timing,
    Usage,
)

State = Literal["waiting", "writing", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class ShownPart:
    """One adapter's share of an answer. `finish_reason` is None while it is being written, and so is `grounding`."""

    route: Route
    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    timing: Timing = field(default_factory=Timing)
    passages: tuple[Passage, ...] = ()
    grounding: Grounding | None = None


@dataclass(frozen=True)
class Exchange:
    """`of` is the number of parts there will be; `error` says why there is no whole answer, `code` in a word."""

    user_text: str
    state: State = "waiting"
    parts: tuple[ShownPart, ...] = ()
    of: int = 0
    error: str | None = None
    code: str | None = None
    turn_id: str | None = None
    liked: bool | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("finished", "stopped", "failed")

    @property
    def text(self) -> str:
        return "\n\n".join(part.text for part in self.parts)

    def after(self, event: StreamEvent) -> Exchange:
        """The exchange once `event` has happened."""
        match event:
            case PartStarted():
                part = ShownPart(event.route, passages=event.passages)
                return replace(self, state="writing", of=event.of, parts=(*self.parts, part))
            case Drew():  # not asked for in a chat
                return self
            case TextDelta():
                last = self.parts[-1]
                return replace(self, parts=(*self.parts[:-1], replace(last, text=last.text + event.text)))
            case PartFinished():
                return replace(self, parts=(*self.parts[:-1], _shown(event.part)))
            case Done():
                return replace(self, state="finished", turn_id=event.turn_id, parts=tuple(map(_shown, event.parts)))
            case Failed():
                error = event.message
                if event.retry_after is not None:
                    error += f" (try again in {event.retry_after} s)"
                return replace(self, state="failed", turn_id=event.turn_id, error=error, code=event.code)

    def stopped(self) -> Exchange:
        """The exchange once the user has stopped it."""
        parts = tuple(
            part if part.finish_reason is not None else replace(part, finish_reason="cancelled") for part in self.parts
        )
        return replace(self, state="stopped", parts=tuple(part for part in parts if part.text))


def from_turn(turn: Turn) -> Exchange:
    """The exchange that the store kept."""
    states: dict[str, State] = {
        "finished": "finished",
        "cancelled": "stopped",
        "failed": "failed",
        "running": "waiting",
    }
    return Exchange(
        user_text=turn.user_text,
        state=states[turn.state],
        parts=tuple(map(_shown, turn.parts)),
        of=len(turn.parts),
        error=turn.error_message if turn.state == "failed" else None,
        code=turn.error_code,
        turn_id=turn.id,
        liked=turn.liked,
    )


def _shown(part: Part) -> ShownPart:
    return ShownPart(part.route, part.text, part.finish_reason, part.usage, part.timing, part.passages, part.grounding)
