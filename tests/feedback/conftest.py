"""Both databases, and finished answers to vote on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.feedback.store import Store
from tests.databases import KINDS, ready_database
from tests.feedback.ballot_box import BallotBox


@pytest.fixture(params=KINDS)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store at the newest revision, on each kind of database."""
    with ready_database(request.param, tmp_path / "any") as url:
        store = Store(url, busy_timeout=5)
        yield store
        store.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[BallotBox]:
    """Answers to vote on, in SQLite."""
    with ready_database("sqlite", tmp_path) as url:
        store = Store(url, busy_timeout=0.2)
        yield BallotBox(store)
        store.close()


@pytest.fixture
def any_box(any_store: Store) -> BallotBox:
    """Answers to vote on, on each kind of database."""
    return BallotBox(any_store)
