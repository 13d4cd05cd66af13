"""Both databases, and finished answers to vote on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.feedback.store import Store
from tests.databases import KINDS, blank_database
from tests.feedback.ballot_box import BallotBox


@pytest.fixture(params=KINDS)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store at the newest revision, on each kind of database."""
    with blank_database(request.param, tmp_path) as url:
        store = Store(url, busy_timeout=5)
        store.migrate()
        yield store
        store.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[BallotBox]:
    """Answers to vote on, in SQLite."""
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=0.2)
    store.migrate()
    yield BallotBox(store)
    store.close()


@pytest.fixture
def any_box(any_store: Store) -> BallotBox:
    """Answers to vote on, on each kind of database."""
    return BallotBox(any_store)
