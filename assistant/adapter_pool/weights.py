"""What a resident adapter is made of, in the form the engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

KEY_PREFIX = "base_model.model."
"""What PEFT writes before a layer's name in the base; our own formats follow it."""

BIAS_DELTA = "bias_delta"
"""BITFIT: `<prefix><layer>.bias_delta`, (out,), added to the layer's output."""

BOTTLENECK_DOWN = "bottleneck_down"
BOTTLENECK_UP = "bottleneck_up"
"""BOTTLENECK: `<prefix><layer>.bottleneck_down.{weight,bias}`, (r, out) and (r,), and `.bottleneck_up.{weight,bias}`,
(out, r) and (out,). With h the layer's output: y = h + up(f(down(h))). After the last layer of a sublayer (o_proj,
down_proj) this is the adapter of Houlsby et al. 2019, arXiv:1902.00751."""

NON_LINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}
"""BOTTLENECK: what its config's `non_linearity` may be."""


@dataclass(frozen=True)
class LoraWeights:
    """The low-rank change of one linear layer: y += x Aᵀ B, the scaling being folded into `b`.

    Kept in the type of the base.

    Attributes:
        a: (rank, in features)
        b: (rank, out features)
    """

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class AdapterWeights:
    """One revision in memory; either `lora` is filled, or `embeddings`, or `keys` and `values`.

    Attributes:
        rank: the largest rank of any layer; 0 for soft prompts.
        virtual: positions the soft prompt takes before the tokens; 0 for LoRA.
        lora: by the layer's name in the base.
        embeddings: (virtual, hidden), prompt tuning and p-tuning.
        keys, values: per layer (kv heads, virtual, head dimension), prefix tuning.
    """

    rank: int = 0
    virtual: int = 0
    lora: dict[str, LoraWeights] = field(default_factory=dict)
    embeddings: Tensor | None = None
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    @property
    def preset(self) -> int:
        """Positions whose keys and values are given and need no computing."""
        return self.virtual if self.keys else 0


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers a LoRA may change, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}


def features(layer: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear layer; transformers' Conv1D keeps its weight the other way round."""
    weight = layer.get_parameter("weight")
    rows, columns = weight.shape
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)
