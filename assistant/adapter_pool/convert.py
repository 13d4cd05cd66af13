"""Adapters of other PEFT types become LoRA where PEFT itself can convert them."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, convert_to_lora
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import PeftType
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from assistant.adapter_pool.patterns import check_patterns
from assistant.adapter_pool.weights import KEY_PREFIX
from assistant.catalog import CONFIG_FILE, REWARD_TASK, SERVED_TYPES, WEIGHTS_FILE, Conversion
from assistant.errors import AdapterRejected

# Types whose change of a layer PEFT can state as a matrix. Others are refused before PEFT sees them: an X-LoRA
# config, for one, names folders and repositories that PEFT would load.
CONVERTIBLE = frozenset(
    [
        "C3A",
        "DELORA",
        "FOURIERFT",
        "GRALORA",
        "LOHA",
        "LOKR",
        "MISS",
        "RANDLORA",
        "SHIRA",
        "TINYLORA",
        "UNILORA",
        "VBLORA",
        "VERA",
        "WAVEFT",
    ]
)

ENERGY = 0.9999
"""Share of each layer's squared singular values that the rank is chosen to keep."""


def convert(folder: Path, model: PreTrainedModel) -> Conversion:
    """Replace the adapter in `folder` by its LoRA form.

    Args:
        model: a fresh float32 base, spent by the call: PEFT puts layers of its own into it.

    Returns:
        Where it came from, and per layer ‖ΔW − BA‖ / ‖ΔW‖ (Frobenius): the worst and the mean.

    Raises:
        AdapterRejected: PEFT cannot load it on this base or cannot convert it, or it is a reward adapter.
        AdapterBroken: see `check_patterns`.
    """
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    kind = config["peft_type"]
    if kind not in {member.value for member in PeftType}:
        raise AdapterRejected(f"{kind!r} is no PEFT type; served: {', '.join(SERVED_TYPES)}")
    if kind not in CONVERTIBLE:
        raise AdapterRejected(
            f"type {kind} is not served and PEFT cannot convert it to LORA; "
            f"served as they are: {', '.join(SERVED_TYPES)}"
        )
    if config.get("task_type") == REWARD_TASK:
        # PEFT's conversion drops the head.
        raise AdapterRejected(
            f"a reward adapter of type {kind} is not served: converted to LORA it would lose its head; "
            f"served as they are: {', '.join(SERVED_TYPES)}"
        )
    matched = [field for field in config if field.endswith("_pattern")]
    check_patterns(config, "target_modules", "exclude_modules", "modules_to_save", *matched)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            tuned = PeftModel.from_pretrained(model, folder, config=_local_config(config))
        lora_config, tensors = convert_to_lora(tuned, rank=ENERGY)
    except Exception as error:  # PEFT checks little of a config: what it then trips over can be anything
        raise AdapterRejected(
            f"type {kind} is not served and PEFT cannot convert it to LORA: {error}; "
            f"served as they are: {', '.join(SERVED_TYPES)}"
        ) from error
    errors = _errors(tuned, tensors)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / WEIGHTS_FILE)
    written = lora_config.to_dict()
    # The layers are named one by one: exact, whatever pattern the source used.
    written["target_modules"] = sorted({key.removeprefix(KEY_PREFIX).split(".lora_")[0] for key in tensors})
    (folder / CONFIG_FILE).write_text(json.dumps(written, indent=2, default=_plain), encoding="utf-8")
    return Conversion(source=kind, error=max(errors), mean_error=sum(errors) / len(errors))


def _local_config(config: dict[str, Any]) -> PeftConfig:
    """The adapter's config, with what PEFT would resolve or import taken out."""
    config = {**config, "base_model_name_or_path": None, "auto_mapping": None, "revision": None, "inference_mode": True}
    with tempfile.TemporaryDirectory() as clean:
        (Path(clean) / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
        return PeftConfig.from_pretrained(clean)


def _errors(tuned: PeftModel, tensors: dict[str, Tensor]) -> list[float]:
    errors = []
    with torch.no_grad():
        for name, module in tuned.named_modules():
            if not isinstance(module, BaseTunerLayer) or f"{name}.lora_A.weight" not in tensors:
                continue
            delta = module.get_delta_weight("default").float()  # type: ignore[attr-defined]  # all convertible ones have it
            product = tensors[f"{name}.lora_B.weight"].float() @ tensors[f"{name}.lora_A.weight"].float()
            norm = delta.norm()
            errors.append(float((delta - product).norm() / norm) if norm > 0 else 0.0)
    return errors


def _plain(value: Any) -> Any:
    """JSON for what PEFT's config holds: sets and enums."""
    return sorted(value) if isinstance(value, set) else str(getattr(value, "value", value))
