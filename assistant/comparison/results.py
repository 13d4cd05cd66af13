"""Comparisons as a table: one row for each answer, for the page, for CSV and for JSON lines."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from assistant.comparison.request import ComparisonRequest, Contestant
from assistant.comparison.scores import score
from assistant.feedback.cells import csv_writer, guard
from assistant.feedback.comparison_records import Answered, Comparison
from assistant.messages import Part, Timing, Usage

FIELDS = (
    "row",
    "question",
    "references",
    "column",
    "contestant",
    "mode",
    "adapter",
    "best_of",
    "judge",
    "state",
    "answer",
    "exact_match",
    "f1",
    "rouge_l",
    "reward",
    "prompt_tokens",
    "tokens",
    "first_token",
    "tokens_per_second",
    "seconds",
    "passages",
    "error",
)

AVERAGED = ("exact_match", "f1", "rouge_l", "reward", "tokens", "first_token", "tokens_per_second", "seconds")

Row = dict[str, Any]


def table(comparisons: Iterable[Comparison]) -> list[Row]:
    """A row with all of `FIELDS` for each answer; a comparison that was never asked has one row.

    What a row does not have is None: scores without references, a reward nobody asked for, and everything that would
    tell a hidden name. `best_of` and `judge` are those of a contestant that has several answers drawn.
    """
    return [row for comparison in comparisons for row in _rows(comparison)]


def averages(rows: Sequence[Row]) -> list[Row]:
    """For each contestant the mean of each of `AVERAGED` over its answers, with `answers` and `failed`.

    Nameless rows are left out. A mean is None where no answer has the figure.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["contestant"] is not None:
            found.setdefault(row["contestant"], []).append(row)
    return [
        {
            "contestant": contestant,
            "answers": sum(row["state"] == "finished" for row in own),
            "failed": sum(row["state"] == "failed" for row in own),
            **{name: _mean(row[name] for row in own if row["state"] == "finished") for name in AVERAGED},
        }
        for contestant, own in found.items()
    ]


def to_csv(rows: Sequence[Row]) -> str:
    """What a spreadsheet would take for a formula gets an apostrophe before it, see `assistant.feedback.cells`."""
    file = io.StringIO(newline="")
    writer = csv_writer(file)
    writer.writerow(FIELDS)
    writer.writerows([_cell(row[name]) for name in FIELDS] for row in rows)
    return file.getvalue()


def to_json_lines(comparisons: Iterable[Comparison]) -> str:
    """One comparison on each line, with everything that is known of it; see `as_object`."""
    return "".join(json.dumps(as_object(one), ensure_ascii=False) + "\n" for one in comparisons)


def as_object(comparison: Comparison) -> Row:
    """The comparison as JSON: its summary, and each column with its prompt, passages, settings, timings and scores.

    The scores of long answers against long references take seconds.
    """
    return {**summary(comparison), "columns": [_column(column, comparison) for column in comparison.columns]}


def summary(comparison: Comparison) -> Row:
    """What was asked, and what has become of it."""
    ended = comparison.finished_at
    return {
        "id": comparison.id,
        "object": "comparison",
        "batch_id": comparison.batch_id,
        "position": comparison.position,
        "state": comparison.state,
        "created_at": comparison.created_at.isoformat(),
        "finished_at": ended.isoformat() if ended else None,
        "question": comparison.question,
        "references": list(comparison.references),
        "request": comparison.request,
        "blind": comparison.blind,
        "revealed_at": comparison.revealed_at.isoformat() if comparison.revealed_at else None,
        "error": comparison.error,
    }


def _rows(comparison: Comparison) -> list[Row]:
    about = {
        "row": comparison.position + 1,
        "question": comparison.question,
        "references": list(comparison.references),
    }
    blank: Row = dict.fromkeys(FIELDS)
    if not comparison.columns:
        return [{**blank, **about, "state": comparison.state, "error": comparison.error}]
    asked = ComparisonRequest.model_validate(comparison.request)
    return [{**blank, **about, **_answer(column, comparison, asked)} for column in comparison.columns]


def _answer(column: Answered, comparison: Comparison, asked: ComparisonRequest) -> Row:
    row: Row = {"column": column.letter, "state": column.state, "error": column.error}
    if column.state == "finished":
        row["answer"] = column.text
        if scores := score(column.text, comparison.references):
            row.update(scores)
    if column.position is not None:
        contestant = asked.contestants[column.position]
        row.update(contestant=asked.labels[column.position], mode=contestant.mode, adapter=contestant.adapter)
        if contestant.best_of is not None:
            row.update(best_of=contestant.best_of.n, judge=contestant.best_of.judge)
        if column.parts:
            row.update(figures(column.parts))
            reward = column.parts[-1].reward
            row["reward"] = reward.score if reward else None
    return row


def figures(parts: Sequence[Part]) -> Row:
    """What an answer cost. A best of n cost what all n did, and its first word is there once it has been chosen."""
    drawn = parts[0].drawn
    if drawn is not None:
        speed = drawn.usage.completion_tokens / drawn.seconds if drawn.seconds > 0 else 0.0
        return _figures(drawn.usage, Timing(first_token=drawn.seconds, total=drawn.seconds), speed, parts)
    usage = sum((part.usage for part in parts), Usage())
    timing = parts[0].timing
    if len(parts) > 1:  # one after another
        total = sum(part.timing.total for part in parts)
        timing = Timing(queued=timing.queued, first_token=timing.first_token, total=total)
    return _figures(usage, timing, timing.tokens_per_second(usage), parts)


def _figures(usage: Usage, timing: Timing, speed: float, parts: Sequence[Part]) -> Row:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "tokens": usage.completion_tokens,
        "first_token": timing.first_token,
        "tokens_per_second": speed,
        "seconds": timing.total,
        "passages": sum(len(part.passages) for part in parts),
    }


def _column(column: Answered, comparison: Comparison) -> Row:
    scores = score(column.text, comparison.references) if column.state == "finished" else None
    named: Row = {}
    if column.position is not None:
        asked = Contestant.model_validate(comparison.request["contestants"][column.position])
        reward = column.parts[-1].reward if column.parts else None
        named = {
            "contestant": column.position,
            "mode": asked.mode,
            "adapter": asked.adapter,
            "best_of": asked.best_of.model_dump() if asked.best_of else None,
            "reward": reward.model_dump() if reward else None,
            "figures": figures(column.parts) if column.parts else None,
            "parts": [part.model_dump(mode="json") for part in column.parts],
        }
    return {
        "column": column.letter,
        "turn_id": column.turn_id,
        "state": column.state,
        "text": column.text,
        "error": column.error,
        "scores": scores.model_dump() if scores else None,
        **named,
    }


def _mean(values: Iterable[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = "\n".join(value)
    return guard(value) if isinstance(value, str) else value
