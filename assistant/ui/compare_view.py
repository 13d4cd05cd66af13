"""A comparison → its columns, its figures, what differs, and the list of earlier ones. Pure: values in, HTML out.

Answers, prompts, passages and names are other people's words: everything is escaped that becomes part of HTML.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from datetime import datetime

from assistant.comparison import results
from assistant.comparison.request import Contestant, Mode
from assistant.comparison.scores import Scores
from assistant.feedback.comparison_records import Comparison
from assistant.feedback.store import shorten
from assistant.messages import BASE, Decoding, Part, Reward
from assistant.ui.board import LETTERS, Board, Column
from assistant.ui.citations import linked, sources
from assistant.ui.markup import one_line
from assistant.ui.render import chip
from assistant.ui.word_difference import difference, shared_words, unit

MODES: dict[Mode, str] = {
    "prompt": "Prompt only",
    "few-shot": "Prompt with examples",
    "rag": "RAG",
    "tuned": "Fine-tuned",
    "rag-tuned": "RAG + fine-tuned",
}
SCORES = {"exact_match": "EM", "f1": "F1", "rouge_l": "ROUGE-L"}
STATES = {
    "finished": "",
    "cancelled": "stopped",
    "failed": "no answer",
    "interrupted": "cut off by a restart",
    "running": "running",
    "waiting": "waiting",
}
QUESTION_LENGTH = 90
ONLY_DIFFERENCES = "Only differences between answers to one question mean something."


# Columns ----------------------------------------------------------------------------------------


def column_html(board: Board, place: int, scores: Scores | None = None) -> str:
    """One column whole: who answers, the answer, and, once names are told, what it used and what it cost."""
    column = board.columns[place]
    parts = [f"<header>{heading(place, column)}</header>", _answer(board, place, column)]
    if column.state == "failed":
        parts.append(f'<p class="sb-refusal">{one_line(column.error or "this answer failed")}</p>')
    elif column.state == "cancelled":
        parts.append(f'<p class="sb-note">{"Stopped" if column.text else "Stopped before the first word"}</p>')
    if scores:
        parts.append(score_line(scores))
    if place in (rewards := board.rewards):
        parts.append(reward_line(rewards[place], [one.score for one in rewards.values()]))
    if column.part is not None and not board.is_hidden:
        parts.append(figures(column.part))
        parts.append(drawn_answers(column.part))
        parts.append(sources(column.text, column.part.passages, column.part.grounding, _anchor(column, place)))
        parts.append(exact_prompt(column.part))
    if column.state == "finished" and column.turn_id and board.is_over:
        name = f"Rate answer {LETTERS[place]}"
        parts.append(f'<button type="button" class="sb-rate" data-pick="{place}">{name}</button>')
    return f'<article class="sb-column" data-state="{column.state}" data-of="{len(board.columns)}">{"".join(parts)}</article>'


def heading(place: int, column: Column) -> str:
    """The letter, and who stands behind it where that may be told."""
    letter = f'<b class="sb-letter">{LETTERS[place]}</b>'
    if column.contestant is None:
        return f'{letter}<span class="sb-mode">Answer {LETTERS[place]}</span>'
    return letter + contestant_html(column.contestant)


def contestant_html(contestant: Contestant) -> str:
    name = chip(contestant.adapter) if contestant.adapter != BASE else ""
    told = settings_text(contestant)
    settings = f'<span class="sb-decoding">{one_line(told)}</span>' if told else ""
    return f'<span class="sb-mode">{one_line(MODES[contestant.mode])}</span>{name}{settings}'


def contestant_text(contestant: Contestant) -> str:
    """The contestant in plain words, for tables and choices."""
    name = MODES[contestant.mode] + (f" {contestant.adapter}" if contestant.adapter != BASE else "")
    told = settings_text(contestant)
    return f"{name} ({told})" if told else name


def settings_text(contestant: Contestant) -> str:
    """How its answer is chosen, and the decoding that was asked for."""
    best_of = contestant.best_of
    chosen = f"best of {best_of.n} by {best_of.judge}" if best_of else ""
    return ", ".join(filter(None, (chosen, decoding_text(contestant.decoding))))


def way_text(way: str) -> str:
    """A way as the store keeps it in plain words: "tuned, best of 4 by taste" begins with the mode."""
    mode, *chosen = way.split(", ", 1)
    return ", ".join((MODES.get(mode, mode), *chosen))  # type: ignore[call-overload]


def decoding_text(decoding: Decoding) -> str:
    """Only what was asked for; the rest is the adapter's own."""
    words = {"temperature": "temperature", "max_tokens": "at most", "seed": "seed"}
    asked = decoding.model_dump(exclude_unset=True, exclude_none=True)
    return ", ".join(f"{words.get(name, name)} {value}" for name, value in asked.items())


def _answer(board: Board, place: int, column: Column) -> str:
    if not column.text:
        told = {"waiting": "Waiting", "running": "Reading the prompt", "finished": "An empty answer"}.get(column.state)
        if board.id is None and told:
            told = "Waiting for the model"
        if column.drew is not None and not column.is_over:
            done, of = column.drew.done, column.drew.of
            told = f"Drawn {done} of {of}" if done < of else f"All {of} drawn, being judged"
        busy = "" if column.is_over else " sb-busy"
        return f'<p class="sb-note{busy}"><span>{told}</span></p>' if told else ""
    passages = column.part.passages if column.part and not board.is_hidden else ()
    grounding = column.part.grounding if column.part else None
    anchor = _anchor(column, place)
    return f'<div class="sb-answer">{plain(linked(column.text, passages, anchor, grounding), anchor)}</div>'


def plain(text: str, anchor: str) -> str:
    """Text escaped, but for the links to this answer's own passages."""
    link = rf'(<a class="sb-cite" href="#sb-passage-{re.escape(anchor)}-\d+" title="[^"<>]*">\d+</a>)'
    pieces = re.split(link, text)
    return "".join(piece if index % 2 else html.escape(piece) for index, piece in enumerate(pieces))


def _anchor(column: Column, place: int) -> str:
    return f"compare-{place}-{(column.turn_id or '')[:12]}"


# Under a column ---------------------------------------------------------------------------------


def figures(part: Part) -> str:
    """Tokens, waits, speed and cost of one answer; those of a best of n are of all its answers together."""
    cost = results.figures([part])
    usage = part.drawn.usage if part.drawn else part.usage
    of_all = f" (all {len(part.drawn.candidates)} answers)" if part.drawn else ""
    cut = " (cut at the limit)" if part.finish_reason == "length" else ""
    prompt = str(usage.prompt_tokens)
    if usage.cached_tokens:
        prompt += f", {usage.cached_tokens} of them computed before"
    rows = [
        ("Tokens", f"{usage.completion_tokens}{of_all}{cut}"),
        ("Tokens/s", f"{cost['tokens_per_second']:.1f}" if cost["tokens_per_second"] else "–"),
        ("First token", f"{cost['first_token']:.2f} s"),
        ("Whole answer", f"{cost['seconds']:.2f} s{of_all}"),
        ("Prompt tokens", f"{prompt}{of_all}"),
        ("Seed", str(part.decoding.seed)),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<dl class="sb-figures">{listed}</dl>'


def drawn_answers(part: Part) -> str:
    """All that a best of n was chosen from, best first."""
    if part.drawn is None:
        return ""
    ranked = sorted(part.drawn.candidates, key=lambda one: math.inf if one.reward is None else -one.reward)
    items = "".join(
        f"<li><b>{'–' if one.reward is None else reward_text(one.reward)}</b> "
        f"{html.escape(one.text) or '<i>an empty answer</i>'} "
        f"<small>seed {one.seed}, {one.usage.completion_tokens} tokens</small></li>"
        for one in ranked
    )
    name = f"The {len(ranked)} answers drawn, with their rewards by {one_line(part.drawn.judge)}"
    return f'<details class="sb-prompt sb-drawn"><summary>{name}</summary><ol>{items}</ol></details>'


def reward_line(reward: Reward, all_scores: Sequence[float | None]) -> str:
    """What the judge made of the answer, and how far that is behind the best of `all_scores`."""
    judge = one_line(reward.judge)
    if reward.score is None:
        return f'<p class="sb-note">No reward by {judge}: {one_line(reward.error or "it was not judged")}</p>'
    behind = max(score for score in all_scores if score is not None) - reward.score
    rows = [(f"Reward by {judge}", reward_text(reward.score))]
    if len(all_scores) > 1:
        rows.append(("Behind the best", reward_text(behind) if behind else "it is the best"))
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<dl class="sb-figures sb-scores sb-rewards">{listed}<small>{ONLY_DIFFERENCES}</small></dl>'


def reward_text(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def score_line(scores: Scores) -> str:
    """How near the answer is to the reference, each figure in [0, 1]."""
    listed = "".join(
        f"<div><dt>{label}</dt><dd>{getattr(scores, name):.2f}</dd></div>" for name, label in SCORES.items()
    )
    return f'<dl class="sb-figures sb-scores" title="against the reference answer">{listed}</dl>'


def exact_prompt(part: Part) -> str:
    if part.prompt is None:
        return ""
    count = part.usage.prompt_tokens
    return (
        f'<details class="sb-prompt"><summary>The exact prompt, {count} tokens</summary>'
        f"<pre>{html.escape(part.prompt)}</pre></details>"
    )


# What differs -----------------------------------------------------------------------------------


def difference_html(board: Board, left: int, right: int) -> str:
    """Two answers beside each other, with the words marked that only one of them has; whole sentences in long ones.

    It may take seconds.
    """
    first, second = board.columns[left], board.columns[right]
    old, new = difference(first.text, second.text)
    told = _likeness(first.text, second.text)
    texts = "".join(
        f'<article class="sb-column"><header>{heading(place, column)}</header><div class="sb-answer">{text}</div></article>'
        for place, column, text in ((left, first, old), (right, second, new))
    )
    return f'<p class="sb-hint" role="status">{told}</p><div class="sb-columns sb-differences">{texts}</div>'


def _likeness(first: str, second: str) -> str:
    if first == second:
        return "the same, letter by letter"
    match unit(first, second):
        case "word":
            return f"{shared_words(first, second):.0%} of the words are shared"
        case "sentence":
            return "too long to compare word by word: sentences are marked that only one has in this place"
        case "text":
            return "too long to compare: nothing is marked"


# Earlier ones -----------------------------------------------------------------------------------


def comparison_list(comparisons: Sequence[Comparison], current: str | None) -> str:
    """One button for each comparison, newest first."""
    if not comparisons:
        return '<p class="sb-empty">Comparisons you make are kept here.</p>'
    return f'<ul class="sb-list">{"".join(_entry(one, current) for one in comparisons)}</ul>'


def _entry(comparison: Comparison, current: str | None) -> str:
    here = ' aria-current="true"' if comparison.id == current else ""
    told = [STATES[comparison.state]] if STATES[comparison.state] else []
    contestants = comparison.request.get("contestants", ())
    told.append(f"{len(contestants)} answers{', blind' if comparison.blind else ''}")
    told.append(moment(comparison.created_at))
    return (
        f'<li><button type="button" data-pick="{one_line(comparison.id)}"{here}>'
        f'<span class="sb-name">{one_line(shorten(comparison.question, QUESTION_LENGTH))}</span>'
        f'<span class="sb-told">{one_line(" · ".join(told))}</span></button></li>'
    )


def moment(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"
