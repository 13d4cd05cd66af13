"""PEFT folders in: reads safetensors, checks everything against the base, and gives weights or a clear refusal.

Nothing a folder names is ever resolved or fetched; names in it are only compared.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from assistant.adapter_pool.base_shape import BASE_COPY, BaseShape
from assistant.adapter_pool.bottleneck import read_bottleneck
from assistant.adapter_pool.low_rank import read_adalora, read_lora
from assistant.adapter_pool.prompts import read_multitask_prompt, read_prefix, read_prompt
from assistant.adapter_pool.revisions import folder_of
from assistant.adapter_pool.reward_head import take_head
from assistant.adapter_pool.vectors import read_beft, read_bitfit, read_ia3
from assistant.adapter_pool.weights import AdapterWeights
from assistant.base_model import Base
from assistant.catalog import CONFIG_FILE, SERVED_TYPES, WEIGHTS_FILE, Adapter, content_digest, kind_of, unfit
from assistant.errors import AdapterBroken

T = TypeVar("T")

READERS: dict[str, Callable[[dict[str, Any], dict[str, Tensor], BaseShape], AdapterWeights]] = {
    "LORA": read_lora,
    "DORA": read_lora,
    "ADALORA": read_adalora,
    "IA3": read_ia3,
    "BITFIT": read_bitfit,
    "BEFT": read_beft,
    "BOTTLENECK": read_bottleneck,
    "PROMPT_TUNING": read_prompt,
    "P_TUNING": read_prompt,
    "MULTITASK_PROMPT_TUNING": read_multitask_prompt,
    "PREFIX_TUNING": read_prefix,
}
"""By `kind_of` the config: config, tensors and base in, weights or AdapterBroken out."""

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2)
"""Types that what is served may be saved in."""


class Loader:
    """Loads adapters for one base."""

    def __init__(self, base: Base) -> None:
        self._base_digest = base.digest
        self._base = BaseShape(base)

    def size_of(self, adapter: Adapter) -> int:
        """Bytes the adapter takes in memory, from the file's header alone."""
        return _read(adapter, self._size)

    def _size(self, adapter: Adapter, folder: Path) -> int:
        try:
            with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
                keys = [key for key in file.keys() if BASE_COPY not in key]  # noqa: SIM118 - not a dict
                shapes = [file.get_slice(key).get_shape() for key in keys]
        except (OSError, SafetensorError) as error:
            raise AdapterBroken(f"adapter {adapter.name!r} cannot be read: {error}") from error
        return sum(math.prod(shape) for shape in shapes) * self._base.dtype.itemsize

    def load(self, adapter: Adapter) -> AdapterWeights:
        """Read one revision, even where another has taken its place since it was listed, if it is kept.

        Raises:
            AdapterBroken: it does not fit the base, cannot be served, or its files changed since they were listed.
        """
        if (why := unfit(adapter.card, (self._base.name, self._base_digest))) is not None:
            raise AdapterBroken(f"adapter {adapter.name!r}: {why}")
        return _read(adapter, self._load)

    def _load(self, adapter: Adapter, folder: Path) -> AdapterWeights:
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            tensors = read_tensors(folder / WEIGHTS_FILE)
            if content_digest(folder) != adapter.digest:
                raise AdapterBroken("its files changed while they were being read; ask again")
            return self.build(config, tensors)
        except (OSError, ValueError, TypeError, ArithmeticError, re.error) as error:
            # The config's values can be of any type and size.
            raise AdapterBroken(f"adapter {adapter.name!r}: {error}") from error
        except AdapterBroken as error:
            raise AdapterBroken(f"adapter {adapter.name!r}: {error}") from error

    def build(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> AdapterWeights:
        """Weights from what the files hold; checks types, names, shapes and values."""
        for name, tensor in tensors.items():
            if tensor.dtype not in FLOATS:
                raise AdapterBroken(f"{name} is of {tensor.dtype}; allowed: {', '.join(map(str, FLOATS))}")
        check_finite(tensors)
        config, tensors, head = take_head(config, tensors, self._base.hidden)
        kind = kind_of(config)
        if kind not in READERS:
            raise AdapterBroken(f"type {kind!r} is not served; served: {', '.join(SERVED_TYPES)}")
        return replace(READERS[kind](config, tensors, self._base), head=head)


def _read(adapter: Adapter, read: Callable[[Adapter, Path], T]) -> T:
    """From where the revision lies; a swap may move it even while it is read."""
    folder = folder_of(adapter)
    try:
        return read(adapter, folder)
    except AdapterBroken:
        moved = folder_of(adapter)
        if moved == folder:
            raise
        return read(adapter, moved)


def read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise AdapterBroken(f"{path.name} is no safetensors file: {error}") from error


def check_finite(tensors: dict[str, Tensor]) -> None:
    """Raises AdapterBroken where a value is NaN or infinite: one such row would spoil its whole answer.

    Other types than `FLOATS` are passed over: some that are converted hold indices.
    """
    for name, tensor in tensors.items():
        # PyTorch cannot ask this of every float8.
        if tensor.dtype in FLOATS and not torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor).all():
            raise AdapterBroken(f"{name} holds NaN or infinite values")
