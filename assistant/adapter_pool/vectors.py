"""Reads what changes a layer by one vector: IA3, bias-only tuning and PEFT's BEFT."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from assistant.adapter_pool.base_shape import NOTHING_ELSE, BaseShape, check_settings, check_shape
from assistant.adapter_pool.weights import BIAS_DELTA, AdapterWeights, LayerWeights

IA3_VECTOR = "ia3_l"
BEFT_BIAS = "beft_bias"


def read_ia3(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """(IA)³ (arXiv:2205.05638): a row vector scales a feedforward layer's input, a column its whole output, bias too."""
    check_settings(config, NOTHING_ELSE)
    layers = {}
    for name, found in base.sort(tensors, "IA3", IA3_VECTOR).items():
        vector, (n_in, n_out) = found[IA3_VECTOR], base.features[name]
        check_shape(name, IA3_VECTOR, vector, (1, n_in), (n_out, 1))
        kept = base.keep(vector.flatten())
        # PEFT tells the two apart by the config's feedforward_modules, and then saves the one shape or the other.
        layers[name] = LayerWeights(gain=kept) if len(vector) == 1 else LayerWeights(scale=kept)
    return AdapterWeights(layers=layers)


def read_bitfit(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """BitFit (arXiv:2106.10199), also for layers that have no bias of their own."""
    check_settings(config, NOTHING_ELSE)
    layers = {}
    for name, found in base.sort(tensors, "BITFIT", BIAS_DELTA).items():
        check_shape(name, BIAS_DELTA, found[BIAS_DELTA], (base.features[name][1],))
        layers[name] = LayerWeights(shift=base.keep(found[BIAS_DELTA]))
    return AdapterWeights(layers=layers)


def read_beft(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """PEFT's form of the same: a bias added to the layer's output, saved as a row."""
    check_settings(config, NOTHING_ELSE)
    layers = {}
    for name, found in base.sort(tensors, "BEFT", BEFT_BIAS).items():
        check_shape(name, BEFT_BIAS, found[BEFT_BIAS], (1, base.features[name][1]))
        layers[name] = LayerWeights(shift=base.keep(found[BEFT_BIAS].flatten()))
    return AdapterWeights(layers=layers)
