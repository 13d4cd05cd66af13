"""The only call to the model: rows in, logits out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from assistant.adapter_pool.base_shape import kv_shapes
from assistant.adapter_pool.weights import AdapterWeights
from assistant.base_model import Base
from assistant.engine import soft_prompt
from assistant.engine.attention import NAME, Block, Layout
from assistant.engine.kv_cache import KVCache
from assistant.engine.mixed_adapters import MixedAdapters
from assistant.engine.scheduler import Row
from assistant.engine.sequence import Sequence
from assistant.errors import BaseModelError


class Runner:
    """Runs packed steps on the frozen base.

    Takes the model over until `close`: its attention reads the cache slots and its linear layers compute
    through `MixedAdapters`.

    Args:
        slots, length: size of the key-value cache, see `KVCache`.
        packs: keep a faster copy of the weights, see `MixedLinear`.

    Raises:
        BaseModelError: the architecture does not compute the same through the cache as it does on its own.
    """

    def __init__(self, base: Base, slots: int, length: int, packs: bool = True) -> None:
        self.model = base.model
        self._attention = base.model.config._attn_implementation
        self.cache = KVCache(kv_shapes(base.model), slots, length, base.model.dtype, base.model.device)
        expected = self._plain_logits()
        self._adapters = MixedAdapters(base.model, packs)
        # What goes into the output layer: (1, picked tokens, hidden) of the last step.
        self._hidden = torch.empty(0)
        self._watch = self.model.get_output_embeddings().register_forward_pre_hook(self._keep_hidden)
        self.model.set_attn_implementation(NAME)
        try:
            self._check(expected)
        except Exception as error:
            self.close()
            if isinstance(error, BaseModelError):
                raise
            raise BaseModelError(
                f"{type(base.model).__name__} cannot be run over the key-value cache: {error}"
            ) from error

    @torch.inference_mode()
    def run(self, rows: list[Row]) -> tuple[Tensor, dict[int, Tensor], dict[int, float]]:
        """One forward pass.

        Returns:
            Logits after each row that samples, (sampling rows, vocabulary), float32, on the processor, in the order
            of `rows`; for each sequence, by its id, whose prompt is scored here, (`Row.foretold`, vocabulary); and for
            each that a reward adapter has read to its end, by its id, the reward.
        """
        # Decoding rows first and by slot, so that neighbours share their attention.
        order = sorted(range(len(rows)), key=lambda i: (rows[i].count > 1, rows[i].sequence.slot))
        ordered = [rows[i] for i in order]
        self._place_prefixes(ordered)
        ids = torch.tensor([[t for row in ordered for t in soft_prompt.token_ids(row)]], device=self.model.device)
        wanted: list[int] = []
        ends: list[int] = []
        scored: dict[int, slice] = {}
        total = 0
        for row in ordered:
            if foretold := row.foretold:
                scored[row.sequence.id] = slice(len(wanted), len(wanted) + len(foretold))
                first = total + row.sequence.virtual - row.start - 1
                wanted.extend(first + token for token in foretold)
            total += row.count
            if row.samples:
                ends.append(len(wanted))
                wanted.append(total - 1)
        # A step in which no logits are wanted still needs an index to keep; they are dropped.
        picked = torch.tensor(wanted or [total - 1], device=self.model.device)
        self._prepare_adapters(ordered, picked)
        logits = self._forward(soft_prompt.embed(self.model.get_input_embeddings(), ids, ordered), ordered, picked)
        sampling = [i for i in order if rows[i].samples]
        back = sorted(range(len(sampling)), key=lambda i: sampling[i])
        after = logits[[ends[i] for i in back]] if sampling else logits[:0]
        rewards = self._rewards([rows[i].sequence for i in sampling], ends)
        return after, {id: logits[where] for id, where in scored.items()}, rewards

    def keep_only(self, resident: Iterable[AdapterWeights]) -> None:
        """Let go of copies of adapters that are not resident any more."""
        self._adapters.keep_only(resident)

    def close(self) -> None:
        """Leave the model as it was found."""
        self._watch.remove()
        self._adapters.close()
        self.model.set_attn_implementation(self._attention)

    def _forward(self, embeddings: Tensor, rows: list[Row], picked: Tensor) -> Tensor:
        layout = self._layout(rows)
        output = self.model(
            inputs_embeds=embeddings,
            position_ids=layout.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=picked,
            layout=layout,
        )
        # Picking is a few short operations on each row: many small steps, for which a GPU is the wrong place.
        return output.logits[0].float().cpu()

    def _keep_hidden(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._hidden = inputs[0]

    def _rewards(self, sequences: list[Sequence], ends: list[int]) -> dict[int, float]:
        """r = h · w with h the hidden state of the last token, as transformers' classifiers have it."""
        return {
            sequence.id: float(self._hidden[0, end].float().cpu() @ sequence.lease.weights.head)
            for sequence, end in zip(sequences, ends, strict=True)
            if sequence.lease is not None and sequence.lease.weights.head is not None
        }

    def _prepare_adapters(self, rows: list[Row], picked: Tensor) -> None:
        adapters = {
            row.sequence.lease.adapter.digest: row.sequence.lease.weights
            for row in rows
            if row.sequence.lease is not None and row.sequence.lease.weights.layers
        }
        self._adapters.prepare(adapters, [(row.sequence.key, row.count) for row in rows], picked)

    def _place_prefixes(self, rows: list[Row]) -> None:
        for row in rows:
            lease = row.sequence.lease
            if lease is not None and lease.weights.preset == row.start > 0:
                self.cache.write_prefix(row.sequence.slot or 0, lease.weights.keys, lease.weights.values)

    def _layout(self, rows: list[Row]) -> Layout:
        device = self.model.device
        slots = torch.tensor([row.sequence.slot for row in rows for _ in range(row.count)], device=device)
        positions = torch.cat([torch.arange(row.start, row.start + row.count, device=device) for row in rows])
        blocks: list[Block] = []
        offset = i = 0
        while i < len(rows):
            stop = i + 1
            while stop < len(rows) and rows[stop].count == 1 and _follows(rows[stop - 1], rows[stop]):
                stop += 1
            tokens = sum(row.count for row in rows[i:stop])
            blocks.append(
                Block(
                    slot=rows[i].sequence.slot or 0,
                    count=stop - i,
                    offset=offset,
                    tokens=rows[i].count,
                    positions=positions[offset : offset + tokens],
                    length=max(row.start + row.count for row in rows[i:stop]),
                )
            )
            offset, i = offset + tokens, stop
        return Layout(self.cache, slots, positions, blocks)

    # The self-check ------------------------------------------------------------------------------

    def _plain_logits(self) -> Tensor:
        with torch.inference_mode():
            return self.model(input_ids=self._probe()[None], use_cache=False).logits[0].float()

    def _probe(self) -> Tensor:
        """Token ids spread over the vocabulary."""
        vocabulary = self.model.get_input_embeddings().get_parameter("weight").shape[0]
        length = min(12, self.cache.length)
        return torch.arange(1, length + 1, device=self.model.device) * 7919 % vocabulary

    @torch.inference_mode()
    def _check(self, expected: Tensor) -> None:
        """An architecture that goes past our attention would answer wrongly without a word: find out now."""
        probe = self._probe()
        got: list[Tensor] = []
        for chunk in probe.split(5):
            start = len(got)
            layout_positions = torch.arange(start, start + len(chunk), device=probe.device)
            block = Block(0, 1, 0, len(chunk), layout_positions, start + len(chunk))
            layout = Layout(self.cache, torch.zeros_like(layout_positions), layout_positions, [block])
            embeddings = self.model.get_input_embeddings()(chunk[None])
            output = self.model(
                inputs_embeds=embeddings, position_ids=layout_positions[None], use_cache=False, layout=layout
            )
            got.extend(output.logits[0].float())
        # bfloat16 keeps 8 bits: through some tens of layers two orders of summation differ by a few per cent.
        tolerance = 1e-3 if self.model.dtype == torch.float32 else 0.1
        scale = expected.abs().max()
        if len(got) != len(expected) or (torch.stack(got) - expected).abs().max() > tolerance * scale:
            raise BaseModelError(
                f"{type(self.model).__name__} does not compute the same through the key-value cache as on its own; "
                "allowed: decoder-only models that use transformers' attention interface"
            )


def _follows(first: Row, second: Row) -> bool:
    return first.count == 1 and (first.sequence.slot or 0) + 1 == second.sequence.slot
