"""Recipes: which weights are trained, and with which settings unless told otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptLearningConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
)
from torch import nn
from transformers import PreTrainedModel

from assistant.base_model import Base
from assistant.training.tasks.task import Task


@dataclass(frozen=True)
class Recipe:
    """Defaults of one way to train. `rank` is the LoRA rank, or the number of virtual tokens."""

    name: str
    rank: int
    learning_rate: float
    is_soft_prompt: bool


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("lora", rank=16, learning_rate=5e-4, is_soft_prompt=False),
        Recipe("prompt-tuning", rank=20, learning_rate=2e-2, is_soft_prompt=True),
        Recipe("p-tuning", rank=20, learning_rate=5e-3, is_soft_prompt=True),
        Recipe("prefix-tuning", rank=20, learning_rate=1e-2, is_soft_prompt=True),
    )
}


def peft_config(recipe: Recipe, rank: int, hidden_size: int) -> PeftConfig:
    task_type = TaskType.CAUSAL_LM
    match recipe.name:
        case "lora":
            return LoraConfig(
                task_type=task_type, r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear"
            )
        case "prompt-tuning":
            return PromptTuningConfig(task_type=task_type, num_virtual_tokens=rank)
        case "p-tuning":
            return PromptEncoderConfig(
                task_type=task_type, num_virtual_tokens=rank, encoder_hidden_size=hidden_size, encoder_dropout=0.0
            )
        case "prefix-tuning":
            return PrefixTuningConfig(task_type=task_type, num_virtual_tokens=rank)
        case _:
            raise ValueError(f"recipe {recipe.name!r}; allowed: {', '.join(RECIPES)}")


def adapt(base: Base, recipe: Recipe, rank: int, task: Task) -> PeftModel:
    """Put fresh adapter weights, in float32, on the frozen base. The base's own weights do not change."""
    config = peft_config(recipe, rank, base.model.config.get_text_config().hidden_size)
    model = get_peft_model(base.model, config)
    # PEFT notes the folder the base lies in; an adapter that travels names the base instead.
    model.active_peft_config.base_model_name_or_path = plain_name(base)
    if recipe.name == "prompt-tuning":
        _start_from_text(model, base, task.soft_prompt_text)
    if isinstance(config, PromptLearningConfig):
        for parameter in model.prompt_encoder.parameters():
            parameter.data = parameter.data.float()
    return model


def plain_name(base: Base) -> str:
    """The base's name for a card: no folder of this machine."""
    return Path(base.name).name if Path(base.name).exists() else base.name


def _start_from_text(model: PeftModel, base: Base, text: str) -> None:
    """Begin with the embeddings of words that say the task: random vectors learn far slower.

    PEFT's own text start would look the tokenizer up by name once more.
    """
    ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    prompt = model.get_parameter(f"prompt_encoder.{model.active_adapter}.embedding.weight")
    ids = (ids * (prompt.shape[0] // len(ids) + 1))[: prompt.shape[0]]
    words = cast(nn.Embedding, base.model.get_input_embeddings()).weight[torch.tensor(ids)]
    prompt.data = words.detach().clone().float()


def parameter_counts(model: PeftModel | PreTrainedModel) -> tuple[int, int]:
    """(trained, all) parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, is_trained in sizes if is_trained), sum(size for size, _ in sizes)
