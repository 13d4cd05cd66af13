"""Reads LoRA, rsLoRA, DoRA and AdaLoRA: changes of a layer that are a product of two thin matrices."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import torch
from peft.utils.other import get_pattern_key
from torch import Tensor

from assistant.adapter_pool.base_shape import NOTHING_ELSE, BaseShape, check_settings, check_shape
from assistant.adapter_pool.patterns import check_patterns
from assistant.adapter_pool.weights import AdapterWeights, LayerWeights, LowRank
from assistant.errors import AdapterBroken

A, B, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
P, LAMBDA, Q = "lora_B", "lora_E", "lora_A"

# LoRA settings that change what the low-rank product means; with any other value we would serve something else.
PLAIN_LORA: dict[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "lora_bias": (False, None),
    **NOTHING_ELSE,
    "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "alora_invocation_tokens": (None, []),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "monteclora_config": (None,),
    "arrow_config": (None,),
    # These start from a changed base: without that change the saved product is not the whole adapter.
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}


def read_lora(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """LoRA (arXiv:2106.09685), rsLoRA (arXiv:2312.03732) and DoRA (arXiv:2402.09353)."""
    check_settings(config, PLAIN_LORA)
    check_patterns(config, "rank_pattern", "alpha_pattern")
    has_magnitude = bool(config.get("use_dora"))
    parts = (A, B, MAGNITUDE) if has_magnitude else (A, B)
    layers = {}
    for name, found in base.sort(tensors, "DoRA" if has_magnitude else "LoRA", *parts).items():
        a, b = found[A], found[B] * _scaling(name, found[A], found[B], config, base)
        layers[name] = _dora(name, a, b, found[MAGNITUDE], base) if has_magnitude else _plain(a, b, base)
    return AdapterWeights(layers=layers)


def _plain(a: Tensor, b: Tensor, base: BaseShape) -> LayerWeights:
    return LayerWeights(low_rank=LowRank(base.keep(a), base.keep(b.T)))


def _dora(name: str, a: Tensor, b: Tensor, magnitude: Tensor, base: BaseShape) -> LayerWeights:
    """y = s ⊙ (W x + B A x) + bias with s = m / ‖W + B A‖, the norm taken over each output's row.

    The base's product comes with its bias: (1 − s) ⊙ bias takes the scaling of it back.
    """
    check_shape(name, MAGNITUDE, magnitude, (base.features[name][1],))
    scale = magnitude / torch.linalg.norm(base.weight(name) + b @ a, dim=1)
    if not torch.isfinite(scale).all():
        raise AdapterBroken(f"layer {name!r}: a row of W + BA is zero and cannot be scaled to a magnitude")
    bias = base.bias(name)
    return LayerWeights(
        scale=base.keep(scale),
        shift=None if bias is None else base.keep((1 - scale) * bias),
        low_rank=LowRank(base.keep(a), base.keep((scale[:, None] * b).T)),
    )


def _scaling(name: str, a: Tensor, b: Tensor, config: dict[str, Any], base: BaseShape) -> float:
    check_product(name, a, b, base)
    rank = _pattern(config, "rank_pattern", name, config.get("r"))
    alpha = _pattern(config, "alpha_pattern", name, config.get("lora_alpha"))
    if rank != len(a) or rank == 0 or not _is_number(alpha):
        raise AdapterBroken(f"layer {name!r}: the config says rank {rank!r}, alpha {alpha!r}; A has rank {len(a)}")
    return float(alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank)


def read_adalora(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """AdaLoRA (arXiv:2303.10512): y = W x + P Λ Q x · alpha / (r + 1e-5), as PEFT computes it.

    r is the rank that training began with, whatever ranks were pruned to.
    """
    check_settings(config, {**PLAIN_LORA, "use_dora": (False, None)})
    first, alpha = config.get("init_r"), config.get("lora_alpha")
    if not isinstance(first, int) or first < 1 or not _is_number(alpha) or alpha <= 0:
        raise AdapterBroken(f"init_r={first!r}, lora_alpha={alpha!r}; allowed: a rank from 1 up, a number above 0")
    layers = {}
    for name, found in base.sort(tensors, "AdaLoRA", Q, P, LAMBDA).items():
        check_product(name, found[Q], found[P], base)
        check_shape(name, LAMBDA, found[LAMBDA], (len(found[Q]), 1))
        if len(found[Q]) > first:
            raise AdapterBroken(f"layer {name!r}: rank {len(found[Q])} is more than init_r={first}")
        layers[name] = _plain(found[LAMBDA] * found[Q], found[P] * (alpha / (first + 1e-5)), base)
    return AdapterWeights(layers=layers)


def check_product(name: str, a: Tensor, b: Tensor, base: BaseShape) -> None:
    n_in, n_out = base.features[name]
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != n_in or b.shape[0] != n_out or a.shape[0] != b.shape[1]:
        raise AdapterBroken(
            f"layer {name!r}: A {tuple(a.shape)} and B {tuple(b.shape)} do not fit; "
            f"the base needs A (r, {n_in}) and B ({n_out}, r)"
        )


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pattern(config: dict[str, Any], field: str, name: str, default: Any) -> Any:
    pattern = config.get(field) or {}
    if not isinstance(pattern, dict):
        raise AdapterBroken(f"{field} is {pattern!r}; allowed: a map from layer names to numbers")
    return pattern.get(get_pattern_key(list(pattern), name), default)
