"""All linear layers of a base, and the adapters of a batch packed for them.

The base's modules and parameters stay as they are: each linear layer only gets another `forward`, a `MixedLinear`,
which is taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from assistant.adapter_pool.weights import (
    NON_LINEARITIES,
    AdapterWeights,
    Bottleneck,
    LayerWeights,
    LowRank,
    linear_layers,
)
from assistant.engine.mixed_linear import Columns, Group, MixedLinear

Curve = Callable[[Tensor], Tensor]
Rows = list[tuple[str | None, int]]
"""(digest or None, number of tokens) for each row."""


class MixedAdapters:
    """
    Args:
        model: its linear layers compute through here until `close`.
        packs: see `MixedLinear`; takes as much memory again as the layers themselves.
    """

    def __init__(self, model: PreTrainedModel, packs: bool = True) -> None:
        self._modules = linear_layers(model)
        self._layers = {name: MixedLinear(module, packs) for name, module in self._modules.items()}
        head = model.get_output_embeddings()
        self._head = next((name for name, module in self._modules.items() if module is head), None)
        self._device = model.device
        self._pack = Pack({}, self._device)
        for name, module in self._modules.items():
            module.forward = self._layers[name]

    def prepare(self, adapters: Mapping[str, AdapterWeights], rows: Rows, picked: Tensor) -> None:
        """Set up for one step.

        Args:
            adapters: by digest, the adapters of the step that change layers.
            rows: decoding rows first.
            picked: indices of the tokens whose logits are wanted; the output layer sees only those.
        """
        # The packed set is kept while it covers the step: rows that leave cost no repacking.
        if not adapters.keys() <= self._pack.adapters.keys():
            self._pack_up(adapters)
        groups = self._pack.groups(rows) if adapters else []
        for layer in self._layers.values():
            layer.groups = groups
        if groups and self._head is not None and self._layers[self._head].packed is not None:
            owners = [digest for digest, count in rows for _ in range(count)]
            self._layers[self._head].groups = self._pack.groups([(owners[i], 1) for i in picked.tolist()])

    def keep_only(self, resident: Iterable[AdapterWeights]) -> None:
        """Between steps: let go of the packed set where it holds weights that are not resident any more.

        They would otherwise stay in memory, twice, until some step needs an adapter outside of the set.
        """
        if self._pack.adapters:
            there = {id(weights) for weights in resident}
            if any(id(weights) not in there for weights in self._pack.adapters.values()):
                self._pack_up({})

    def _pack_up(self, adapters: Mapping[str, AdapterWeights]) -> None:
        # First let go of the old set, so that there is never more than one in memory.
        for layer in self._layers.values():
            layer.packed, layer.groups = None, []
        self._pack = Pack({}, self._device)
        # It counts only once every layer has its part: where memory runs out half-way, the next step packs anew.
        pack = Pack(adapters, self._device)
        packed = {name: pack.layer(name) for name in self._layers}
        for name, layer in self._layers.items():
            layer.packed = packed[name]
        self._pack = pack

    def close(self) -> None:
        for module in self._modules.values():
            del module.forward


class Pack:
    """Adapters side by side: each has columns for its low-rank products and bottlenecks, and an entry for its vectors.

    Args:
        device: where the adapters are, and the rows that will have them.
    """

    def __init__(self, adapters: Mapping[str, AdapterWeights], device: torch.device) -> None:
        self._device = device
        self.adapters = dict(adapters)
        self._ranks = _spans({digest: weights.rank for digest, weights in adapters.items()})
        self._widths = _spans({digest: weights.width for digest, weights in adapters.items()})
        having = [digest for digest, weights in adapters.items() if _has_vectors(weights)]
        self._entries = {digest: entry for entry, digest in enumerate(having, start=1)}

    def layer(self, name: str) -> LayerWeights | None:
        """One layer's packed form, see `MixedLinear`."""
        changes = {digest: weights.layers[name] for digest, weights in self.adapters.items() if name in weights.layers}
        if not changes:
            return None
        low, narrow = _parts(changes, "low_rank"), _parts(changes, "bottleneck")
        gain, scale, shift = (_parts(changes, kind) for kind in ("gain", "scale", "shift"))
        return LayerWeights(
            gain=self._table(gain, 1.0) if gain else None,
            scale=self._table(scale, 1.0) if scale else None,
            shift=self._table(shift, 0.0) if shift else None,
            low_rank=self._low_rank(low) if low else None,
            bottleneck=self._bottleneck(narrow) if narrow else None,
        )

    def groups(self, rows: Rows) -> list[Group]:
        """The rows that have an adapter: all decoding rows together, each prompt on its own."""
        singles = next((i for i, (_, count) in enumerate(rows) if count > 1), len(rows))
        groups, start = [], singles
        if any(digest in self.adapters for digest, _ in rows[:singles]):
            groups.append(self._decoding([digest for digest, _ in rows[:singles]]))
        for digest, count in rows[singles:]:
            if digest in self.adapters:
                groups.append(self._prompt(digest, slice(start, start + count)))
            start += count
        return groups

    def _decoding(self, owners: list[str | None]) -> Group:
        has_entry = any(owner in self._entries for owner in owners)
        widths = _columns(self._widths, owners, self._device)
        entries = [self._entries.get(owner or "", 0) for owner in owners]
        return Group(
            rows=slice(0, len(owners)),
            ranks=_columns(self._ranks, owners, self._device),
            entries=torch.tensor(entries, device=self._device) if has_entry else None,
            widths=widths,
            curves=self._curves(widths),
        )

    def _prompt(self, digest: str, rows: slice) -> Group:
        ranks, widths = (
            Columns(spans[digest], None) if digest in spans else None for spans in (self._ranks, self._widths)
        )
        return Group(rows, ranks, self._entries.get(digest), widths, self._curves(widths))

    def _curves(self, widths: Columns | None) -> tuple[tuple[slice, Curve], ...]:
        """Neighbours with one non-linearity are computed in one go."""
        if widths is None:
            return ()
        first, runs = widths.span.start, list[tuple[slice, str]]()
        for digest, span in self._widths.items():
            if span.start < widths.span.start or span.stop > widths.span.stop:
                continue
            part, curve = slice(span.start - first, span.stop - first), self.adapters[digest].non_linearity or ""
            if runs and runs[-1][1] == curve:
                part = slice(runs.pop()[0].start, part.stop)
            runs.append((part, curve))
        return tuple((part, NON_LINEARITIES[curve]) for part, curve in runs)

    def _low_rank(self, parts: Mapping[str, LowRank]) -> LowRank:
        a, b = (_beside(self._ranks, _parts(parts, name)) for name in ("a", "b"))
        # On processors half a precision makes products this small slower: a few rows with rank 16 take 20 us in
        # bfloat16 and 5 us in float32: nearly all of it is the way to the kernel.
        return LowRank(a.float(), b.float()) if a.device.type == "cpu" else LowRank(a, b)

    def _bottleneck(self, parts: Mapping[str, Bottleneck]) -> Bottleneck:
        down, down_bias, up = (_beside(self._widths, _parts(parts, name)) for name in ("down", "down_bias", "up"))
        return Bottleneck(down, down_bias, up, self._table(_parts(parts, "up_bias"), 0.0))

    def _table(self, vectors: Mapping[str, Tensor], neutral: float) -> Tensor:
        """(entries, features); entry 0, and every adapter without a vector here, changes nothing."""
        example = next(iter(vectors.values()))
        table = example.new_full((len(self._entries) + 1, len(example)), neutral)
        for digest, vector in vectors.items():
            table[self._entries[digest]] = vector
        return table


def _parts(owners: Mapping[str, object], name: str) -> dict[str, Any]:
    """One attribute of each, where it is there."""
    return {digest: part for digest, owner in owners.items() if (part := getattr(owner, name)) is not None}


def _has_vectors(weights: AdapterWeights) -> bool:
    return any(
        part is not None
        for layer in weights.layers.values()
        for part in (layer.gain, layer.scale, layer.shift, layer.bottleneck)
    )


def _spans(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Each adapter's columns, one after another; those that need none are left out."""
    needed = {digest: size for digest, size in sizes.items() if size}
    stops = accumulate(needed.values())
    return {digest: slice(stop - size, stop) for (digest, size), stop in zip(needed.items(), stops, strict=True)}


def _beside(spans: Mapping[str, slice], parts: Mapping[str, Tensor]) -> Tensor:
    """All adapters' columns in one tensor; zero where an adapter leaves a layer alone, or has fewer there."""
    example = next(iter(parts.values()))
    packed = example.new_zeros(max(span.stop for span in spans.values()), *example.shape[1:])
    for digest, part in parts.items():
        first = spans[digest].start
        packed[first : first + len(part)] = part
    return packed


def _columns(spans: Mapping[str, slice], owners: list[str | None], device: torch.device) -> Columns | None:
    """What decoding rows use together, each masked to its own."""
    own = [spans.get(owner or "") for owner in owners]
    used = [span for span in own if span is not None]
    if not used:
        return None
    whole = slice(min(span.start for span in used), max(span.stop for span in used))
    mask = torch.ones(len(owners), whole.stop - whole.start, dtype=torch.bool)
    for i, span in enumerate(own):
        if span is not None:
            mask[i, span.start - whole.start : span.stop - whole.start] = False
    return Columns(whole, mask.to(device))
