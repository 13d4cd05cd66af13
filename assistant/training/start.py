"""A training that goes on from an adapter there is, instead of from fresh weights."""

from __future__ import annotations

import json
from pathlib import Path

from peft import PeftModel, set_peft_model_state_dict
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file

from assistant.base_model import Base
from assistant.catalog import CONFIG_FILE, WEIGHTS_FILE, content_digest, read_card
from assistant.errors import SettingsError
from assistant.training.methods import Adapted


def start_digest(folder: Path) -> str:
    """The digest of the adapter to start from. Raises SettingsError where there is none."""
    try:
        return content_digest(folder)
    except OSError as error:
        raise SettingsError(f"--start-from {folder}: no adapter can be read there: {error}") from error


def check_base(option: str, folder: Path, base: Base) -> None:
    """Raises SettingsError where the adapter in `folder` says on its card that it was made for another base."""
    card = read_card(folder)
    if card.base_digest not in (None, base.digest):
        raise SettingsError(f"{option} {folder}: it was made for base {card.base_name}; this is {base.name}")


def start_from(adapted: Adapted, folder: Path) -> None:
    """Put the weights of the adapter in `folder` into the fresh ones.

    Raises:
        SettingsError: the folder holds no adapter, or one of another type, rank or set of layers, or of P-tuning.
    """
    if not isinstance(adapted.model, PeftModel):
        raise SettingsError("--start-from is for PEFT's adapters; the recipe trains weights of another kind")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        kind = config["peft_type"]
        given = load_file(folder / WEIGHTS_FILE)
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"--start-from {folder}: no adapter can be read there: {error}") from error
    wanted = get_peft_model_state_dict(adapted.model, save_embedding_layers=False)
    own = str(adapted.model.active_peft_config.peft_type.value)
    if kind != own:
        raise SettingsError(f"--start-from {folder}: its type is {kind}; the recipe trains {own}")
    if kind == "P_TUNING":
        raise SettingsError(
            f"--start-from {folder}: p-tuning leaves virtual tokens, and not the network that made them, "
            "which is what the recipe trains"
        )
    for name in sorted(given.keys() | wanted.keys()):
        shapes = [tuple(tensors[name].shape) if name in tensors else None for tensors in (given, wanted)]
        if shapes[0] != shapes[1]:
            raise SettingsError(f"--start-from {folder}: {name} is {shapes[0]} there and {shapes[1]} in this recipe")
    for key in ("alpha_pattern", "rank_pattern", "use_rslora", "use_dora"):
        there, here = config.get(key), getattr(adapted.model.active_peft_config, key, None)
        if (there or None) != (here or None):
            raise SettingsError(f"--start-from {folder}: {key} is {there!r} there and {here!r} in this recipe")
    # B A alpha is the same product when B makes up for another alpha.
    alpha = getattr(adapted.model.active_peft_config, "lora_alpha", None)
    ratio = config["lora_alpha"] / alpha if alpha and config.get("lora_alpha") else 1.0
    set_peft_model_state_dict(
        adapted.model,
        {name: tensor.float() * (ratio if ".lora_B." in name else 1.0) for name, tensor in given.items()},
    )
