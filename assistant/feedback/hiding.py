"""What a blind comparison tells before its names are: the text, and nothing that gives its writer away."""

from __future__ import annotations

from assistant.messages import (
    Decoding,
    Done,
    Drew,
    Failed,
    Part,
    PartFinished,
    PartStarted,
    Route,
    StreamEvent,
    TextDelta,
    Timing,
    Usage,
)

NAMELESS = Route(adapter="", confidence=1.0, reason="", text="")
FAILED = "this answer failed; the reason is told with the names"


def hidden_part(part: Part) -> Part:
    """Times and counts go too: a long prompt or a short answer tells which mode it is. So does what a judge says."""
    return Part(
        route=NAMELESS,
        digest=None,
        decoding=Decoding(),
        text=part.text,
        finish_reason=part.finish_reason,
        usage=Usage(),
        timing=Timing(),
    )


def hidden_event(event: StreamEvent) -> StreamEvent | None:
    """What may be told of the event; None where that it happened at all tells too much."""
    match event:
        case Drew():
            return None
        case PartStarted():
            return PartStarted(index=event.index, of=event.of, route=NAMELESS, digest=None)
        case TextDelta():
            return TextDelta(index=event.index, text=event.text)
        case PartFinished():
            return PartFinished(index=event.index, part=hidden_part(event.part))
        case Done():
            return Done(turn_id=event.turn_id, parts=tuple(map(hidden_part, event.parts)))
        case Failed():
            return Failed(status=500, code="failed", message=FAILED, turn_id=event.turn_id)
