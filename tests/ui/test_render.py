"""Labels, lists and examples; and that nothing from outside becomes markup."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from assistant.feedback.records import Conversation
from assistant.messages import Route, Timing, Usage
from assistant.ui import render
from assistant.ui.exchange import Exchange, ShownPart
from tests.fakes import fake_service, write_adapter

CHOSEN = Route(adapter="mood", confidence=1.0, reason="chosen by you", text="x")
ROUTED = Route(adapter="mood", confidence=0.87, reason="speaks of feelings", text="x")
EVIL = "<img src=x onerror=alert(1)>"


def part(**fields: object) -> ShownPart:
    whole = {
        "route": CHOSEN,
        "text": "fine",
        "finish_reason": "stop",
        "usage": Usage(completion_tokens=11),
        "timing": Timing(first_token=0.25, total=1.25),
    }
    return ShownPart(**{**whole, **fields})


def test_a_label_tells_adapter_reason_tokens_speed_and_first_token():
    """10 tokens after the first, in the second after the first."""
    label = render.part_label(part())
    for told in (">mood<", "chosen by you", "11 tokens", "10.0 tokens/s", "first token 0.25 s"):
        assert told in label
    assert "chosen automatically (87% sure): speaks of feelings<" in render.part_label(part(route=ROUTED))


def test_a_long_reason_is_folded_and_still_whole():
    long = "near the example " + "of something long " * 10 + "indeed"
    made = render.why(ROUTED.model_copy(update={"reason": long}))
    summary, whole = made.split("</summary>")
    assert summary.endswith("…") and long in whole and "<div" not in made


@pytest.mark.parametrize(
    ("reason", "told"), [("cancelled", "stopped"), ("length", "cut at the token limit"), (None, "writing")]
)
def test_a_label_tells_how_the_part_ended(reason, told):
    assert told in render.part_facts(part(finish_reason=reason))


def test_parts_of_one_answer_are_numbered_and_follow_their_labels():
    exchange = Exchange("both", "finished", (part(), part(text="42")), of=2)
    user, answer = render.chat_messages([exchange])
    first, fine, second, sums = [item["text"] for item in answer["content"]]
    assert user["content"][0]["text"] == "both" and (fine, sums) == ("fine", "42")
    assert "1 of 2" in first and "2 of 2" in second


@pytest.mark.parametrize(
    ("exchange", "told"),
    [
        (Exchange("x"), "Waiting for the answer"),
        (Exchange("x", "stopped"), "Stopped before the first word"),
        (Exchange("x", "failed", error="the prompt has 9 tokens"), "the prompt has 9 tokens"),
        (Exchange("x", "finished"), "No answer"),
    ],
)
def test_an_exchange_without_text_says_why(exchange, told):
    assert told in "".join(render.answer_items(exchange))


def test_what_comes_from_outside_is_escaped():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    route = Route(adapter=EVIL, confidence=0.5, reason=f"\n\n{EVIL} $$x$$", text="x")
    for made in (
        render.part_label(part(route=route)),
        render.notice(EVIL, "sb-error"),
        render.conversation_list([Conversation(EVIL, "me", EVIL, now, now)], ""),
        render.status_line(True, False, EVIL),
    ):
        assert "<img" not in made and "\n\n" not in made and "$$" not in made


def test_the_status_tells_loading_ready_and_failed():
    shown = [render.status_line(*state, "tiny") for state in ((False, False), (True, False), (True, True))]
    assert [word in line for word, line in zip(("Loading", "tiny is ready", "failed"), shown, strict=True)] == [
        True
    ] * 3


def test_likes_are_shown_in_the_order_of_the_answers():
    exchanges = [Exchange("a", liked=True), Exchange("b"), Exchange("c", liked=False)]
    assert render.feedback(exchanges) == ["Like", None, "Dislike"]


def test_the_open_conversation_is_marked():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = render.conversation_list([Conversation(x, "me", x, now, now) for x in ("one", "two")], "two")
    assert made.count("aria-current") == 1 and made.index("one") < made.index("aria-current")


def test_examples_take_turns_between_the_adapters(tmp_path: Path):
    write_adapter(tmp_path / "mood", examples=["m1", "m2"])
    write_adapter(tmp_path / "sums", examples=["s1", "x" * 300])
    found = render.examples(fake_service(tmp_path).adapters())
    assert [example["text"][:2] for example in found] == ["m1", "s1", "m2", "xx"]
    assert len(found[-1]["display_text"]) <= render.EXAMPLE_LENGTH + 1 < len(found[-1]["text"])


def test_without_adapters_there_are_general_examples(tmp_path: Path):
    statuses = fake_service(tmp_path).adapters()
    assert [example["text"] for example in render.examples(statuses)] == list(render.GENERAL_EXAMPLES)
    assert [value for _, value in render.adapter_choices(statuses)] == ["auto", "base"]


def test_broken_adapters_cannot_be_picked(tmp_path: Path):
    write_adapter(tmp_path / "mood")
    (tmp_path / "torn").mkdir()
    choices = render.adapter_choices(fake_service(tmp_path).adapters())
    assert choices[2:] == [("mood — sentiment", "mood")]


def test_only_a_finished_answer_has_a_link_to_rate_it_and_only_one():
    def linked(**fields: object) -> int:
        return "".join(render.answer_items(Exchange("q", parts=(part(), part()), **fields))).count("#sb-rate/t1")

    assert linked(state="finished", turn_id="t1") == 1
    assert linked(state="stopped", turn_id="t1") == linked(state="writing") == linked(state="finished") == 0
