"""Bias-only tuning: a trained bias on the output of every linear layer.

BitFit (Ben Zaken et al. 2021, arXiv:2106.10199) trains the biases a model has. Llama and its kin have
none, so each linear layer is given one, starting at zero: y = x Wᵀ + bias + bias_delta.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from assistant.adapter_pool.weights import BIAS_DELTA, features, linear_layers
from assistant.catalog import BITFIT


def add_biases(model: PreTrainedModel) -> dict[str, Any]:
    """Give every linear layer but the output layer a float32 parameter (out,); returns the adapter's config."""
    output = model.get_output_embeddings()
    targets = {name: layer for name, layer in linear_layers(model).items() if layer is not output}
    for layer in targets.values():
        zero = torch.zeros(features(layer)[1], device=cast(Tensor, layer.weight).device)
        layer.register_parameter(BIAS_DELTA, nn.Parameter(zero))
        layer.register_forward_hook(_add)
    return {"peft_type": BITFIT, "target_modules": sorted({name.rpartition(".")[2] for name in targets})}


def _add(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output + layer.get_parameter(BIAS_DELTA).to(output.dtype)
