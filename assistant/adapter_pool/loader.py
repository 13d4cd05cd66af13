"""PEFT folders in: reads safetensors, checks everything against the base, and gives weights or a clear refusal.

Nothing a folder names is ever resolved or fetched; names in it are only compared.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedModel

from assistant.adapter_pool.weights import KEY_PREFIX, AdapterWeights, LoraWeights, features, linear_layers
from assistant.base_model import Base
from assistant.catalog import CONFIG_FILE, LORA, SERVED_TYPES, WEIGHTS_FILE, Adapter, content_digest
from assistant.errors import AdapterBroken

PROMPT_KEY = "prompt_embeddings"

# LoRA settings that change what the low-rank product means; with any other value we would serve something else.
PLAIN_LORA: dict[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
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


def kv_shapes(model: PreTrainedModel) -> list[tuple[int, int]]:
    """(kv heads, head dimension) of every layer."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return [(heads, dim)] * config.num_hidden_layers


class Loader:
    """Loads adapters for one base."""

    def __init__(self, base: Base) -> None:
        self._base_name = base.name
        self._base_digest = base.digest
        self._features = {name: features(layer) for name, layer in linear_layers(base.model).items()}
        self._hidden = base.model.get_input_embeddings().get_parameter("weight").shape[1]
        self._dtype = base.model.dtype
        self._kv = kv_shapes(base.model)

    def size_of(self, adapter: Adapter) -> int:
        """Bytes the adapter takes in memory, from the file's header alone."""
        try:
            with safe_open(adapter.folder / WEIGHTS_FILE, framework="pt") as file:
                shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118 - not a dict
        except (OSError, SafetensorError) as error:
            raise AdapterBroken(f"adapter {adapter.name!r} cannot be read: {error}") from error
        return sum(math.prod(shape) for shape in shapes) * self._dtype.itemsize

    def load(self, adapter: Adapter) -> AdapterWeights:
        """Read one revision.

        Raises:
            AdapterBroken: it does not fit the base, cannot be served, or its files changed since they were listed.
        """
        recorded = adapter.card.base_digest
        if recorded is not None and recorded != self._base_digest:
            raise AdapterBroken(
                f"adapter {adapter.name!r} was made for base {adapter.card.base_name or '?'} ({recorded[:12]}); "
                f"this is {self._base_name} ({self._base_digest[:12]})"
            )
        try:
            config = json.loads((adapter.folder / CONFIG_FILE).read_text(encoding="utf-8"))
            tensors = read_tensors(adapter.folder / WEIGHTS_FILE)
            if content_digest(adapter.folder) != adapter.digest:
                raise AdapterBroken("its files changed while they were being read; ask again")
            return self.build(config, tensors)
        except (OSError, ValueError) as error:
            raise AdapterBroken(f"adapter {adapter.name!r}: {error}") from error
        except AdapterBroken as error:
            raise AdapterBroken(f"adapter {adapter.name!r}: {error}") from error

    def build(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> AdapterWeights:
        """Weights from what the files hold; checks types, names, shapes and values."""
        check_finite(tensors)
        kind = config.get("peft_type")
        if kind == LORA:
            return self._lora(config, tensors)
        if kind in ("PROMPT_TUNING", "P_TUNING"):
            return self._prompt(config, tensors)
        if kind == "PREFIX_TUNING":
            return self._prefix(config, tensors)
        raise AdapterBroken(f"type {kind!r} is not served; served: {', '.join(SERVED_TYPES)}")

    def _lora(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> AdapterWeights:
        for key, allowed in PLAIN_LORA.items():
            if key in config and config[key] not in allowed:
                raise AdapterBroken(f"{key}={config[key]!r} is not served; allowed: {', '.join(map(repr, allowed))}")
        halves: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, half = key.removeprefix(KEY_PREFIX).rpartition(".lora_")
            if not key.startswith(KEY_PREFIX) or half not in ("A.weight", "B.weight"):
                raise AdapterBroken(f"tensor {key!r} is no LoRA weight of a linear layer")
            halves.setdefault(name, {})[half[0]] = tensor
        unknown = [name for name in halves if name not in self._features]
        if unknown:
            raise AdapterBroken(
                f"{len(unknown)} of its {len(halves)} layers match nothing in base {self._base_name}, "
                f"the first is {unknown[0]!r}"
            )
        lora = {name: self._low_rank(name, pair, config) for name, pair in halves.items()}
        return AdapterWeights(rank=max(len(weights.a) for weights in lora.values()), lora=lora)

    def _low_rank(self, name: str, pair: dict[str, Tensor], config: dict[str, Any]) -> LoraWeights:
        if pair.keys() != {"A", "B"}:
            raise AdapterBroken(f"layer {name!r} has only lora_{next(iter(pair))}")
        a, b = pair["A"].float(), pair["B"].float()
        n_in, n_out = self._features[name]
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != n_in or b.shape[0] != n_out or a.shape[0] != b.shape[1]:
            raise AdapterBroken(
                f"layer {name!r}: A {tuple(a.shape)} and B {tuple(b.shape)} do not fit; "
                f"the base needs A (r, {n_in}) and B ({n_out}, r)"
            )
        rank = _pattern(config, "rank_pattern", name, config.get("r"))
        alpha = _pattern(config, "alpha_pattern", name, config.get("lora_alpha"))
        if rank != len(a) or not isinstance(alpha, int | float) or isinstance(alpha, bool):
            raise AdapterBroken(f"layer {name!r}: the config says rank {rank!r}, alpha {alpha!r}; A has rank {len(a)}")
        scaling = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
        return LoraWeights(a.to(self._dtype).contiguous(), (b.T * scaling).to(self._dtype).contiguous())

    def _prompt(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> AdapterWeights:
        table = _prompt_table(config, tensors, self._hidden)
        return AdapterWeights(virtual=len(table), embeddings=table.to(self._dtype))

    def _prefix(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> AdapterWeights:
        layers, (heads, dim) = len(self._kv), self._kv[0]
        table = _prompt_table(config, tensors, layers * 2 * heads * dim)
        # PEFT's layout: (virtual, layers × {key, value}, kv heads, head dimension).
        parts = table.to(self._dtype).view(len(table), layers * 2, heads, dim).permute(1, 2, 0, 3)
        return AdapterWeights(
            virtual=len(table),
            keys=[part.contiguous() for part in parts[0::2]],
            values=[part.contiguous() for part in parts[1::2]],
        )


def read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise AdapterBroken(f"{path.name} is no safetensors file: {error}") from error


def check_finite(tensors: dict[str, Tensor]) -> None:
    """Raises AdapterBroken where a value is NaN or infinite: one such row would spoil its whole answer."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise AdapterBroken(f"{name} holds NaN or infinite values")


def _pattern(config: dict[str, Any], field: str, name: str, default: Any) -> Any:
    pattern = config.get(field) or {}
    if not isinstance(pattern, dict):
        raise AdapterBroken(f"{field} is {pattern!r}; allowed: a map from layer names to numbers")
    return pattern.get(get_pattern_key(list(pattern), name), default)


def _prompt_table(config: dict[str, Any], tensors: dict[str, Tensor], width: int) -> Tensor:
    """The one (virtual tokens, width) tensor of a soft prompt."""
    if tensors.keys() != {PROMPT_KEY}:
        raise AdapterBroken(f"a soft prompt holds one tensor {PROMPT_KEY!r}; found {', '.join(sorted(tensors))}")
    table = tensors[PROMPT_KEY]
    virtual = config.get("num_virtual_tokens")
    if table.ndim != 2 or table.shape[0] != virtual or table.shape[1] != width:
        raise AdapterBroken(f"{PROMPT_KEY} is {tuple(table.shape)}; config and base need ({virtual}, {width})")
    return table
