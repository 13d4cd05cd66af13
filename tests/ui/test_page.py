"""How the page is put together and served."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from assistant.comparison.batch import Batches
from assistant.comparison.comparator import Comparator
from assistant.feedback.batches import BatchStore
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.store import Store
from assistant.service import ChatService
from assistant.ui.history import file_name
from assistant.ui.page import build_page, mount_page
from assistant.ui.theme import POLICY
from tests.fake_library import word_library, word_retriever
from tests.fakes import fake_service, write_adapter


@pytest.fixture
def store(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}")
    store.migrate()
    yield store
    store.close()


def whole(folder: Path, store: Store) -> tuple[ChatService, Store, Batches]:
    library = word_library(store.database)
    service = fake_service(folder, library=library, retriever=word_retriever(library))
    comparator = Comparator(service, ComparisonStore(store.database))
    return service, store, Batches(comparator, BatchStore(store.database))


# These are async because Gradio makes itself event loops, and never closes them, where it finds none running.


async def test_the_page_opens_no_folder_and_sends_nothing_elsewhere(tmp_path, store):
    write_adapter(tmp_path / "mood")
    page = build_page(*whole(tmp_path, store))
    assert page.analytics_enabled is False
    app = mount_page(FastAPI(), *whole(tmp_path, store), 1000)
    (mounted,) = [route.app.get_blocks() for route in app.routes if isinstance(route, Mount)]
    assert mounted.allowed_paths == [] and mounted.run_history is False and mounted.max_file_size == 1000
    assert "http" not in POLICY


async def test_no_event_of_the_page_waits_for_another(tmp_path, store):
    page = build_page(*whole(tmp_path, store))
    assert {event.concurrency_limit for event in page.fns.values()} <= {"default", None}
    assert page._queue.default_concurrency_limit is None


@pytest.mark.parametrize(
    ("title", "name"), [("What is 2+2?", "What-is-2-2"), ("../../etc", "etc"), ("", "conversation"), ("Ä ö", "Ä-ö")]
)
def test_a_title_becomes_a_file_name_any_system_takes(title, name):
    assert file_name(title) == name
