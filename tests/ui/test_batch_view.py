"""Batches as they are shown; nothing from outside becomes markup."""

from __future__ import annotations

from datetime import UTC, datetime

from assistant.comparison.results import table
from assistant.feedback.comparison_records import Batch
from assistant.ui import batch_view as view
from tests.ui.test_compare_view import EVIL, answered, part, record, request

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def batch(**changes: object) -> Batch:
    whole = {"id": "b" * 32, "owner": "me", "name": EVIL, "created_at": NOW, "finished_at": None}
    counted = {"state": "running", "template": {}, "rows": 9, "done": 4, "failed": 1}
    return Batch(**{**whole, **counted, **changes})


def rows() -> list:
    asked = request(references=("Ann did",)).record()
    good = record(answered(0, 0, part()), answered(1, 1, part("no")), request=asked)
    half = record(
        answered(0, 0, part(EVIL)), answered(1, 1, state="failed", error=EVIL), position=1, id="d" * 32, request=asked
    )
    return [good, half, record(position=2, id="e" * 32, request={}, state="failed", error=f"line 4: {EVIL}")]


def test_progress_tells_how_far_a_batch_is():
    made = view.progress(batch()) + view.batch_list([batch()], "b" * 32)
    assert "4 of 9 rows, 1 failed" in made and 'value="4" max="9"' in made and "aria-current" in made
    assert "<img" not in made


def test_averages_mark_the_best_score():
    """Of "prompt" one answer of two is right: EM 0.50, and F1 1 and 0; "tuned mood" has none right."""
    made = view.averages_html(table(rows()))
    assert '<td data-label="EM"><b>0.50</b></td>' in made and "1, 1 failed" in made
    assert view.averages_html([]) == ""


def test_every_row_can_be_opened_but_one_that_was_never_asked():
    found = rows()
    made = view.rows_html(found, table(found))
    assert made.count("data-pick") == 2 and "line 4" in made and "EM 1.00" in made and "<img" not in made


def test_failures_are_listed_with_their_place_and_reason():
    made = view.failures_html(table(rows()))
    assert "2 failures" in made and "Row 2, tuned mood" in made and "Row 3" in made and "<img" not in made
    assert view.failures_html(table(rows()[:1])) == ""


def test_a_hidden_row_tells_no_name():
    hidden = [record(answered(0, None, part()), answered(1, None, part("no")), blind=True)]
    made = view.rows_html(hidden, table(hidden))
    assert "Answer A" in made and "tuned" not in made and view.averages_html(table(hidden)) == ""
