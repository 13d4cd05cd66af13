"""The same search is done once, and never answered from documents that have changed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from assistant.errors import NothingRelevant
from assistant.messages import Passage, Retrieval
from assistant.retrieval.shared import REMEMBERED, SharedSearch


class Counting:
    """Finds one passage that says what was searched for; both a retriever and its library."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.version = (1, 1)
        self.gate = threading.Event()
        self.gate.set()

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]:
        self.asked.append(retrieval.query or query)
        self.gate.wait(10)
        if query == "nothing":
            raise NothingRelevant("nothing fits")
        return (Passage(id=len(self.asked), document_id="d", document="d.md", start=0, end=1, text=query),)

    def refresh(self) -> None:
        self.asked.append("refresh")


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def shared(counting) -> SharedSearch:
    return SharedSearch(counting, counting)


def test_columns_that_ask_together_wait_for_one_search(counting, shared):
    counting.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(shared.search, "why", Retrieval()) for _ in range(4)]
        counting.gate.set()
        results = {one.result(10) for one in found}
    assert counting.asked == ["why"] and len(results) == 1


def test_one_that_asks_later_gets_the_same_until_the_documents_change(counting, shared):
    first = shared.search("why", Retrieval())
    assert shared.search("why", Retrieval()) == first and counting.asked == ["why"]
    counting.version = (2, 2)
    assert shared.search("why", Retrieval()) != first and counting.asked == ["why", "why"]


def test_other_words_or_settings_are_another_search(counting, shared):
    for query, retrieval in (
        ("why", Retrieval()),
        ("how", Retrieval()),
        ("why", Retrieval(top_k=2)),
        ("why", Retrieval(collections=("a",))),
        ("why", Retrieval(query="when")),
    ):
        shared.search(query, retrieval)
    assert counting.asked == ["why", "how", "why", "why", "when"]


def test_a_failure_is_told_and_tried_again(counting, shared):
    for _ in range(2):
        with pytest.raises(NothingRelevant):
            shared.search("nothing", Retrieval())
    assert counting.asked == ["nothing", "nothing"]


def test_only_so_many_results_are_remembered(counting, shared):
    for number in range(REMEMBERED + 1):
        shared.search(str(number), Retrieval())
    shared.search("1", Retrieval())
    assert len(counting.asked) == REMEMBERED + 1
    shared.search("0", Retrieval())
    assert len(counting.asked) == REMEMBERED + 2
