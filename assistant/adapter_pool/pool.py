"""Who is resident: which adapter revisions are in memory, who holds them, who goes first.

The pool decides inside its lock and acts outside it: under the lock an operation only changes
entries and notes what is to be loaded; reading files happens on the loader thread. No torch here:
weights are opaque objects that the given `load` returns.

Life of an entry:  (absent) → LOADING → RESIDENT → (absent)
                                  └──→ FAILED → (absent)

Two names with the same content are two entries: each is pinned, unloaded and retired by itself.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from assistant.catalog import Adapter
from assistant.errors import AdapterConflict, AdapterError, AdapterTooLarge, EngineStopped, SwapboardError

RETRY_AFTER = 10.0
"""Seconds for which a failed load answers for itself; whoever asks later has it tried again, as the cause may be gone."""

Key = tuple[str, str]
"""Name and digest."""


class AdapterState(StrEnum):
    LOADING = "loading"
    RESIDENT = "resident"
    FAILED = "failed"


@dataclass
class Entry:
    """One revision. `used` orders entries by their last use; `retired` ones go as soon as nobody holds them."""

    adapter: Adapter
    nbytes: int
    state: AdapterState = AdapterState.LOADING
    weights: Any = None
    error: SwapboardError | None = None
    leases: int = 0
    is_pinned: bool = False
    is_retired: bool = False
    used: int = 0
    failed_at: float = 0.0
    loaded: Future[None] = field(default_factory=Future)

    @property
    def key(self) -> Key:
        return key_of(self.adapter)

    @property
    def is_evictable(self) -> bool:
        return self.state is AdapterState.RESIDENT and self.leases == 0 and not self.is_pinned


def key_of(adapter: Adapter) -> Key:
    return adapter.name, adapter.digest


class Lease:
    """The right to run with one revision; given back exactly once by `AdapterPool.release`."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.is_released = False

    @property
    def adapter(self) -> Adapter:
        return self._entry.adapter

    @property
    def weights(self) -> Any:
        return self._entry.weights


class AdapterPool:
    """Adapter revisions in memory, within a budget of bytes; LRU eviction over unpinned, unleased ones.

    Args:
        load: reads a revision's weights; runs on the loader thread; raises AdapterError.
        size_of: bytes the weights will take, known before they are read; raises AdapterError.
        budget: bytes that all entries together may take.
        on_change: called, outside the lock, whenever waiting requests may have a reason to ask again.
    """

    def __init__(
        self,
        load: Callable[[Adapter], Any],
        size_of: Callable[[Adapter], int],
        budget: int,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.budget = budget
        self.on_change = on_change
        self.evictions = 0
        self._load = load
        self._size_of = size_of
        self._entries: dict[Key, Entry] = {}
        self._lock = threading.Lock()
        self._clock = itertools.count(1)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="adapter-loader")
        self._is_closed = False

    @property
    def used_bytes(self) -> int:
        return sum(entry.nbytes for entry in self._entries.values())

    def try_acquire(self, adapter: Adapter) -> Lease | None:
        """A lease when the revision is resident; otherwise None, and its loading is under way or waits for room.

        Raises:
            AdapterError: it can never be resident, or loading it failed.
        """
        size = self._known_size(adapter)
        with self._lock:
            entry = self._entries.get(key_of(adapter))
            if entry is not None and entry.error and time.monotonic() - entry.failed_at >= RETRY_AFTER:
                del self._entries[entry.key]
                entry = None
            entry = entry or self._admit(adapter, size)
            if entry is None or entry.state is AdapterState.LOADING:
                return None
            if entry.error is not None:
                raise entry.error
            entry.leases += 1
            entry.used = next(self._clock)
            return Lease(entry)

    def release(self, lease: Lease) -> None:
        with self._lock:
            if lease.is_released:
                raise RuntimeError(f"the lease on {lease.adapter.name!r} was released twice")
            lease.is_released = True
            lease._entry.leases -= 1
            self._drop_if_retired(lease._entry)
        self.on_change()

    def load(self, adapter: Adapter) -> Future[None]:
        """Make a revision resident. The future fails with the AdapterError that prevents it.

        Unlike a request, which waits for room, this raises AdapterConflict when there is none now.
        A load that failed before is tried again.
        """
        size = self._known_size(adapter)
        with self._lock:
            entry = self._entries.get(key_of(adapter))
            if entry is not None and entry.state is AdapterState.FAILED:
                del self._entries[entry.key]
                entry = None
            entry = entry or self._admit(adapter, size)
            if entry is None:
                raise AdapterConflict(
                    f"no room for {adapter.name!r} ({size} bytes): running requests hold the {self.used_bytes} "
                    f"bytes in use of {self.budget}"
                )
            entry.used = next(self._clock)
            return entry.loaded

    def unload(self, adapter: Adapter) -> None:
        """Drop a revision. Raises AdapterConflict when it is not resident or a request holds it."""
        with self._lock:
            entry = self._entries.get(key_of(adapter))
            if entry is None:
                raise AdapterConflict(f"adapter {adapter.name!r} is not loaded")
            if entry.state is AdapterState.LOADING or entry.leases:
                held = (
                    "it is being loaded" if entry.state is AdapterState.LOADING else f"{entry.leases} requests hold it"
                )
                raise AdapterConflict(f"adapter {adapter.name!r} cannot be unloaded now: {held}")
            del self._entries[entry.key]
        self.on_change()

    def pin(self, adapter: Adapter, pinned: bool) -> None:
        """Raises AdapterConflict when the revision is not resident."""
        with self._lock:
            entry = self._entries.get(key_of(adapter))
            if entry is None or entry.state is not AdapterState.RESIDENT:
                raise AdapterConflict(f"adapter {adapter.name!r} is not loaded; load it before pinning it")
            entry.is_pinned = pinned
        self.on_change()

    def retire(self, name: str, keep: str | None = None) -> None:
        """Let go of all revisions under `name` but `keep`; those in use go when their last request ends."""
        with self._lock:
            for entry in [entry for entry in self._entries.values() if entry.adapter.name == name]:
                if entry.adapter.digest != keep:
                    entry.is_pinned, entry.is_retired = False, True
                    self._drop_if_retired(entry)
                elif entry.error:
                    # What it failed of may be gone, as it is served anew.
                    del self._entries[entry.key]
                else:
                    # One that is gone back to before its last request has ended stays.
                    entry.is_retired = False
        self.on_change()

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries.values())

    def close(self) -> None:
        self._is_closed = True
        self._loader.shutdown(wait=True, cancel_futures=True)

    def check_integrity(self) -> None:
        """Raises RuntimeError where the books are wrong; every test ends with it."""
        with self._lock:
            problems = []
            for key, entry in self._entries.items():
                if entry.leases < 0:
                    problems.append(f"{entry.adapter.name} has {entry.leases} leases")
                if (entry.state is AdapterState.RESIDENT) != (entry.weights is not None):
                    problems.append(f"{entry.adapter.name} is {entry.state} with weights {entry.weights!r}")
                if entry.leases and entry.state is not AdapterState.RESIDENT:
                    problems.append(f"{entry.adapter.name} is leased while {entry.state}")
                if key != entry.key:
                    problems.append(f"{entry.adapter.name} is filed under {key}")
            if self.used_bytes > self.budget:
                problems.append(f"{self.used_bytes} bytes of {self.budget}")
            if problems:
                raise RuntimeError(f"{self._describe()}: {'; '.join(problems)}")

    def __repr__(self) -> str:
        with self._lock:
            return self._describe()

    def _describe(self) -> str:
        entries = ", ".join(
            f"{e.adapter.name}@{e.adapter.digest[:8]} {e.state}"
            + (f" leases={e.leases}" if e.leases else "")
            + (" pinned" if e.is_pinned else "")
            + (" retired" if e.is_retired else "")
            for e in self._entries.values()
        )
        return f"<AdapterPool {self.used_bytes}/{self.budget} bytes, {len(self._entries)} entries: [{entries}]>"

    # Decisions: called with the lock held --------------------------------------------------------

    def _admit(self, adapter: Adapter, size: int) -> Entry | None:
        """A LOADING entry with its room reserved, or None while running requests hold that room."""
        if self._is_closed:
            raise EngineStopped("the adapter pool is closed")
        if size > self.budget:
            raise AdapterTooLarge(f"adapter {adapter.name!r} takes {size} bytes; the pool holds {self.budget}")
        pinned = sum(entry.nbytes for entry in self._entries.values() if entry.is_pinned)
        if size > self.budget - pinned:
            raise AdapterConflict(
                f"adapter {adapter.name!r} takes {size} bytes, but pinned adapters leave {self.budget - pinned} "
                f"of {self.budget}; unpin one"
            )
        victims, free = [], self.budget - self.used_bytes
        for entry in sorted(filter(lambda e: e.is_evictable, self._entries.values()), key=lambda e: e.used):
            if free >= size:
                break
            victims.append(entry)
            free += entry.nbytes
        if free < size:
            return None
        for victim in victims:
            del self._entries[victim.key]
            self.evictions += 1
        entry = Entry(adapter, size)
        # Under way from now on: one of those who wait for it may leave, and cannot cancel it for the others.
        entry.loaded.set_running_or_notify_cancel()
        self._entries[entry.key] = entry
        self._loader.submit(self._fill, entry)
        return entry

    def _drop_if_retired(self, entry: Entry) -> None:
        if entry.is_retired and entry.leases == 0 and entry.state is not AdapterState.LOADING:
            self._entries.pop(entry.key, None)

    # Actions: called without the lock ------------------------------------------------------------

    def _known_size(self, adapter: Adapter) -> int:
        with self._lock:
            entry = self._entries.get(key_of(adapter))
        return entry.nbytes if entry and not entry.error else self._size_of(adapter)

    def _fill(self, entry: Entry) -> None:
        """Read an entry's weights, on the loader thread; whatever happens is told to those who wait."""
        error: SwapboardError | None = None
        weights = None
        try:
            weights = self._load(entry.adapter)
        except SwapboardError as refusal:
            error = refusal
        except Exception as failure:
            error = AdapterError(f"adapter {entry.adapter.name!r} could not be read: {failure!r}")
        with self._lock:
            entry.weights, entry.error = weights, error
            entry.state = AdapterState.FAILED if error else AdapterState.RESIDENT
            # A failed entry stays, so that its requests hear why, but takes no room.
            if error:
                entry.nbytes, entry.failed_at = 0, time.monotonic()
            self._drop_if_retired(entry)
        if error:
            entry.loaded.set_exception(error)
        else:
            entry.loaded.set_result(None)
        self.on_change()
