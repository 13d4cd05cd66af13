"""What the page knows of an answer, event by event."""

from __future__ import annotations

from functools import reduce

from assistant.messages import (
    Decoding,
    Done,
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
from assistant.ui.exchange import Exchange

ROUTE = Route(adapter="mood", confidence=0.9, reason="speaks of feelings", text="how is it?")
PART = Part(
    route=ROUTE,
    digest="d" * 64,
    decoding=Decoding(),
    text="fine, thanks",
    finish_reason="stop",
    usage=Usage(prompt_tokens=3, completion_tokens=2),
    timing=Timing(first_token=0.1, total=0.2),
)


def after(*events: StreamEvent) -> Exchange:
    return reduce(Exchange.after, events, Exchange("how is it?"))


def test_text_grows_in_the_part_that_is_being_written():
    started = PartStarted(index=0, of=2, route=ROUTE, digest=None)
    exchange = after(started, TextDelta(index=0, text="fi"), TextDelta(index=0, text="ne"))
    assert (exchange.state, exchange.text, exchange.of) == ("writing", "fine", 2)
    assert exchange.parts[0].finish_reason is None and not exchange.is_over


def test_a_finished_exchange_shows_what_was_recorded():
    exchange = after(
        PartStarted(index=0, of=1, route=ROUTE, digest=None),
        TextDelta(index=0, text="fine"),
        PartFinished(index=0, part=PART),
        Done(turn_id="t1", parts=(PART,)),
    )
    assert (exchange.state, exchange.text, exchange.turn_id) == ("finished", "fine, thanks", "t1")
    assert exchange.parts[0].usage.completion_tokens == 2 and exchange.is_over


def test_a_failure_keeps_the_text_so_far_and_says_when_to_try_again():
    started = PartStarted(index=0, of=1, route=ROUTE, digest=None)
    failed = Failed(status=429, code="queue_full", message="64 requests wait", retry_after=7)
    exchange = after(started, TextDelta(index=0, text="fi"), failed)
    assert (exchange.state, exchange.text, exchange.error) == (
        "failed",
        "fi",
        "64 requests wait (try again in 7 s)",
    )


def test_a_stopped_exchange_marks_the_part_that_was_cut_and_drops_empty_ones():
    started = PartStarted(index=0, of=2, route=ROUTE, digest=None)
    exchange = after(started, TextDelta(index=0, text="fi"), started).stopped()
    assert exchange.state == "stopped"
    assert [(part.text, part.finish_reason) for part in exchange.parts] == [("fi", "cancelled")]
