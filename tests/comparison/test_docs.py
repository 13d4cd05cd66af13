"""The manual page tells all there is."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from fastapi.routing import APIRoute

from assistant.api.comparisons import BatchBody, ComparisonBody, comparisons_router
from assistant.comparison.batch import Batches
from assistant.comparison.questions import MOST_ROWS
from assistant.comparison.request import Mode
from assistant.engine.scheduler import WORTH_SHARING
from assistant.feedback.batches import BatchStore

MANUAL = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_every_endpoint_mode_field_and_number_is_in_the_manual(compare_over, store):
    comparator = compare_over()
    router = comparisons_router(comparator, Batches(comparator, BatchStore(store.database)))
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) == 15
    for route in routes:
        (method,) = route.methods
        assert f"| `{method} {route.path}` |" in MANUAL
    for name in (*get_args(Mode), *ComparisonBody.model_fields):
        assert f"| `{name}` |" in MANUAL
    for name in BatchBody.model_fields:
        assert f"`{name}`" in MANUAL
    assert f"up to {MOST_ROWS:,} questions" in MANUAL and f"fewer than {WORTH_SHARING} tokens" in MANUAL
