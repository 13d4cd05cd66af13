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
"""BOTTLENECK: what its config's `non_linearity` may be. All map 0 to 0, so that blanked columns stay blank."""


@dataclass(frozen=True)
class LowRank:
    """h += x Aᵀ B, all scaling being folded into `b`.

    Attributes:
        a: (rank, in features)
        b: (rank, out features)
    """

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class Bottleneck:
    """h += f(h Dᵀ + d) U + u

    Attributes:
        down: D, (width, out features)
        down_bias: d, (width,)
        up: U, (width, out features)
        up_bias: u, (out features,)
    """

    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor


@dataclass(frozen=True)
class LayerWeights:
    """What one adapter changes of one linear layer, in the type of the base; None leaves that part as it is.

    With x the input and W x + bias the base's own product, in this order:
    x ← gain ⊙ x;  h = scale ⊙ (W x + bias) + shift;  h += low rank of x;  h += bottleneck of h.

    Attributes:
        gain: (in features,), IA3 on feedforward layers.
        scale: (out features,), IA3 on other layers, DoRA.
        shift: (out features,), bias-only tuning, DoRA on layers that have a bias.
    """

    gain: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None
    low_rank: LowRank | None = None
    bottleneck: Bottleneck | None = None


@dataclass(frozen=True)
class AdapterWeights:
    """One revision in memory; either `layers` is filled, or `embeddings`, or `keys` and `values`.

    Attributes:
        layers: by the layer's name in the base.
        non_linearity: of its bottlenecks, one of `NON_LINEARITIES`; None where it has none.
        virtual: positions the soft prompt takes before the tokens; 0 for changes of layers.
        embeddings: (virtual, hidden), prompt tuning and p-tuning.
        keys, values: per layer (kv heads, virtual, head dimension), prefix tuning.
        head: (hidden,), float32, of a reward adapter: its product with the last token's hidden state is the reward.
    """

    layers: dict[str, LayerWeights] = field(default_factory=dict)
    non_linearity: str | None = None
    virtual: int = 0
    embeddings: Tensor | None = None
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    head: Tensor | None = None

    @property
    def rank(self) -> int:
        """The largest rank of any layer's low-rank change; 0 where there is none."""
        return max((len(w.low_rank.a) for w in self.layers.values() if w.low_rank is not None), default=0)

    @property
    def width(self) -> int:
        """The largest width of any layer's bottleneck; 0 where there is none."""
        return max((len(w.bottleneck.down) for w in self.layers.values() if w.bottleneck is not None), default=0)

    @property
    def preset(self) -> int:
        """Positions whose keys and values are given and need no computing."""
        return self.virtual if self.keys else 0


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers an adapter may change, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}


def features(layer: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear layer; transformers' Conv1D keeps its weight the other way round."""
    rows, columns = layer.get_parameter("weight").shape
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)
