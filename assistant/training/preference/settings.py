"""The settings of a run that learns from preferences, as its card tells them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PreferenceSettings:
    """`batch` counts pairs, single answers or prompts of one step; None where a recipe has no such setting.

    `beta` is the weight of the divergence from the start (DPO, KTO and GRPO), `centre` that of rewards around zero
    (Eisenstein et al. 2023, arXiv:2312.09244). `patience` measurements without a better one end the run, and the
    best weights are kept; None for the last ones. `started_from`, `reward` and `judge` are digests of adapters.
    Of GRPO: `generations` answers of at most `new_tokens` are drawn to each prompt at `temperature` and learnt from
    `iterations` times, with ratios clipped at 1 ± `epsilon`.
    """

    recipe: str
    rank: int
    epochs: float
    learning_rate: float
    batch: int
    warmup: float
    seed: int
    scheduler: str
    dtype: str
    patience: int | None = None
    started_from: str | None = None
    beta: float | None = None
    centre: float | None = None
    reward: str | None = None
    judge: str | None = None
    generations: int | None = None
    new_tokens: int | None = None
    temperature: float | None = None
    iterations: int | None = None
    epsilon: float | None = None

    def steps(self, count: int) -> int:
        """Steps of the whole run on `count` pairs, answers or prompts."""
        return math.ceil(math.ceil(count / self.batch) * self.epochs) * (self.iterations or 1)
