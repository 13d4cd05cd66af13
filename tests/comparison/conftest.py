"""A comparator over a fake backend and a real store."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from assistant.comparison.comparator import Comparator
from assistant.comparison.request import ComparisonRequest, Contestant, FewShot
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.store import Store
from tests.fakes import EchoBackend, ListRetriever, fake_service, write_adapter

SHOT = FewShot(question="one plus one", answer="two")


@pytest.fixture
def store(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=5)
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def comparisons(store: Store) -> ComparisonStore:
    return ComparisonStore(store.database)


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapters" / "mood", decoding={"temperature": 0, "max_tokens": 3})
    write_adapter(tmp_path / "adapters" / "sums", fill=0.25)
    return tmp_path / "adapters"


@pytest.fixture
def compare_over(adapters, store, comparisons):
    """A comparator over the backend that is given."""

    def build(backend: EchoBackend | None = None, retriever: ListRetriever | None = None) -> Comparator:
        return Comparator(fake_service(adapters, backend, store, retriever=retriever), comparisons)

    return build


def asked(question: str = "two plus two", **changes: object) -> ComparisonRequest:
    contestants = (
        Contestant(mode="prompt"),
        Contestant(mode="few-shot"),
        Contestant(mode="tuned", adapter="mood"),
    )
    return ComparisonRequest(**{"question": question, "contestants": contestants, "examples": (SHOT,), **changes})


async def collect(stream):
    return [event async for event in stream]


def hold_until_all_are_there(backend, monkeypatch, count):
    """The store's commits come one after another; tiny answers would be over before the last is asked."""
    barrier, generate = asyncio.Barrier(count), backend.generate

    async def held(generation):
        await barrier.wait()
        async with aclosing(generate(generation)) as items:
            async for item in items:
                yield item

    monkeypatch.setattr(backend, "generate", held)
