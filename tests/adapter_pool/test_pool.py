"""The pool decides who is resident. Weights are plain strings here."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from assistant.adapter_pool import pool as pools
from assistant.adapter_pool.pool import AdapterPool, AdapterState
from assistant.catalog import Adapter
from assistant.errors import AdapterBroken, AdapterConflict, AdapterError, AdapterTooLarge


def adapter(name: str, revision: int = 0, size: int = 10) -> Adapter:
    return Adapter(name, Path(name), type="LORA", nbytes=size, digest=f"{name}-{revision}".ljust(64, "0"))


class Loads:
    """A loader whose reads can be held back or made to fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failing: set[str] = set()
        self.calls: list[str] = []

    def __call__(self, wanted: Adapter) -> str:
        self.calls.append(wanted.name)
        assert self.gate.wait(10)
        if wanted.name in self.failing:
            raise AdapterBroken(f"{wanted.name} is damaged")
        return f"weights of {wanted.name}"


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def pool(loads):
    pool = AdapterPool(loads, lambda wanted: wanted.nbytes, budget=30)
    yield pool
    loads.gate.set()
    pool.close()
    pool.check_integrity()


def lease(pool: AdapterPool, wanted: Adapter):
    pool.load(wanted).result(10)
    got = pool.try_acquire(wanted)
    assert got is not None
    return got


def names(pool: AdapterPool) -> list[str]:
    return sorted(entry.adapter.name for entry in pool.entries())


def test_a_lease_is_granted_once_the_adapter_is_resident(pool, loads):
    loads.gate.clear()
    assert pool.try_acquire(adapter("a")) is None
    assert pool.entries()[0].state is AdapterState.LOADING
    loads.gate.set()
    pool.entries()[0].loaded.result(10)
    got = pool.try_acquire(adapter("a"))
    assert got.weights == "weights of a" and loads.calls == ["a"]
    pool.release(got)


def test_the_least_recently_used_unleased_unpinned_adapter_goes_first(pool):
    held = lease(pool, adapter("held"))
    pool.release(lease(pool, adapter("old")))
    pool.release(lease(pool, adapter("new")))
    pool.release(lease(pool, adapter("old")))
    lease(pool, adapter("fourth"))
    assert names(pool) == ["fourth", "held", "old"] and pool.evictions == 1
    pool.release(held)


def test_pinned_adapters_stay(pool):
    for name in ("a", "b"):
        pool.load(adapter(name)).result(10)
        pool.pin(adapter(name), True)
    for name in ("c", "d", "e"):
        pool.load(adapter(name)).result(10)
    assert names(pool) == ["a", "b", "e"]
    with pytest.raises(AdapterConflict, match="unpin one"):
        pool.load(adapter("big", size=20))


def test_a_request_waits_while_running_ones_hold_the_room_and_an_explicit_load_says_so(pool):
    held = [lease(pool, adapter(name)) for name in "abc"]
    assert pool.try_acquire(adapter("d")) is None
    with pytest.raises(AdapterConflict, match="no room"):
        pool.load(adapter("d"))
    pool.release(held[0])
    assert pool.try_acquire(adapter("d")) is None
    assert names(pool) == ["b", "c", "d"]
    for one in held[1:]:
        pool.release(one)


def test_what_can_never_fit_is_refused(pool):
    with pytest.raises(AdapterTooLarge, match="31 bytes; the pool holds 30"):
        pool.try_acquire(adapter("huge", size=31))


def test_a_failed_load_is_told_to_every_request_and_tried_again_on_demand(pool, loads):
    loads.failing.add("bad")
    with pytest.raises(AdapterBroken):
        pool.load(adapter("bad")).result(10)
    for _ in range(2):
        with pytest.raises(AdapterBroken, match="damaged"):
            pool.try_acquire(adapter("bad"))
    assert pool.used_bytes == 0
    loads.failing.clear()
    pool.release(lease(pool, adapter("bad")))
    assert pool.used_bytes == 10


def test_a_failed_load_is_tried_again_for_requests_too_after_a_while(pool, loads, monkeypatch):
    loads.failing.add("a")
    assert pool.load(adapter("a")).exception(10)
    loads.failing.clear()
    with pytest.raises(AdapterBroken):
        pool.try_acquire(adapter("a"))
    monkeypatch.setattr(pools, "RETRY_AFTER", 0.0)
    assert pool.try_acquire(adapter("a")) is None
    pool.entries()[0].loaded.result(10)
    pool.release(pool.try_acquire(adapter("a")))


def test_going_back_to_a_revision_forgets_that_it_failed_before(pool, loads):
    loads.failing.add("a")
    first, second = adapter("a", revision=1), adapter("a", revision=2)
    assert pool.load(first).exception(10)
    loads.failing.clear()
    pool.release(lease(pool, second))
    pool.retire("a", keep=first.digest)
    assert pool.entries() == [] and pool.try_acquire(first) is None
    pool.entries()[0].loaded.result(10)
    pool.release(pool.try_acquire(first))


def test_two_names_of_the_same_content_are_held_pinned_and_retired_each_by_itself(pool):
    one, other = adapter("a"), replace(adapter("a"), name="b")
    for wanted in (one, other):
        pool.release(lease(pool, wanted))
        pool.pin(wanted, True)
    assert names(pool) == ["a", "b"] and pool.used_bytes == 20
    pool.retire("a")
    (left,) = pool.entries()
    assert left.adapter == other and left.is_pinned


def test_an_unexpected_failure_becomes_an_adapter_error(pool, loads):
    loads.failing = None
    with pytest.raises(AdapterError, match="TypeError"):
        pool.load(adapter("odd")).result(10)


def test_whoever_leaves_while_an_adapter_loads_spoils_it_for_nobody_else(pool, loads):
    heard = threading.Event()
    pool.on_change = heard.set
    loads.gate.clear()
    first, second = pool.load(adapter("a")), pool.load(adapter("a"))
    assert not first.cancel(), "the load is everybody's"
    loads.gate.set()
    assert second.result(10) is None and heard.wait(10)
    assert pool.try_acquire(adapter("a")) is not None


def test_a_leased_adapter_cannot_be_unloaded(pool):
    held = lease(pool, adapter("a"))
    with pytest.raises(AdapterConflict, match="1 requests hold it"):
        pool.unload(adapter("a"))
    pool.release(held)
    pool.unload(adapter("a"))
    with pytest.raises(AdapterConflict, match="not loaded"):
        pool.unload(adapter("a"))


def test_a_retired_revision_goes_when_its_last_request_ends(pool):
    old = lease(pool, adapter("a", revision=1))
    pool.pin(adapter("a", revision=1), True)
    new = lease(pool, adapter("a", revision=2))
    pool.retire("a", keep=adapter("a", revision=2).digest)
    assert len(pool.entries()) == 2 and old.weights
    pool.release(old)
    assert [entry.adapter.digest for entry in pool.entries()] == [new.adapter.digest]
    pool.release(new)


def test_releasing_twice_is_an_error(pool):
    held = lease(pool, adapter("a"))
    pool.release(held)
    with pytest.raises(RuntimeError, match="twice"):
        pool.release(held)


def test_its_repr_tells_the_truth(pool):
    held = lease(pool, adapter("a"))
    pool.pin(adapter("a"), True)
    assert repr(pool) == "<AdapterPool 10/30 bytes, 1 entries: [a@a-000000 resident leases=1 pinned]>"
    pool.release(held)


def test_many_threads_leave_the_books_right(pool):
    wanted = [adapter(f"n{i}", size=7) for i in range(8)]
    failures = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(200):
            one = rng.choice(wanted)
            try:
                got = pool.try_acquire(one)
                if got is not None:
                    assert got.weights == f"weights of {one.name}"
                    pool.release(got)
                if rng.random() < 0.1:
                    pool.retire(one.name)
                pool.check_integrity()
            except AdapterConflict:
                pass
            except Exception as failure:
                failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and all(entry.leases == 0 for entry in pool.entries())
