"""A linear layer that computes every row of a batch with that row's own adapter.

The adapters of a batch lie packed side by side, see `mixed_adapters.py`: matrices in one long dimension of columns,
vectors in tables with one entry for each adapter. Decoding rows share their products, with a mask that leaves each row
only its own adapter's columns; a prompt's rows all have one adapter and use its slice alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assistant.adapter_pool.weights import Bottleneck, LayerWeights, LowRank

PACKED_FOR = 8
"""Rows that the processor's own weight layout is chosen for: a busy decoding step."""


@dataclass(frozen=True)
class Columns:
    """The part of a packed dimension that a group of rows uses.

    `mask` is (rows, columns of the span), True where a column is another row's; None where all rows have the span's one
    adapter.
    """

    span: slice
    mask: Tensor | None

    def blank(self, hidden: Tensor) -> Tensor:
        """Zero in every column that is another row's, in place."""
        # Filled, not multiplied: zero times another adapter's infinity would spoil this row.
        return hidden if self.mask is None else hidden.masked_fill_(self.mask, 0.0)


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of one step that are computed together; None where none of them has that kind of change.

    Attributes:
        ranks: of the low-rank products.
        entries: which entry of the tables each row takes, or the one that all take; entry 0 changes nothing.
        widths: of the bottlenecks.
        curves: the non-linearity of each part of `widths`, counted from the start of its span.
    """

    rows: slice
    ranks: Columns | None = None
    entries: Tensor | int | None = None
    widths: Columns | None = None
    curves: tuple[tuple[slice, Callable[[Tensor], Tensor]], ...] = ()


class MixedLinear:
    """Stands in for one linear layer's `forward`: the base's product, plus each row's own change.

    Attributes:
        packed: the batch's adapters in this layer: `LayerWeights` with (entries, features) in place of each vector and
            the columns of all adapters in each matrix; None where no adapter changes this layer.
        groups: the rows of this step that have an adapter.

    Args:
        packs: keep a copy of the weight in the layout that oneDNN multiplies fastest.
    """

    def __init__(self, layer: nn.Module, packs: bool) -> None:
        self.packed: LayerWeights | None = None
        self.groups: list[Group] = []
        own = packed_product(layer) if packs else None
        self._base: Callable[[Tensor], Tensor] = layer.forward if own is None else own

    def __call__(self, x: Tensor) -> Tensor:
        packed = self.packed
        if packed is None or not self.groups:
            return self._base(x)
        if packed.gain is not None:
            x = self._with_gain(x, packed.gain)
        output = self._base(x)
        rows, y = x.flatten(0, -2), output.flatten(0, -2)
        for group in self.groups:
            h = y[group.rows]
            if group.entries is not None:
                if packed.scale is not None:
                    h.mul_(packed.scale[group.entries])
                if packed.shift is not None:
                    h.add_(packed.shift[group.entries])
            if group.ranks is not None and packed.low_rank is not None:
                add_low_rank(h, rows[group.rows], packed.low_rank, group.ranks)
            if group.widths is not None and packed.bottleneck is not None:
                add_bottleneck(h, packed.bottleneck, group)
        return y.view_as(output)

    def _with_gain(self, x: Tensor, gain: Tensor) -> Tensor:
        """The input, scaled where rows ask for it; other layers read the original."""
        if all(group.entries is None for group in self.groups):
            return x
        rows = x.flatten(0, -2).clone()
        for group in self.groups:
            if group.entries is not None:
                rows[group.rows].mul_(gain[group.entries])
        return rows.view_as(x)


def add_low_rank(h: Tensor, x: Tensor, packed: LowRank, ranks: Columns) -> None:
    hidden = ranks.blank(F.linear(x.to(packed.a.dtype), packed.a[ranks.span]))
    h.add_(hidden @ packed.b[ranks.span])


def add_bottleneck(h: Tensor, packed: Bottleneck, group: Group) -> None:
    assert group.widths is not None and group.entries is not None
    span = group.widths.span
    hidden = F.linear(h, packed.down[span], packed.down_bias[span])
    for part, curve in group.curves:
        hidden[:, part] = curve(hidden[:, part])
    h.addmm_(group.widths.blank(hidden), packed.up[span])
    h.add_(packed.up_bias[group.entries])


def packed_product(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The layer's product on a copy of its weight that oneDNN has laid out; None where that is not to be had.

    At 8 rows it takes between a third and nine tenths of the time of the plain product.
    """
    if type(layer) is not nn.Linear or layer.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    if layer.weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    # Not public, but what torch's own compiler emits for a frozen linear layer; the runner checks the results.
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), PACKED_FOR)
    except RuntimeError:
        # oneDNN lays out bfloat16 only for processors with AVX-512 or its like: others serve from the plain weight.
        return None
    bias = layer.bias

    def product(x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    return product
