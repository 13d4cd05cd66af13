"""What every adapter is held against: the layers and sizes of the base."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from assistant.adapter_pool.weights import KEY_PREFIX, features, linear_layers
from assistant.base_model import Base
from assistant.errors import AdapterBroken

NOTHING_ELSE: dict[str, tuple[Any, ...]] = {"modules_to_save": (None, [])}
"""Settings, with the values that are served, of every type that changes layers: whole modules are none of our change."""

BASE_COPY = ".base_layer."
"""`<prefix><layer>.base_layer.{weight,bias}`: the base's own, which PEFT saves along where the output layer is changed."""


def kv_shapes(model: PreTrainedModel) -> list[tuple[int, int]]:
    """(kv heads, head dimension) of every layer."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return [(heads, dim)] * config.num_hidden_layers


class BaseShape:
    """Reads of the base; nothing here changes it.

    Attributes:
        features: (in, out) by the name of each linear layer.
        hidden: width of an embedding.
        dtype, device: the type that adapters are kept in, and where.
        kv: see `kv_shapes`.
    """

    def __init__(self, base: Base) -> None:
        self.name = base.name
        self._layers = linear_layers(base.model)
        self.features = {name: features(layer) for name, layer in self._layers.items()}
        self.hidden = base.model.get_input_embeddings().get_parameter("weight").shape[1]
        self.dtype = base.model.dtype
        self.device = base.model.device
        self.kv = kv_shapes(base.model)

    def weight(self, name: str) -> Tensor:
        """A layer's weight as (out, in), float32, on the processor."""
        layer = self._layers[name]
        weight = layer.get_parameter("weight").detach().float().cpu()
        return weight.T if isinstance(layer, Conv1D) else weight

    def bias(self, name: str) -> Tensor | None:
        """A layer's bias, (out,), float32, on the processor."""
        bias = getattr(self._layers[name], "bias", None)
        return None if bias is None else bias.detach().float().cpu()

    def keep(self, tensor: Tensor) -> Tensor:
        """The tensor in the type of the base and where the base is, contiguous and in memory of its own.

        Raises:
            AdapterBroken: a value does not fit the type of the base.
        """
        kept = tensor.to(self.dtype).contiguous()
        if not torch.isfinite(kept).all():
            raise AdapterBroken(f"a value is beyond what the base's {self.dtype} can hold")
        return kept.to(self.device)

    def sort(self, tensors: dict[str, Tensor], kind: str, *parts: str) -> dict[str, dict[str, Tensor]]:
        """A file's tensors by layer and part, float32.

        Args:
            parts: what each layer must have, as it follows the layer's name in the file.

        Raises:
            AdapterBroken: a tensor that is none of these nor a copy of the base's own, a layer that the base lacks, or
                a part that is missing.
        """
        layers: dict[str, dict[str, Tensor]] = {}
        for key, tensor in self._without_copies(tensors).items():
            part = next((part for part in parts if key.endswith(f".{part}")), None)
            if part is None or not key.startswith(KEY_PREFIX):
                allowed = ", ".join(f"{KEY_PREFIX}<layer>.{part}" for part in parts)
                raise AdapterBroken(f"tensor {key!r} is no {kind} weight of a linear layer; allowed: {allowed}")
            layers.setdefault(key.removeprefix(KEY_PREFIX).removesuffix(f".{part}"), {})[part] = tensor.float()
        unknown = [name for name in layers if name not in self.features]
        if unknown:
            raise AdapterBroken(
                f"{len(unknown)} of its {len(layers)} layers match nothing in base {self.name}, "
                f"the first is {unknown[0]!r}"
            )
        for name, found in layers.items():
            if found.keys() != set(parts):
                raise AdapterBroken(f"layer {name!r} has only {', '.join(sorted(found))}; needed: {', '.join(parts)}")
        return layers

    def _without_copies(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors but for `BASE_COPY`. Raises AdapterBroken where one is not what the base has."""
        kept = {}
        for key, tensor in tensors.items():
            name, copied, part = key.removeprefix(KEY_PREFIX).rpartition(BASE_COPY)
            own = getattr(self._layers.get(name), part, None) if copied and key.startswith(KEY_PREFIX) else None
            if not isinstance(own, nn.Parameter):
                kept[key] = tensor
            elif not is_copy(tensor, own.detach().cpu()):
                raise AdapterBroken(f"tensor {key!r} differs from base {self.name}; allowed: an unchanged copy")
        return kept


def is_copy(tensor: Tensor, own: Tensor) -> bool:
    """Whether the two are equal, but for what the coarser of their types rounds."""
    if tensor.shape != own.shape or tensor.dtype == own.dtype:
        return torch.equal(tensor, own)
    # Not rounded and compared exactly: a weight that came over two coarse types has been rounded twice.
    closeness = max(torch.finfo(held.dtype).eps for held in (tensor, own))
    return torch.allclose(tensor.float(), own.float(), rtol=closeness, atol=1e-7)


def check_shape(layer: str, part: str, tensor: Tensor, *allowed: tuple[int, ...]) -> None:
    """Raises AdapterBroken where the tensor has none of the allowed shapes."""
    if tuple(tensor.shape) not in allowed:
        raise AdapterBroken(
            f"layer {layer!r}: {part} {tuple(tensor.shape)} does not fit; needed: {' or '.join(map(str, allowed))}"
        )


def check_settings(config: dict[str, Any], settings: dict[str, tuple[Any, ...]]) -> None:
    """Raises AdapterBroken where the config has a setting with a value that is not served."""
    for key, allowed in settings.items():
        if key in config and config[key] not in allowed:
            raise AdapterBroken(f"{key}={config[key]!r} is not served; allowed: {', '.join(map(repr, allowed))}")
