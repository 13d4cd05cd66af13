"""Pairs that count for more or less than others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from assistant.training.preference.rendering import PairIds

WEIGHT = "weight"


class WeightedPairs(Trainer):
    """Mixed into a trainer of pairs that reads one at a time, before it: a pair's loss times its weight."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        weight = float(inputs.pop(WEIGHT))
        outcome: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return (outcome[0] * weight, outcome[1]) if return_outputs else outcome * weight


def relative_weights(pairs: Sequence[PairIds]) -> list[float]:
    """Weights with a mean of one, so that a learning rate means the same whatever the weights are counted in."""
    mean = sum(pair.weight for pair in pairs) / len(pairs)
    return [pair.weight / mean for pair in pairs]


def with_weight(collate: Callable[[list[Any]], dict[str, Any]]) -> Callable[[list[Any]], dict[str, Any]]:
    """TRL's collator, which leaves columns of ours out, and the weight of the one pair."""

    def collate_one(examples: list[Any]) -> dict[str, Any]:
        return {**collate(examples), WEIGHT: torch.tensor([example[WEIGHT] for example in examples])}

    return collate_one
