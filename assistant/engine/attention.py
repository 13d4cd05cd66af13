"""Attention of one packed step over the cache slots, registered with transformers under its own name.

A step's tokens lie side by side in one row of length N. Each token's key and value are written to
its sequence's slot, then every sequence attends to its own slot only. Decoding rows in neighbouring
slots share one call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from assistant.engine.kv_cache import KVCache
from assistant.errors import BaseModelError

NAME = "swapboard"

# What other implementations take and ours may leave out: they say how to compute, not what.
IGNORED = {
    "dropout",
    "position_ids",
    "use_cache",
    "output_attentions",
    "output_router_logits",
    "is_causal",
    "cache_position",
    "logits_to_keep",
}
UNTOLD = -1
"""A layer that tells no window leaves it to the mask, which we do without: what it is built with counts (Qwen2-MoE)."""


@dataclass(frozen=True)
class Block:
    """`count` sequences in slots `slot`…, each with `tokens` new tokens, starting at token `offset` of the step.

    Either one sequence with a prompt chunk, or several that decode one token each.
    `positions` is (count × tokens,): where each token stands in its sequence; `length` the longest.
    """

    slot: int
    count: int
    offset: int
    tokens: int
    positions: Tensor
    length: int
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None) -> Tensor | None:
        """True where a token may look: (count, 1, tokens, length); None when it may look everywhere."""
        if window not in self.masks:
            at = self.positions.view(self.count, 1, self.tokens, 1)
            keys = torch.arange(self.length, device=at.device)
            allowed = keys <= at
            if window is not None:
                allowed &= keys > at - window
            self.masks[window] = None if bool(allowed.all()) else allowed
        return self.masks[window]


@dataclass(frozen=True)
class Layout:
    """Where one step's tokens go: `slots` and `positions` are (tokens,)."""

    cache: KVCache
    slots: Tensor
    positions: Tensor
    blocks: list[Block]


def slot_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    layout: Layout | None = None,
    sliding_window: int | None = UNTOLD,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend over the cache. `query` is (1, heads, tokens, dim); returns (1, tokens, heads, dim).

    `softcap` bounds the scores (Gemma 2), `s_aux` is a learned sink per head (gpt-oss).
    """
    unknown = {name for name, given in others.items() if given is not None} - IGNORED
    if layout is None or unknown:
        raise BaseModelError(f"this base's attention needs {sorted(unknown) or 'a layout'}, which is not offered")
    if sliding_window == UNTOLD:
        sliding_window = getattr(module, "sliding_window", None)
    layer: int = module.layer_idx  # type: ignore[assignment]
    layout.cache.write(layer, key[0].transpose(0, 1), value[0].transpose(0, 1), layout.slots, layout.positions)
    q = query[0].transpose(0, 1)
    heads, dim = q.shape[1:]
    kv_heads = key.shape[1]
    group = heads // kv_heads
    scale = scaling if scaling is not None else dim**-0.5
    outputs = []
    for block in layout.blocks:
        at = slice(block.slot, block.slot + block.count)
        keys = layout.cache.keys[layer][at, :, : block.length]
        values = layout.cache.values[layer][at, :, : block.length]
        # Heads that share a key head are laid side by side as more queries, which spares copying the keys.
        rows = q[block.offset : block.offset + block.count * block.tokens]
        rows = rows.view(block.count, block.tokens, kv_heads, group, dim).permute(0, 2, 3, 1, 4)
        rows = rows.reshape(block.count, kv_heads, group * block.tokens, dim)
        mask = block.mask(sliding_window)
        if mask is not None and group > 1:
            mask = mask.repeat(1, 1, group, 1)
        if softcap is None and s_aux is None:
            out = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask, scale=scale)
        else:
            sinks = None if s_aux is None else s_aux.view(1, kv_heads, group, 1).repeat_interleave(block.tokens, 2)
            out = explicit_attention(rows, keys, values, mask, scale, softcap, sinks)
        out = out.view(block.count, kv_heads, group, block.tokens, dim).permute(0, 3, 1, 2, 4)
        outputs.append(out.reshape(block.count * block.tokens, heads, dim))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).unsqueeze(0), None


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, softcap: float | None, sinks: Tensor | None
) -> Tensor:
    """The same arithmetic step by step, for the variants the fused call has no argument for."""
    scores = (q.float() @ k.float().transpose(-1, -2)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.float().expand(len(scores), -1, -1, 1)], dim=-1)
    weights = scores.softmax(-1)[..., : k.shape[2]]
    return (weights @ v.float()).to(q.dtype)


AttentionInterface.register(NAME, slot_attention)
