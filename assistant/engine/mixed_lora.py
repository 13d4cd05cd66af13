"""Linear layers that serve many LoRA adapters at once, row by row.

The adapters of a batch lie packed side by side: for each layer one A of (total rank, in) and one B
of (total rank, out). Decoding rows share one pair of products over the total rank, with a mask that
leaves each row only its own adapter's columns; a prompt's rows all have one adapter and use its
slice alone. The layers themselves stay as they are: a forward hook adds to their output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from assistant.adapter_pool.weights import AdapterWeights, linear_layers


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of one step that share the products over `ranks`.

    `mask` is (rows, ranks), True where a column is another row's; None where all rows have the slice's one adapter.
    """

    rows: slice
    ranks: slice
    mask: Tensor | None


class MixedLora:
    """All hooked layers of a base, and the adapters packed for them.

    Args:
        model: its linear layers get hooks; `close` takes them off again.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        layers = linear_layers(model)
        head = model.get_output_embeddings()
        self._head = next((name for name, layer in layers.items() if layer is head), None)
        self._packed: dict[str, tuple[Tensor, Tensor]] = {}
        self._ranks: dict[str, slice] = {}
        self._groups: list[Group] = []
        self._head_groups: list[Group] = []
        self._handles = [layer.register_forward_hook(self._hook(name)) for name, layer in layers.items()]

    def prepare(
        self, adapters: Mapping[str, AdapterWeights], rows: list[tuple[str | None, int]], picked: Tensor
    ) -> None:
        """Set up for one step.

        Args:
            adapters: by digest, the LoRA adapters of the step.
            rows: (digest or None, number of tokens) for each row, decoding rows first.
            picked: indices of the tokens whose logits are wanted; the output layer sees only those.
        """
        if not adapters:
            self._groups = self._head_groups = []
            return
        # The packed set is kept while it covers the step: rows that leave cost no repacking.
        if not adapters.keys() <= self._ranks.keys():
            self._pack(adapters)
        self._groups = self._group(rows)
        self._head_groups = []
        if any(self._head in weights.lora for weights in adapters.values()):
            owners = [digest for digest, count in rows for _ in range(count)]
            self._head_groups = self._group([(owners[i], 1) for i in picked.tolist()])

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _pack(self, adapters: Mapping[str, AdapterWeights]) -> None:
        self._ranks, start = {}, 0
        for digest, weights in adapters.items():
            self._ranks[digest] = slice(start, start + weights.rank)
            start += weights.rank
        self._packed = {}
        for name in dict.fromkeys(name for weights in adapters.values() for name in weights.lora):
            example = next(w.lora[name] for w in adapters.values() if name in w.lora)
            # Where an adapter leaves a layer alone, or has a lower rank there, its columns are zero.
            a = example.a.new_zeros(start, example.a.shape[1])
            b = example.b.new_zeros(start, example.b.shape[1])
            for digest, weights in adapters.items():
                if (lora := weights.lora.get(name)) is not None:
                    first = self._ranks[digest].start
                    a[first : first + len(lora.a)] = lora.a
                    b[first : first + len(lora.b)] = lora.b
            self._packed[name] = (a, b)

    def _group(self, rows: list[tuple[str | None, int]]) -> list[Group]:
        groups, start = [], 0
        singles = next((i for i, (_, count) in enumerate(rows) if count > 1), len(rows))
        if singles:
            used = [self._ranks[digest] for digest, _ in rows[:singles] if digest in self._ranks]
            if used:
                ranks = slice(min(r.start for r in used), max(r.stop for r in used))
                mask = torch.ones(singles, ranks.stop - ranks.start, dtype=torch.bool)
                for i, (digest, _) in enumerate(rows[:singles]):
                    if digest in self._ranks:
                        own = self._ranks[digest]
                        mask[i, own.start - ranks.start : own.stop - ranks.start] = False
                groups.append(Group(slice(0, singles), ranks, mask))
            start = singles
        for digest, count in rows[singles:]:
            if digest in self._ranks:
                groups.append(Group(slice(start, start + count), self._ranks[digest], None))
            start += count
        return groups

    def _hook(self, name: str) -> Any:
        def add_lora(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            groups = self._head_groups if name == self._head else self._groups
            if not groups or name not in self._packed:
                return None
            a, b = self._packed[name]
            x, y = args[0].flatten(0, -2), output.flatten(0, -2)
            for group in groups:
                hidden = F.linear(x[group.rows].to(a.dtype), a[group.ranks])
                if group.mask is not None:
                    # Filled, not multiplied: zero times another adapter's infinity would spoil this row.
                    hidden.masked_fill_(group.mask, 0.0)
                y[group.rows] += hidden @ b[group.ranks]
            return y.view_as(output)

        return add_lora
