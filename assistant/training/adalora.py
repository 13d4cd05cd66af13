"""What AdaLoRA (Zhang et al. 2023, arXiv:2303.10512) needs beside its layers: PEFT leaves both to the training loop."""

from __future__ import annotations

from typing import Any

import torch
from peft import AdaLoraModel, PeftModel
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
PATTERN = "rank_pattern"


def is_adalora(model: nn.Module) -> bool:
    return isinstance(model, PeftModel) and isinstance(model.base_model, AdaLoraModel)


class Allocation(TrainerCallback):
    """Deals out the rank budget after every step, while its gradients are still there.

    `earlier` is the number of steps of the phases before this one.
    """

    def __init__(self, model: Any, earlier: int) -> None:
        self.tuner = model.base_model
        self.earlier = earlier

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.tuner.update_and_allocate(self.earlier + state.global_step + 1)


def orthogonality(model: Any) -> Tensor:
    """Mean over all factors of ‖P Pᵀ − I‖ (Frobenius; equation 4 of the paper, without the square, as PEFT has it),
    weighted by the config's orth_reg_weight; a scalar."""
    norms = []
    for name, parameter in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            gram = parameter @ parameter.T if ".lora_A." in name else parameter.T @ parameter
            norms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device)))
    return model.active_peft_config.orth_reg_weight * torch.stack(norms).mean()


def allocator_state(model: Any) -> dict[str, Tensor]:
    """What the next allocations depend on, for a checkpoint."""
    tuner = model.base_model
    tensors = {
        f"{score}/{name}": tensor for score in SCORES for name, tensor in getattr(tuner.rankallocator, score).items()
    }
    for name, kept in (model.active_peft_config.rank_pattern or {}).items():
        tensors[f"{PATTERN}/{name}"] = torch.tensor(kept)
    return tensors


def restore_allocator(model: Any, tensors: dict[str, Tensor]) -> None:
    """Take back what `allocator_state` gave."""
    device = model.device
    for score in SCORES:
        own = {key.partition("/")[2]: value.to(device) for key, value in tensors.items() if key.startswith(f"{score}/")}
        setattr(model.base_model.rankallocator, score, own)
    pattern = {key.partition("/")[2]: value.tolist() for key, value in tensors.items() if key.startswith(f"{PATTERN}/")}
    model.active_peft_config.rank_pattern = pattern or None
