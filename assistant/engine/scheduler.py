"""Who is admitted, prefilled, decoded and finished next. Knows nothing of how a step is run; no torch."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from assistant.adapter_pool.pool import AdapterPool
from assistant.engine.sequence import Sequence, State, common_beginning
from assistant.errors import SwapboardError

MOST_PASSED = 32
"""How many later requests may pass one that waits for its adapter, before all wait with it."""

WORTH_SHARING = 32
"""So many tokens of a common beginning are worth a wait: to read them takes about as long as one step does anyway."""

MOST_SCORED = 256
"""Most prompt positions scored in one step: each takes a row of logits as wide as the vocabulary."""


@dataclass(frozen=True)
class Row:
    """What one step runs of one sequence: positions `start` to `start + count`.

    `samples` when the last of them is the last known position, so that a next token is picked after it.
    """

    sequence: Sequence
    start: int
    count: int
    samples: bool

    @property
    def foretold(self) -> range:
        """Which of the prompt's tokens the row's logits are to score: those that follow its own tokens."""
        sequence = self.sequence
        if not sequence.scores_prompt:
            return range(0)
        first = self.start - sequence.virtual + 1
        return range(max(first, 1), min(first + self.count, len(sequence.prompt)))


class Slots(Protocol):
    """The bookkeeping side of `kv_cache.KVCache`."""

    def acquire(self, sequence: Sequence) -> tuple[int, int]:
        """A free slot and how many positions of the sequence it already holds."""
        ...

    def held(self, sequence: Sequence) -> int:
        """How many tokens at the start of the sequence's lie in some slot already."""
        ...

    def release(self, sequence: Sequence) -> None: ...


class Scheduler:
    """First come, first served; a request whose adapter is still loading lets later ones pass.

    A prompt whose beginning is being read for another one waits until that is done and takes it from there, so that
    what many prompts begin with is read once.

    Args:
        max_batch: most sequences running at once; the cache has at least as many slots.
        prefill_chunk: most prompt positions run in one step, over all sequences.
    """

    def __init__(self, pool: AdapterPool, slots: Slots, max_batch: int, prefill_chunk: int) -> None:
        self.pool = pool
        self.slots = slots
        self.max_batch = max_batch
        self.prefill_chunk = prefill_chunk
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def schedule(self) -> list[Row]:
        """The rows of the next step, every decoding sequence first, then prompts up to the chunk."""
        for sequence in [s for s in (*self.running, *self.waiting) if s.is_cancelled]:
            self.finish(sequence, State.CANCELLED)
        self._admit()
        rows = [Row(s, s.computed, 1, True) for s in self.running if not s.is_prefilling]
        budget, scored = self.prefill_chunk, MOST_SCORED
        for sequence in self.running:
            if not sequence.is_prefilling:
                continue
            count = min(sequence.left, budget)
            if sequence.scores_prompt:
                count = min(count, scored)
                scored -= count
            if count > 0:
                budget -= count
                rows.append(Row(sequence, sequence.computed, count, count == sequence.left))
        return rows

    def advance(self, row: Row) -> None:
        """Note that a row was run."""
        row.sequence.computed = row.start + row.count

    def finish(self, sequence: Sequence, state: State) -> None:
        """End a sequence, whatever its state, and give back what it holds. Ending twice is an error."""
        if sequence.is_over:
            raise RuntimeError(f"sequence {sequence.id} ended twice: {sequence.state}, then {state}")
        was, sequence.state = sequence.state, state
        (self.waiting if was is State.WAITING else self.running).remove(sequence)
        # The slot last: it writes to the cache, which a device that has failed refuses.
        if sequence.lease is not None:
            self.pool.release(sequence.lease)
        if was is not State.WAITING:
            self.slots.release(sequence)

    def _admit(self) -> None:
        held_up: Sequence | None = None
        sharing = 0
        for sequence in list(self.waiting):
            if len(self.running) + sharing >= self.max_batch or (held_up and held_up.passed >= MOST_PASSED):
                return
            if self._is_being_read(sequence):
                # Its place is kept, so that whoever passes does not make it wait any longer.
                sharing += 1
                continue
            try:
                if sequence.adapter is not None:
                    sequence.lease = self.pool.try_acquire(sequence.adapter)
                    if sequence.lease is None:
                        held_up = held_up or sequence
                        continue
                    sequence.virtual = sequence.lease.weights.virtual
            except SwapboardError as error:
                self.finish(sequence, State.FAILED)
                sequence.tell(error)
                continue
            if held_up is not None:
                held_up.passed += 1
            self.waiting.remove(sequence)
            self.running.append(sequence)
            sequence.state = State.RUNNING
            sequence.slot, sequence.computed = self.slots.acquire(sequence)
            if sequence.lease is not None:
                sequence.computed = max(sequence.computed, sequence.lease.weights.preset)
            sequence.cached = max(sequence.computed - sequence.virtual, 0)
            sequence.admitted = time.perf_counter()

    def _is_being_read(self, sequence: Sequence) -> bool:
        """Whether a running prompt is just reading a beginning of this one, and has not come to its end.

        True for as many steps as that takes and no more: then the beginning is held.
        """
        if sequence.scores_prompt:
            return False
        for other in self.running:
            if other.key != sequence.key or not other.is_prefilling:
                continue
            common = min(common_beginning(other.tokens, sequence.tokens), len(sequence.tokens) - 1)
            if common - other.cached >= WORTH_SHARING and common > self.slots.held(sequence):
                return True
        return False
