"""LoRA layers and attention with fewer passes over memory, for training on a processor.

PEFT's LoRA layer casts its input to float32 and back and adds in separate passes; PyTorch's fused
attention has a slow backward pass on a processor when a mask is given. Both are replaced by the
same arithmetic in the base's type; the trained weights, and so Adam, stay in float32.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from assistant.errors import BaseModelError

NAME = "swapboard-training"


class LowRankLinear(torch.autograd.Function):
    """y = x Wᵀ + bias + s (x Aᵀ) Bᵀ (Hu et al. 2021, equation 3) with W frozen.

    x is (..., in), W (out, in), A (rank, in) and B (out, rank); returns (..., out) in x's type.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low_a, low_b = a.to(x.dtype), b.to(x.dtype)
        hidden = (rows @ low_a.t()).mul_(scale)
        out = nn.functional.linear(rows, weight, bias).addmm_(hidden, low_b.t())
        ctx.save_for_backward(rows, weight, low_a, low_b, hidden)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        rows, weight, low_a, low_b, hidden = ctx.saved_tensors
        gradient = gradients[0]
        out = gradient.reshape(-1, gradient.shape[-1])
        inner = (out @ low_b).mul_(ctx.scale)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (out @ weight).addmm_(inner, low_a).view(*gradient.shape[:-1], -1)
        return to_x, None, None, (inner.t() @ rows).float(), (out.t() @ hidden).float(), None


def fuse_lora(model: PeftModel) -> int:
    """Give every plain LoRA layer the fused product; returns how many. Other layers keep PEFT's own."""
    count = 0
    for module in model.modules():
        if type(module) is LoraLinear and _is_plain(module):
            module.forward = _fused_forward(module)  # type: ignore[method-assign]
            count += 1
    return count


def _is_plain(layer: LoraLinear) -> bool:
    return (
        type(layer.base_layer) is nn.Linear
        and not layer.lora_variant
        and not any(layer.lora_bias.values())
        and all(isinstance(dropout, nn.Identity) for dropout in layer.lora_dropout.values())
    )


def _fused_forward(layer: LoraLinear) -> Any:
    inner = layer.forward

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # Looked up each time: a reference or a reward model takes the layer's turn for a pass.
        (name,) = layer.active_adapters
        if layer.disable_adapters or layer.merged or name not in layer.lora_A:
            return inner(x, *args, **kwargs)
        linear = layer.base_layer
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        return LowRankLinear.apply(x, linear.weight, linear.bias, a, b, layer.scaling[name])

    return forward


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Softmax attention by batched products; heads that share a key head lie side by side as more queries.

    query is (N, heads, T, dim), key and value (N, key heads, S, dim), attention_mask (N or 1, 1, T, S)
    is added to the scores. Returns (N, T, heads, dim).
    """
    if others.get("softcap") is not None or others.get("s_aux") is not None:
        raise BaseModelError("this base's attention bounds its scores or has sinks, which training does not offer yet")
    count, heads, width, dim = query.shape
    shared = key.shape[1]
    group = heads // shared
    q = query.reshape(count * shared, group * width, dim)
    k, v = (part.reshape(count * shared, -1, dim) for part in (key, value))
    mask = attention_mask.expand(count, group, -1, -1).reshape(count, 1, group * width, -1)
    mask = mask.expand(-1, shared, -1, -1).flatten(0, 1)
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scaling if scaling is not None else dim**-0.5)
    out = scores.softmax(-1) @ v
    return out.view(count, heads, width, dim).transpose(1, 2).contiguous(), None


def fuse_attention(model: PeftModel | PreTrainedModel) -> None:
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    cast(PreTrainedModel, base).set_attn_implementation(NAME)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
