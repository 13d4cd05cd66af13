"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751): y = h + up(f(down(h))) after each sublayer.

Ours, since the `adapters` library (1.3.0) requires transformers 4.57 and this project runs on 5.23.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from assistant.adapter_pool.weights import (
    BOTTLENECK_DOWN,
    BOTTLENECK_UP,
    NON_LINEARITIES,
    features,
    linear_layers,
)
from assistant.catalog import BOTTLENECK
from assistant.errors import BaseModelError

LAST_OF_SUBLAYER = ("o_proj", "down_proj", "c_proj", "out_proj", "fc2")
"""What architectures call the last linear layer of attention and of the MLP."""

NON_LINEARITY = "gelu"
SPREAD = 1e-2
"""Standard deviation of the first weights, as in section 3.6 of the paper."""


def add_bottlenecks(model: PreTrainedModel, width: int) -> dict[str, Any]:
    """Put a module of `width` hidden units, in float32, after every sublayer; returns the adapter's config.

    The second half starts at zero: the model first answers as the base does.

    Raises:
        BaseModelError: the base names its layers in a way that is not known.
    """
    targets = {
        name: layer for name, layer in linear_layers(model).items() if name.rpartition(".")[2] in LAST_OF_SUBLAYER
    }
    if not targets:
        allowed = ", ".join(LAST_OF_SUBLAYER)
        raise BaseModelError(f"no layer of {model.config.model_type} ends a sublayer by name; known: {allowed}")
    for layer in targets.values():
        size, device = features(layer)[1], cast(Tensor, layer.weight).device
        down, up = nn.Linear(size, width, device=device), nn.Linear(width, size, device=device)
        nn.init.normal_(down.weight, std=SPREAD)
        for part in (down.bias, up.weight, up.bias):
            nn.init.zeros_(part)
        layer.add_module(BOTTLENECK_DOWN, down)
        layer.add_module(BOTTLENECK_UP, up)
        layer.register_forward_hook(_add)
    return {
        "peft_type": BOTTLENECK,
        "r": width,
        "non_linearity": NON_LINEARITY,
        "target_modules": sorted({name.rpartition(".")[2] for name in targets}),
    }


def _add(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    down, up = layer.get_submodule(BOTTLENECK_DOWN), layer.get_submodule(BOTTLENECK_UP)
    hidden = NON_LINEARITIES[NON_LINEARITY](_apply(down, output))
    return output + _apply(up, hidden)


def _apply(part: nn.Module, x: Tensor) -> Tensor:
    """The linear layer in the type of what comes in; its own weights, and so Adam, stay in float32."""
    return linear(x, part.get_parameter("weight").to(x.dtype), part.get_parameter("bias").to(x.dtype))
