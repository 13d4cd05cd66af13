"""Batches → their list, progress, averages, rows and failures. Pure: values in, HTML out; everything is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assistant.comparison.results import Row, averages
from assistant.feedback.comparison_records import Batch, Comparison
from assistant.feedback.store import shorten
from assistant.ui.compare_view import SCORES, STATES, moment
from assistant.ui.markup import one_line

ANSWER_LENGTH = 140
FIGURES = {
    **SCORES,
    "reward": "Reward",
    "tokens": "Tokens",
    "first_token": "First token, s",
    "tokens_per_second": "Tokens/s",
    "seconds": "Seconds",
}
BATCH_STATES = {"running": ("busy", "running"), "finished": ("good", "finished"), "cancelled": ("bad", "stopped")}


def batch_list(batches: Sequence[Batch], current: str) -> str:
    """One button for each batch, newest first."""
    if not batches:
        return '<p class="sb-empty">Sets of questions you run are kept here.</p>'
    return f'<ul class="sb-list">{"".join(_entry(batch, current) for batch in batches)}</ul>'


def _entry(batch: Batch, current: str) -> str:
    here = ' aria-current="true"' if batch.id == current else ""
    told = " · ".join((counts(batch), BATCH_STATES[batch.state][1], moment(batch.created_at)))
    return (
        f'<li><button type="button" data-pick="{one_line(batch.id)}"{here}>'
        f'<span class="sb-name">{one_line(batch.name)}</span><span class="sb-told">{one_line(told)}</span></button></li>'
    )


def counts(batch: Batch) -> str:
    failed = f", {batch.failed} failed" if batch.failed else ""
    return f"{batch.done} of {batch.rows} rows{failed}"


def progress(batch: Batch) -> str:
    """The batch's name, and how far it is."""
    kind, told = BATCH_STATES[batch.state]
    state = f'<span class="sb-state sb-state-{kind}">{told}</span>'
    return (
        f'<div class="sb-batch-head" role="status"><h3>{one_line(batch.name)}</h3>{state}'
        f'<progress value="{batch.done}" max="{max(batch.rows, 1)}"></progress><span>{one_line(counts(batch))}</span></div>'
    )


def averages_html(rows: Sequence[Row]) -> str:
    """For each contestant the mean of each figure that any of its answers has."""
    found = averages(rows)
    if not found:
        return ""
    names = [name for name in FIGURES if any(one[name] is not None for one in found)]
    best = {
        name: max(one[name] for one in found if one[name] is not None)
        for name in names
        if name in SCORES or name == "reward"
    }
    head = "".join(f"<th>{label}</th>" for label in ("Way", "Answers", *(FIGURES[name] for name in names)))
    body = ""
    for one in found:
        failed = f", {one['failed']} failed" if one["failed"] else ""
        cells = [("Way", one_line(one["contestant"])), ("Answers", f"{one['answers']}{failed}")]
        for name in names:
            value = number(name, one[name])
            is_best = len(found) > 1 and name in best and best[name] and one[name] == best[name]
            cells.append((FIGURES[name], f"<b>{value}</b>" if is_best else value))
        body += "<tr>" + "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in cells) + "</tr>"
    return _table("sb-averages", head, body)


def number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return (f"{value:.1f}" if name in ("tokens", "tokens_per_second") else f"{value:.2f}").replace("-", "−")


def rows_html(comparisons: Sequence[Comparison], table: Sequence[Row]) -> str:
    """One row for each question; a click on it opens it whole. `table` holds the answers of these comparisons."""
    if not comparisons:
        return ""
    by_row: dict[int, list[Row]] = {}
    for row in table:
        by_row.setdefault(row["row"], []).append(row)
    body = "".join(_row(one, by_row.get(one.position + 1, [])) for one in comparisons)
    head = "<th>Row</th><th>Question</th><th>Answers</th>"
    return _table("sb-rows", head, body)


def _row(comparison: Comparison, answers: Sequence[Row]) -> str:
    question = one_line(shorten(comparison.question, ANSWER_LENGTH)) or "–"
    reference = " / ".join(comparison.references)
    if reference:
        question += f'<small title="the reference">{one_line(shorten(reference, ANSWER_LENGTH))}</small>'
    if not comparison.columns:
        told = comparison.error or STATES[comparison.state] or "–"
        kind = "sb-refusal" if comparison.error else "sb-note"
        shown = f'<span class="{kind}">{one_line(told)}</span>'
    else:
        shown = f'<ul class="sb-answers">{"".join(map(_short, answers))}</ul>'
    pick = f' data-pick="{one_line(comparison.id)}"' if comparison.columns else ""
    opens = f'<button type="button" class="sb-link"{" disabled" if not pick else ""}>{comparison.position + 1}</button>'
    return (
        f'<tr{pick} data-state="{comparison.state}"><td data-label="Row">{opens}</td>'
        f'<td data-label="Question">{question}</td><td data-label="Answers">{shown}</td></tr>'
    )


def _short(row: Row) -> str:
    name = one_line(row["contestant"] or f"Answer {row['column']}")
    if row["error"]:
        text = f'<span class="sb-refusal">{one_line(shorten(row["error"], ANSWER_LENGTH))}</span>'
    elif row["answer"] is None:
        text = f'<span class="sb-note">{one_line(STATES.get(row["state"], str(row["state"])))}</span>'
    else:
        text = one_line(shorten(row["answer"], ANSWER_LENGTH)) or '<span class="sb-note">an empty answer</span>'
    labels = {**SCORES, "reward": FIGURES["reward"]}
    scores = [f"{label} {number(name, row[name])}" for name, label in labels.items() if row[name] is not None]
    figures = f"<small>{' · '.join(scores)}</small>" if scores and row["contestant"] else ""
    return f"<li><b>{name}</b> {text}{figures}</li>"


def failures_html(table: Sequence[Row]) -> str:
    """Every row, or answer of a row, that failed, with the reason."""
    failed = [row for row in table if row["error"]]
    if not failed:
        return ""
    items = "".join(f"<li>{_failure(row)}</li>" for row in failed)
    noun = "failure" if len(failed) == 1 else "failures"
    return f'<details class="sb-failures"><summary>{len(failed)} {noun}</summary><ul>{items}</ul></details>'


def _failure(row: Row) -> str:
    who = row["contestant"] or (f"answer {row['column']}" if row["column"] else "")
    place = f"Row {row['row']}" + (f", {who}" if who else "")
    return f'<b>{one_line(place)}</b> <span class="sb-refusal">{one_line(row["error"])}</span>'


def _table(kind: str, head: str, body: str) -> Any:
    return (
        f'<div class="sb-scroll"><table class="sb-table {kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
