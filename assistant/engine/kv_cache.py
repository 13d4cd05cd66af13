"""Cache slots and prefix reuse.

Every slot holds the keys and values of one token sequence under one adapter revision. A slot keeps
its content after its request ended, so that the conversation's next turn finds its beginning there.
Content is identified by (adapter digest, tokens); a name never matters.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from assistant.engine.sequence import Sequence, State, common_beginning


@dataclass
class Slot:
    """`tokens` are those whose keys and values lie here, behind `virtual` positions of a soft prompt."""

    index: int
    key: str | None = None
    virtual: int = 0
    tokens: list[int] = field(default_factory=list)
    owner: Sequence | None = None
    used: int = 0

    def common(self, sequence: Sequence) -> int:
        """How many tokens at the start of the sequence's are held here; one is always left to run."""
        # The same key is the same adapter revision, and so as many virtual positions.
        if self.key != sequence.key or sequence.scores_prompt:
            return 0
        held = self.owner.tokens[: max(self.owner.computed - self.virtual, 0)] if self.owner else self.tokens
        return min(common_beginning(held, sequence.tokens), len(sequence.tokens) - 1)


class KVCache:
    """Keys and values of all slots.

    Args:
        layers: (kv heads, head dimension) of each layer.
        slots: how many sequences are kept.
        length: most positions of one slot.
        dtype: that of the base.
    """

    def __init__(
        self, layers: list[tuple[int, int]], slots: int, length: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shapes = [(slots, heads, length, dim) for heads, dim in layers]
        self.keys = [zeros(shape, dtype, device) for shape in shapes]
        self.values = [zeros(shape, dtype, device) for shape in shapes]
        self.length = length
        self.slots = [Slot(index) for index in range(slots)]
        self._clock = itertools.count(1)

    def held(self, sequence: Sequence) -> int:
        """How many tokens at the start of the sequence's lie in some slot already."""
        return max(slot.common(sequence) for slot in self.slots)

    def acquire(self, sequence: Sequence) -> tuple[int, int]:
        """Give the sequence a free slot: (its index, positions already computed in it).

        The slot with the longest common beginning is taken over when it is free and most of it is
        of use; otherwise that beginning is copied, so that the other conversation keeps its own.
        """
        best = max(self.slots, key=lambda slot: (slot.common(sequence), slot.owner is None))
        common = best.common(sequence)
        slot = best
        if not common or best.owner is not None or common * 2 < len(best.tokens):
            slot = min((slot for slot in self.slots if slot.owner is None), key=lambda slot: (slot.used, slot.index))
            if common and slot is not best:
                self._copy(best, slot, sequence.virtual + common)
        slot.key, slot.virtual, slot.tokens = sequence.key, sequence.virtual, []
        slot.owner, slot.used = sequence, next(self._clock)
        return slot.index, sequence.virtual + common if common else 0

    def release(self, sequence: Sequence) -> None:
        """Free the sequence's slot and remember what lies in it."""
        slot = self._slot_of(sequence)
        slot.tokens = sequence.tokens[: max(sequence.computed - sequence.virtual, 0)]
        slot.owner, slot.used = None, next(self._clock)
        is_shown_finite = sequence.generated > 0 or sequence.reward is not None
        if not is_shown_finite or sequence.state is State.FAILED:
            self._wipe(slot, sequence.computed)

    def write(self, layer: int, keys: Tensor, values: Tensor, slots: Tensor, positions: Tensor) -> None:
        """Store one step's keys and values, each (tokens, kv heads, head dimension)."""
        self.keys[layer][slots, :, positions] = keys
        self.values[layer][slots, :, positions] = values

    def write_prefix(self, slot: int, keys: list[Tensor], values: list[Tensor]) -> None:
        """Put a learned prefix, per layer (kv heads, virtual tokens, head dimension), at a slot's start."""
        for layer, (key, value) in enumerate(zip(keys, values, strict=True)):
            self.keys[layer][slot, :, : key.shape[1]] = key
            self.values[layer][slot, :, : value.shape[1]] = value

    def check_integrity(self) -> None:
        """Raises RuntimeError where a slot and its owner disagree."""
        for slot in self.slots:
            if slot.owner is not None and (slot.owner.slot != slot.index or slot.owner.is_over):
                raise RuntimeError(f"slot {slot.index} belongs to sequence {slot.owner.id}, which does not hold it")

    def _slot_of(self, sequence: Sequence) -> Slot:
        if sequence.slot is None or self.slots[sequence.slot].owner is not sequence:
            raise RuntimeError(f"sequence {sequence.id} does not hold slot {sequence.slot}")
        return self.slots[sequence.slot]

    def _wipe(self, slot: Slot, length: int) -> None:
        """Forget what was not shown to be finite: a shorter row reads past its end and multiplies by zero,
        which NaN and infinity survive."""
        slot.key, slot.tokens = None, []
        for store in (*self.keys, *self.values):
            store[slot.index, :, :length] = 0

    def _copy(self, source: Slot, target: Slot, length: int) -> None:
        for store in (*self.keys, *self.values):
            store[target.index, :, :length] = store[source.index, :, :length]


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take memory only where they are written to: `torch.zeros` would touch every page."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros((*shape[:-1], shape[-1] * dtype.itemsize), dtype=np.uint8)).view(dtype)
