"""Exchanges and conversations → what the chat tab shows. Pure: values in, Markdown and HTML out.

Whatever was written by users, models, routers or adapters is escaped here before it becomes part of HTML.
The texts of messages themselves stay Markdown; the chat component sanitises them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from assistant.errors import NothingRelevant
from assistant.feedback.records import Conversation
from assistant.feedback.store import shorten
from assistant.messages import AUTO, BASE, Route
from assistant.service import AdapterStatus
from assistant.ui import citations
from assistant.ui.exchange import Exchange, ShownPart
from assistant.ui.markup import one_line

HUES = 8
MAX_EXAMPLES = 6
EXAMPLE_LENGTH = 110
REASON_LENGTH = 72
WITHOUT_DOCUMENTS = "Ask in other words, or turn off “Answer from documents” to ask without them."
GENERAL_EXAMPLES = (
    "Explain in two sentences why the sky is blue.",
    "Write a short, friendly reminder about tomorrow's meeting.",
    "Give me three ideas for a rainy Sunday.",
)


def chat_messages(exchanges: Sequence[Exchange], has_judges: bool = False) -> list[Any]:
    """Two messages for each exchange: what was asked, then the labelled parts of the answer.

    With `has_judges` a finished answer links to its reward.
    """
    messages = []
    for place, exchange in enumerate(exchanges):
        messages.append({"role": "user", "content": [_text(exchange.user_text)]})
        items = answer_items(exchange, place, has_judges)
        messages.append({"role": "assistant", "content": [_text(item) for item in items]})
    return messages


def answer_items(exchange: Exchange, place: int = 0, has_judges: bool = False) -> list[str]:
    """Labels, texts and passages in turn, at the end a notice where there is one.

    `place` is the exchange's in its conversation: it tells its passages from those of others on the page.
    """
    items = []
    for index, part in enumerate(exchange.parts):
        anchor = f"{place}-{index}"
        # The rating is one of the whole answer, however many wrote it.
        is_rateable = exchange.state == "finished" and exchange.turn_id and index == len(exchange.parts) - 1
        link = rate_link(exchange.turn_id) if is_rateable and exchange.turn_id else ""
        if link and has_judges and exchange.text.strip():
            link = reward_link(exchange.turn_id or "") + link
        items.append(part_label(part, index, max(exchange.of, len(exchange.parts)), link))
        if part.text:
            items.append(citations.linked(part.text, part.passages, anchor, part.grounding))
        if part.passages:
            items.append(citations.sources(part.text, part.passages, part.grounding, anchor))
    if exchange.state == "failed" and exchange.code == NothingRelevant.code:
        items.append(notice(f"{exchange.error} {WITHOUT_DOCUMENTS}", "sb-note sb-nothing"))
    elif exchange.state == "failed":
        items.append(notice(exchange.error or "the answer could not be completed", "sb-error"))
    elif exchange.state == "waiting":
        items.append(notice("Waiting for the answer", "sb-busy"))
    elif exchange.state == "stopped" and not exchange.parts:
        items.append(notice("Stopped before the first word", "sb-note"))
    return items or [notice("No answer", "sb-note")]


def feedback(exchanges: Sequence[Exchange]) -> list[str | None]:
    """What was liked, as the chat component wants it: one entry for each answer."""
    words = {True: "Like", False: "Dislike", None: None}
    return [words[exchange.liked] for exchange in exchanges]


def part_label(part: ShownPart, index: int = 0, of: int = 1, link: str = "") -> str:
    """Who wrote a part and why, how long it took, and a link where there is one."""
    steps = f'<span class="sb-step">{index + 1} of {of}</span>' if of > 1 else ""
    busy = " sb-busy" if part.finish_reason is None else ""
    facts = f'<span class="sb-facts">{one_line(" · ".join(part_facts(part)))}</span>'
    return f'<div class="sb-label{busy}">{steps}{chip(part.route.adapter)}{why(part.route)}{facts}{link}</div>'


def part_facts(part: ShownPart) -> list[str]:
    if part.finish_reason is None:
        return ["writing"]
    facts = []
    count = part.usage.completion_tokens
    if count:
        facts.append(f"{count} token" + ("s" if count != 1 else ""))
        speed = part.timing.tokens_per_second(part.usage)
        if speed:
            facts.append(f"{speed:.1f} tokens/s")
        facts.append(f"first token {part.timing.first_token:.2f} s")
    if part.finish_reason == "cancelled":
        facts.append("stopped")
    elif part.finish_reason == "length":
        facts.append("cut at the token limit")
    if not part.text:
        facts.append("empty answer")
    return facts


def rate_link(turn_id: str) -> str:
    """Opens the form of `assistant.ui.rating_panel`."""
    return f'<a class="sb-rate-link" href="#sb-rate/{one_line(turn_id)}">Rate</a>'


def reward_link(turn_id: str) -> str:
    """Opens the drawer of `assistant.ui.reward_panel`."""
    return f'<a class="sb-rate-link sb-reward-link" href="#sb-reward/{one_line(turn_id)}">Reward</a>'


def why(route: Route) -> str:
    """The reason in a few words; a longer one opens on a click."""
    reason = route.reason
    if reason != "chosen by you":
        reason = f"chosen automatically ({route.confidence:.0%} sure): {reason}"
    short = shorten(reason, REASON_LENGTH)
    if short == reason:
        return f'<span class="sb-why">{one_line(reason)}</span>'
    return f'<details class="sb-why"><summary>{one_line(short)}</summary>{one_line(reason)}</details>'


def chip(adapter: str) -> str:
    """An adapter's name in a colour of its own, so that a switch is seen at a glance."""
    hue = "base" if adapter == BASE else str(zlib.crc32(adapter.encode()) % HUES)
    return f'<span class="sb-chip sb-hue-{hue}">{one_line(adapter)}</span>'


def notice(text: str, kind: str) -> str:
    return f'<div class="sb-label {kind}"><span>{one_line(text)}</span></div>'


def conversation_list(conversations: Sequence[Conversation], current: str) -> str:
    """The sidebar: one button for each conversation, newest first."""
    if not conversations:
        return '<p class="sb-empty">Conversations you begin are kept here.</p>'
    items = []
    for conversation in conversations:
        here = ' aria-current="true"' if conversation.id == current else ""
        tip = f"last used {conversation.updated_at:%Y-%m-%d %H:%M} UTC"
        items.append(
            f'<li><button type="button" data-pick="{one_line(conversation.id)}" title="{tip}"{here}>'
            f"{one_line(conversation.title or 'New conversation')}</button></li>"
        )
    return f'<ul class="sb-list">{"".join(items)}</ul>'


def status_line(is_ready: bool, has_failed: bool, base_name: str) -> str:
    if has_failed:
        return '<div class="sb-status sb-failed" role="status">The engine has failed: start the server again</div>'
    if not is_ready:
        return '<div class="sb-status sb-loading" role="status">Loading the base model…</div>'
    return f'<div class="sb-status sb-ready" role="status">{one_line(base_name)} is ready</div>'


def adapter_choices(statuses: Sequence[AdapterStatus]) -> list[tuple[str, str]]:
    """What the adapter picker offers: (label, value). One that gives rewards writes no answers."""
    usable = [status.adapter for status in statuses if status.adapter.is_usable and not status.adapter.is_reward]
    named = [(f"{adapter.name} — {adapter.card.task}", adapter.name) for adapter in usable]
    return [("Auto — chosen for each message", AUTO), ("Base — no adapter", BASE), *named]


def examples(statuses: Sequence[AdapterStatus]) -> list[Any]:
    """First messages for a newcomer: one of each adapter before a second of any."""
    cards = [status.adapter.card for status in statuses if status.adapter.is_usable and status.adapter.card.examples]
    found = []
    for rank in range(MAX_EXAMPLES):
        found += [card.examples[rank] for card in cards if len(card.examples) > rank]
    texts = [*dict.fromkeys(found)][:MAX_EXAMPLES] or GENERAL_EXAMPLES
    return [{"text": text, "display_text": shorten(text, EXAMPLE_LENGTH)} for text in texts]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
