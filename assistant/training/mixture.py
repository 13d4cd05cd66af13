"""How often each kind of record comes up, and in which order: sampling shares and the curriculum."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from assistant.training.data import Example
from assistant.training.loss import row_losses
from assistant.training.packing import batches, pad

Sampling = Literal["proportional", "temperature", "equal"]

STAGES = 10
"""Steps from the easiest tenth of a curriculum to the hardest; within one the order is drawn."""


def shares(sizes: dict[str, int], sampling: Sampling, temperature: float) -> dict[str, float]:
    """The share of each kind, summing to one: n^(1/T) / Σ n^(1/T) (Raffel et al. 2020, section 3.5.2).

    `proportional` is T = 1, `equal` the limit of large T; `temperature` takes T as given.
    """
    power = {"proportional": 1.0, "temperature": 1 / temperature, "equal": 0.0}[sampling]
    parts = {kind: size**power for kind, size in sizes.items()}
    return {kind: part / sum(parts.values()) for kind, part in parts.items()}


def resample(examples: Sequence[Example], sampling: Sampling, temperature: float, seed: int) -> list[Example]:
    """As many examples as there are, kinds in their shares: of a kind with too many some are drawn, few are repeated.

    Proportional sampling leaves them as they are.
    """
    if sampling == "proportional":
        return list(examples)
    kinds: dict[str, list[Example]] = {}
    for example in examples:
        kinds.setdefault(example.kind, []).append(example)
    wanted = shares({kind: len(own) for kind, own in kinds.items()}, sampling, temperature)
    draw = random.Random(seed)
    mixed: list[Example] = []
    for kind, own in kinds.items():
        count = max(1, round(wanted[kind] * len(examples)))
        rounds, rest = divmod(count, len(own))
        mixed += own * rounds + draw.sample(own, rest)
    return mixed


def base_losses(model: Any, examples: Sequence[Example], pad_id: int, row_tokens: int) -> list[float]:
    """How hard each example is: the loss of the untrained base on its answer, in nats per token."""
    losses: dict[Example, float] = {}
    for part in batches(examples, row_tokens, seed=0):
        batch = {name: tensor.to(model.device) for name, tensor in pad(part, pad_id).items()}
        with torch.inference_mode():
            losses.update(zip(part, row_losses(model, batch).tolist(), strict=True))
    return [losses[example] for example in examples]


def in_stages(
    examples: Sequence[Example], difficulty: Sequence[float], plan: Callable[[Sequence[Example]], list[Any]]
) -> list[Any]:
    """What `plan` makes of the easiest examples, then of harder ones, up to the hardest."""
    order = sorted(range(len(examples)), key=lambda position: difficulty[position])
    size = -(-len(order) // STAGES)
    stages = [order[start : start + size] for start in range(0, len(order), size)]
    return [made for stage in stages for made in plan([examples[position] for position in stage])]
