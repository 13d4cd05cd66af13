"""Recipes: which weights are trained, and with which settings unless told otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from peft import (
    AdaLoraConfig,
    IA3Config,
    LoHaConfig,
    LoraConfig,
    MultitaskPromptTuningConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TaskType,
)

from assistant.errors import SettingsError

Size = Literal["rank", "virtual tokens", "width", "layers", "nothing"]


@dataclass(frozen=True)
class Recipe:
    """Defaults of one way to train. `rank` is the size of what is trained, counted in what `size` says."""

    name: str
    learning_rate: float
    rank: int = 0
    size: Size = "nothing"

    @property
    def is_soft_prompt(self) -> bool:
        return self.size == "virtual tokens"

    @property
    def changes_base(self) -> bool:
        """Then no adapter comes out but a whole model."""
        return self.name in ("full", "last-layers")


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("full", learning_rate=2e-5),
        Recipe("last-layers", learning_rate=1e-4, rank=4, size="layers"),
        Recipe("lora", learning_rate=5e-4, rank=16, size="rank"),
        Recipe("rslora", learning_rate=5e-4, rank=16, size="rank"),
        Recipe("dora", learning_rate=5e-4, rank=16, size="rank"),
        Recipe("qlora", learning_rate=5e-4, rank=16, size="rank"),
        Recipe("adalora", learning_rate=2e-3, rank=8, size="rank"),
        Recipe("loha", learning_rate=2e-3, rank=8, size="rank"),
        Recipe("ia3", learning_rate=1e-2),
        Recipe("prompt-tuning", learning_rate=2e-2, rank=20, size="virtual tokens"),
        Recipe("p-tuning", learning_rate=5e-3, rank=20, size="virtual tokens"),
        Recipe("prefix-tuning", learning_rate=1e-2, rank=20, size="virtual tokens"),
        Recipe("multitask-prompt-tuning", learning_rate=2e-2, rank=20, size="virtual tokens"),
        Recipe("bottleneck", learning_rate=1e-3, rank=32, size="width"),
        Recipe("bitfit", learning_rate=5e-3),
    )
}


@dataclass(frozen=True)
class Objective:
    """Defaults of one way to learn from preferences; what is trained is a LoRA, of the reward model a head as well.

    `batch` counts pairs, single answers or prompts of one step; `beta` and `centre` are None where there are none.
    """

    name: str
    learning_rate: float
    batch: int
    beta: float | None = None
    centre: float | None = None


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("reward", learning_rate=2e-4, batch=8, centre=0.01),
        Objective("dpo", learning_rate=5e-5, batch=8, beta=0.1),
        Objective("kto", learning_rate=5e-5, batch=16, beta=0.1),
        Objective("grpo", learning_rate=5e-5, batch=4, beta=0.04),
    )
}

RSLORA_ALPHA = 8
"""alpha / √16 is the 2 that `lora` has at any rank; larger ranks are damped by √rank only (Kalajdzievski 2023)."""

ADALORA_MIN_STEPS = 2
"""The budget is dealt out by what earlier steps have shown."""


def peft_config(recipe: Recipe, rank: int, hidden_size: int, kinds: int = 1, steps: int = 1) -> PeftConfig:
    """PEFT's config of a recipe that PEFT knows.

    Args:
        kinds: kinds of records, each of which has a prompt of its own in multi-task prompt tuning.
        steps: steps of the whole run, over which AdaLoRA deals out its ranks.

    Raises:
        SettingsError: AdaLoRA has too few steps.
    """
    everywhere: dict[str, Any] = {"task_type": TaskType.CAUSAL_LM, "target_modules": "all-linear"}
    virtual: dict[str, Any] = {"task_type": TaskType.CAUSAL_LM, "num_virtual_tokens": rank}
    match recipe.name:
        case "lora" | "qlora":
            return LoraConfig(**everywhere, r=rank, lora_alpha=2 * rank, lora_dropout=0.0)
        case "rslora":
            return LoraConfig(**everywhere, r=rank, lora_alpha=RSLORA_ALPHA, lora_dropout=0.0, use_rslora=True)
        case "dora":
            return LoraConfig(**everywhere, r=rank, lora_alpha=2 * rank, lora_dropout=0.0, use_dora=True)
        case "adalora":
            return _adalora(everywhere, rank, steps)
        case "loha":
            return LoHaConfig(**everywhere, r=rank, alpha=2 * rank)
        case "ia3":
            # The layers of the paper, which PEFT knows for each architecture: keys, values, and the MLP's last.
            return IA3Config(task_type=TaskType.CAUSAL_LM)
        case "prompt-tuning":
            return PromptTuningConfig(**virtual)
        case "p-tuning":
            return PromptEncoderConfig(**virtual, encoder_hidden_size=hidden_size, encoder_dropout=0.0)
        case "prefix-tuning":
            return PrefixTuningConfig(**virtual)
        case "multitask-prompt-tuning":
            return MultitaskPromptTuningConfig(**virtual, num_tasks=kinds)
        case _:
            raise ValueError(f"recipe {recipe.name!r} is not one of PEFT's")


def _adalora(everywhere: dict[str, Any], rank: int, steps: int) -> PeftConfig:
    """Ranks begin half as large again as they end on average, and are fixed for the last quarter of the steps."""
    if steps < ADALORA_MIN_STEPS:
        raise SettingsError(f"adalora deals out ranks over {steps} step; allowed: {ADALORA_MIN_STEPS} steps or more")
    return AdaLoraConfig(
        **everywhere,
        init_r=math.ceil(1.5 * rank),
        target_r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        total_step=steps,
        tinit=steps // 10,
        tfinal=steps // 4,
        deltaT=max(1, steps // 100),
        orth_reg_weight=0.1,
    )


def chosen_size(recipe: Recipe, rank: int | None, layers: int | None) -> int:
    """What `--rank` or `--layers` say, or the recipe's own.

    Raises:
        SettingsError: the recipe has no such size.
    """
    if rank is not None and recipe.size in ("layers", "nothing"):
        hint = "; give --layers" if recipe.size == "layers" else ""
        raise SettingsError(f"recipe {recipe.name!r} has no --rank{hint}")
    if layers is not None and recipe.size != "layers":
        raise SettingsError(f"recipe {recipe.name!r} has no --layers; allowed with last-layers")
    return rank or layers or recipe.rank
