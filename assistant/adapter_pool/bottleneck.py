"""Reads bottleneck adapters: a small network after a layer (Houlsby et al. 2019, arXiv:1902.00751)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from assistant.adapter_pool.base_shape import NOTHING_ELSE, BaseShape, check_settings, check_shape
from assistant.adapter_pool.weights import (
    BOTTLENECK_DOWN,
    BOTTLENECK_UP,
    NON_LINEARITIES,
    AdapterWeights,
    Bottleneck,
    LayerWeights,
)
from assistant.errors import AdapterBroken

DOWN, DOWN_BIAS = f"{BOTTLENECK_DOWN}.weight", f"{BOTTLENECK_DOWN}.bias"
UP, UP_BIAS = f"{BOTTLENECK_UP}.weight", f"{BOTTLENECK_UP}.bias"


def read_bottleneck(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """y = h + up(f(down(h))), h being the layer's output; the tensors are described in `weights.py`."""
    check_settings(config, NOTHING_ELSE)
    width, non_linearity = config.get("r"), config.get("non_linearity")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise AdapterBroken(f"r={width!r}; allowed: a width from 1 up")
    if not isinstance(non_linearity, str) or non_linearity not in NON_LINEARITIES:
        raise AdapterBroken(f"non_linearity={non_linearity!r}; allowed: {', '.join(map(repr, NON_LINEARITIES))}")
    layers = {}
    for name, found in base.sort(tensors, "BOTTLENECK", DOWN, DOWN_BIAS, UP, UP_BIAS).items():
        n_out = base.features[name][1]
        needed = {DOWN: (width, n_out), DOWN_BIAS: (width,), UP: (n_out, width), UP_BIAS: (n_out,)}
        for part, shape in needed.items():
            check_shape(name, part, found[part], shape)
        down, down_bias, up, up_bias = base.keep(found[DOWN]), found[DOWN_BIAS], found[UP].T, found[UP_BIAS]
        layers[name] = LayerWeights(
            bottleneck=Bottleneck(down, base.keep(down_bias), base.keep(up), base.keep(up_bias))
        )
    return AdapterWeights(layers=layers, non_linearity=non_linearity)
