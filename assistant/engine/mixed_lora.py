"""Linear layers that serve many LoRA adapters at once, row by row.

The adapters of a batch lie packed side by side: for each layer one A of (total rank, in) and one B
of (total rank, out). Decoding rows share one pair of products over the total rank, with a mask that
leaves each row only its own adapter's columns; a prompt's rows all have one adapter and use its
slice alone. The base's modules and parameters stay as they are: each linear layer only gets another
`forward`, which is taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from assistant.adapter_pool.weights import AdapterWeights, linear_layers

PACKED_FOR = 8
"""Rows that the processor's own weight layout is chosen for: a busy decoding step."""


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of one step that share the products over `ranks`.

    `mask` is (rows, ranks), True where a column is another row's; None where all rows have the slice's one adapter.
    """

    rows: slice
    ranks: slice
    mask: Tensor | None


class MixedLinear:
    """Stands in for one linear layer's `forward`: the base's product, plus each row's own low-rank change.

    Args:
        packs: keep a copy of the weight in the layout that oneDNN multiplies fastest.
    """

    def __init__(self, layer: nn.Module, packs: bool) -> None:
        self.groups: list[Group] = []
        self.a: Tensor | None = None
        self.b: Tensor | None = None
        packed = packed_product(layer) if packs else None
        self._base: Callable[[Tensor], Tensor] = layer.forward if packed is None else packed

    def __call__(self, x: Tensor) -> Tensor:
        output: Tensor = self._base(x)
        if self.a is None or self.b is None or not self.groups:
            return output
        rows, y = x.flatten(0, -2), output.flatten(0, -2)
        for group in self.groups:
            hidden = F.linear(rows[group.rows], self.a[group.ranks])
            if group.mask is not None:
                # Filled, not multiplied: zero times another adapter's infinity would spoil this row.
                hidden.masked_fill_(group.mask, 0.0)
            y[group.rows].addmm_(hidden, self.b[group.ranks])
        return y.view_as(output)


class MixedLora:
    """All linear layers of a base, and the adapters packed for them.

    Args:
        model: its linear layers compute through here until `close`.
        packs: see `MixedLinear`; takes as much memory again as the layers themselves.
    """

    def __init__(self, model: PreTrainedModel, packs: bool = True) -> None:
        self._modules = linear_layers(model)
        self._layers = {name: MixedLinear(module, packs) for name, module in self._modules.items()}
        head = model.get_output_embeddings()
        self._head = next((name for name, module in self._modules.items() if module is head), None)
        self._ranks: dict[str, slice] = {}
        for name, module in self._modules.items():
            module.forward = self._layers[name]

    def prepare(
        self, adapters: Mapping[str, AdapterWeights], rows: list[tuple[str | None, int]], picked: Tensor
    ) -> None:
        """Set up for one step.

        Args:
            adapters: by digest, the LoRA adapters of the step.
            rows: (digest or None, number of tokens) for each row, decoding rows first.
            picked: indices of the tokens whose logits are wanted; the output layer sees only those.
        """
        # The packed set is kept while it covers the step: rows that leave cost no repacking.
        if not adapters.keys() <= self._ranks.keys():
            self._pack(adapters)
        groups = self._group(rows) if adapters else []
        for layer in self._layers.values():
            layer.groups = groups
        if groups and self._head is not None and self._layers[self._head].a is not None:
            owners = [digest for digest, count in rows for _ in range(count)]
            self._layers[self._head].groups = self._group([(owners[i], 1) for i in picked.tolist()])

    def close(self) -> None:
        for module in self._modules.values():
            del module.forward

    def _pack(self, adapters: Mapping[str, AdapterWeights]) -> None:
        self._ranks, start = {}, 0
        for digest, weights in adapters.items():
            self._ranks[digest] = slice(start, start + weights.rank)
            start += weights.rank
        for name, layer in self._layers.items():
            example = next((w.lora[name] for w in adapters.values() if name in w.lora), None)
            if example is None:
                layer.a = layer.b = None
                continue
            # Where an adapter leaves a layer alone, or has a lower rank there, its columns are zero.
            layer.a = example.a.new_zeros(start, example.a.shape[1])
            layer.b = example.b.new_zeros(start, example.b.shape[1])
            for digest, weights in adapters.items():
                if (lora := weights.lora.get(name)) is not None:
                    first = self._ranks[digest].start
                    layer.a[first : first + len(lora.a)] = lora.a
                    layer.b[first : first + len(lora.b)] = lora.b

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


def packed_product(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The layer's product on a copy of its weight that oneDNN has laid out; None where that is not to be had.

    At 8 rows it takes between a third and nine tenths of the time of the plain product.
    """
    if type(layer) is not nn.Linear or layer.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    if layer.weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    # Not public, but what torch's own compiler emits for a frozen linear layer; the runner checks the results.
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), PACKED_FOR)
    bias = layer.bias

    def product(x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    return product
