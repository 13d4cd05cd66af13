"""Many questions in the background, over a fake backend and a real store."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from assistant.comparison.batch import Batches, _patiently
from assistant.comparison.questions import Question, read_questions
from assistant.comparison.request import Contestant, Setup
from assistant.errors import EngineStopped, InvalidRequest, NotFound, QueueFull, StoreUnavailable, UnknownAdapter
from assistant.feedback.batches import BatchStore
from tests.fakes import EchoBackend

SETUP = Setup(contestants=(Contestant(mode="prompt"), Contestant(mode="tuned", adapter="mood")))


@pytest.fixture
def kept(store) -> BatchStore:
    return BatchStore(store.database)


@pytest.fixture
def batches_over(compare_over, kept):
    """Working batches over the backend that is given."""

    @contextlib.asynccontextmanager
    async def start(backend: EchoBackend | None = None):
        batches = Batches(compare_over(backend), kept)
        await batches.start()
        try:
            yield batches
        finally:
            await batches.stop()

    return start


async def until(condition, seconds: float = 30.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def is_over(kept, batch_id):
    return lambda: kept.batch(batch_id, "ann").state != "running"


def questions(*texts: str) -> list[Question]:
    return [Question(line, text, ("base: word1",)) for line, text in enumerate(texts, 1)]


class Forgetful(EchoBackend):
    """Fails the questions that say so, and is full the first time it is asked anything."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def generate(self, generation):
        text = "".join(map(chr, generation.prompt))
        self.asked.append(text)
        if self.asked.count(text) == 1 and "busy" in text:
            raise QueueFull("64 wait", 1)
        if "poison" in text:
            raise ZeroDivisionError("odd")
        async for item in super().generate(generation):
            yield item


async def test_a_row_with_too_many_references_fails_alone(batches_over, kept):
    rows = [Question(1, "one", ("a",) * 33), Question(2, "two", ("",)), Question(3, "three", ("a",) * 32)]
    async with batches_over() as batches:
        batch_id = await batches.start_batch("ann", "Set", rows, SETUP)
        await until(is_over(kept, batch_id))
    many, empty, fine = kept.rows(batch_id, "ann")
    assert "line 1: references: " in many.error and "at most 32" in many.error
    assert "line 2: references.0: " in empty.error and fine.error is None and fine.state == "finished"


async def test_all_rows_are_answered_and_a_failed_one_keeps_its_reason(batches_over, kept):
    rows = read_questions('{"question": "one"}\n{"question": 2}\n{"question": "poison"}\n{"question": "four"}')
    async with batches_over(Forgetful()) as batches:
        batch_id = await batches.start_batch("ann", "Set", rows, SETUP)
        await until(is_over(kept, batch_id))
    batch = kept.batch(batch_id, "ann")
    assert (batch.state, batch.name, batch.rows, batch.done, batch.failed) == ("finished", "Set", 4, 4, 2)
    first, unread, poison, last = kept.rows(batch_id, "ann")
    assert [c.text for c in first.columns] == ["base: word1 word2 word3 word4", "mood: word1 word2"]
    assert unread.state == "failed" and "line 2" in unread.error and unread.columns == ()
    assert poison.state == "failed" and [c.state for c in poison.columns] == ["failed", "failed"]
    assert last.state == "finished"
    assert len({c.parts[0].decoding.seed for r in (first, last) for c in r.columns}) == 1, "one seed for the batch"


async def test_what_was_full_for_the_moment_is_asked_again_and_nothing_else(batches_over, kept):
    backend = Forgetful()
    contestants = (Contestant(mode="prompt"), Contestant(mode="tuned", adapter="sums"))
    async with batches_over(backend) as batches:
        setup = Setup(contestants=contestants, system="calm")
        batch_id = await batches.start_batch("ann", "", questions("busy"), setup)
        await until(is_over(kept, batch_id))
    (row,) = kept.rows(batch_id, "ann")
    assert [c.state for c in row.columns] == ["finished", "finished"]
    # Both columns send the same text: the first to come finds the queue full, the other is answered.
    assert len(backend.asked) == 3


async def test_a_stop_waits_for_what_is_being_written():
    begun, may_end = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        assert may_end.wait(10)

    task = asyncio.create_task(_patiently(write))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.wait([task], timeout=0.1)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_a_restart_nothing_answered_is_asked_again(batches_over, kept, comparisons, store):
    backend = EchoBackend(words=3, pace=0.02)
    texts = [f"question {n}" for n in range(6)]
    async with batches_over(backend) as batches:
        batch_id = await batches.start_batch("ann", "", questions(*texts), SETUP)
        await until(lambda: kept.batch(batch_id, "ann").done >= 2)
    # What a crash leaves, too: rows that say they run, and nobody who runs them.
    before = {c.turn_id: c.parts for r in kept.rows(batch_id, "ann") for c in r.columns if c.state == "finished"}
    assert kept.batch(batch_id, "ann").state == "running" and len(before) < 12
    store.recover()
    comparisons.recover()
    second = EchoBackend()
    async with batches_over(second) as batches:
        await until(is_over(kept, batch_id))
    rows = kept.rows(batch_id, "ann")
    assert [r.state for r in rows] == ["finished"] * 6
    after = {c.turn_id: c.parts for r in rows for c in r.columns}
    assert len(after) == 12 and before.items() <= after.items()
    assert len(second.seen) == 12 - len(before)


async def test_a_cancelled_batch_stops_computing_and_keeps_its_answers(batches_over, kept):
    backend = EchoBackend(words=3, pace=0.05)
    async with batches_over(backend) as batches:
        batch_id = await batches.start_batch("ann", "", questions(*map(str, range(9))), SETUP)
        await until(lambda: kept.batch(batch_id, "ann").done >= 1)
        with pytest.raises(NotFound):
            await batches.cancel(batch_id, "bob")
        await batches.cancel(batch_id, "ann")
        computed = backend.generated
        await asyncio.sleep(0.2)
        assert backend.generated == computed and backend.running == 0
        states = [r.state for r in kept.rows(batch_id, "ann")]
        assert kept.batch(batch_id, "ann").state == "cancelled"
        assert states.count("finished") >= 1 and set(states) == {"finished", "cancelled"}
        other = await batches.start_batch("ann", "", questions("and on"), SETUP)
        await until(is_over(kept, other))
        await batches.delete(batch_id, "ann")
    with pytest.raises(NotFound):
        kept.batch(batch_id, "ann")


async def test_a_small_batch_does_not_wait_for_a_large_one(batches_over, kept):
    async with batches_over(EchoBackend(words=1, pace=0.01)) as batches:
        large = await batches.start_batch("ann", "", questions(*map(str, range(40))), SETUP)
        small = await batches.start_batch("ann", "", questions("x", "y"), SETUP)
        await until(is_over(kept, small))
        assert kept.batch(large, "ann").state == "running"
        assert [b.id for b in kept.batches("ann")] == [small, large]


async def test_a_database_that_is_away_for_a_while_loses_no_row(batches_over, kept, monkeypatch):
    monkeypatch.setattr("assistant.comparison.batch.RETRY_AFTER", 0.05)
    failures = iter([StoreUnavailable("locked")] * 3)
    seats = kept.seats

    def shaky(*args):
        if (failure := next(failures, None)) is not None:
            raise failure
        return seats(*args)

    monkeypatch.setattr(kept, "seats", shaky)
    async with batches_over() as batches:
        batch_id = await batches.start_batch("ann", "", questions("a", "b"), SETUP)
        await until(is_over(kept, batch_id))
    assert [r.state for r in kept.rows(batch_id, "ann")] == ["finished", "finished"]


async def test_an_answer_whose_end_cannot_be_kept_is_asked_again(batches_over, kept, store, monkeypatch):
    monkeypatch.setattr("assistant.comparison.batch.RETRY_AFTER", 0.05)
    failures = iter([StoreUnavailable("locked")] * 4)
    finish_turn = store.finish_turn

    def shaky(*args):
        if (failure := next(failures, None)) is not None:
            raise failure
        finish_turn(*args)

    monkeypatch.setattr(store, "finish_turn", shaky)
    async with batches_over() as batches:
        batch_id = await batches.start_batch("ann", "", questions("a"), SETUP)
        await until(is_over(kept, batch_id))
    (row,) = kept.rows(batch_id, "ann")
    assert [c.state for c in row.columns] == ["finished", "finished"]


async def test_nothing_is_asked_of_an_engine_that_has_failed(batches_over, kept, monkeypatch):
    monkeypatch.setattr("assistant.comparison.batch.RETRY_AFTER", 0.01)
    backend = EchoBackend(error=EngineStopped("the engine cannot go on"))
    backend.is_alive = False
    async with batches_over(backend) as batches:
        batches.comparator.service.is_ready = True
        batch_id = await batches.start_batch("ann", "", questions("a"), SETUP)
        await until(lambda: kept.rows(batch_id, "ann")[0].state == "running")
        await asyncio.sleep(0.2)
        assert backend.seen == [] and kept.rows(batch_id, "ann")[0].columns == ()
        await batches.cancel(batch_id, "ann")
    assert kept.batch(batch_id, "ann").state == "cancelled"


async def test_a_batch_that_cannot_succeed_is_refused_before_anything_is_kept(batches_over, kept):
    async with batches_over() as batches:
        with pytest.raises(InvalidRequest, match="at least one question"):
            await batches.start_batch("ann", "", [], SETUP)
        typo = Setup(contestants=(Contestant(mode="prompt"), Contestant(mode="tuned", adapter="moood")))
        with pytest.raises(UnknownAdapter, match="mood"):
            await batches.start_batch("ann", "", questions("a"), typo)
    assert kept.batches("ann") == []
