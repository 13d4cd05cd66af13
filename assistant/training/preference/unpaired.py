"""Kahneman–Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306) on single answers found good or bad."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import KTOConfig, KTOTrainer

from assistant.errors import DataError, SettingsError
from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.methods import Adapted
from assistant.training.preference.answers import score_answers_only
from assistant.training.preference.phase import Phase, Watched, common_arguments, run
from assistant.training.preference.reference import only_policy, settle_reference
from assistant.training.preference.rendering import OpinionIds
from assistant.training.preference.settings import PreferenceSettings

ROWS = 4
"""Answers of one forward pass: the divergence is estimated from other answers of the same pass."""

WATCHED = Watched(
    columns={
        "margin": "rewards/margins",
        "good": "rewards/chosen",
        "bad": "rewards/rejected",
        "kl": "kl",
        "validation_margin": "eval_rewards/margins",
        "validation_good": "eval_rewards/chosen",
        "validation_bad": "eval_rewards/rejected",
    },
    panels={
        "loss": ("loss", "validation_loss"),
        "implicit reward": ("good", "bad", "validation_good", "validation_bad"),
        "divergence from the start": ("kl",),
    },
)


class OpinionTrainer(AdapterCheckpoints, KTOTrainer):
    """TRL's trainer on token ids that are rendered as in serving."""

    def __init__(self, adapted: Adapted, **others: Any) -> None:
        self.adapted = adapted
        super().__init__(model=adapted.model, **others)

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset


def train_kto(
    adapted: Adapted,
    tokenizer: Any,
    settings: PreferenceSettings,
    train: Sequence[OpinionIds],
    validation: Sequence[OpinionIds],
    folder: Path,
    save_steps: int,
) -> Phase:
    """Train on single answers. The rarer of good and bad counts for more, so that both count the same in all.

    Raises:
        DataError: all answers are good, or all bad.
        SettingsError: the batch is no multiple of 4.
    """
    if settings.batch % ROWS:
        raise SettingsError(f"--batch-size {settings.batch}: kto computes {ROWS} answers at a time; allowed: multiples")
    good = sum(ids.label for ids in train)
    bad = len(train) - good
    if not good or not bad:
        raise DataError(f"{good} good and {bad} bad answers to train on; kto needs some of both")
    arguments = KTOConfig(
        **common_arguments(settings, WATCHED, settings.steps(len(train)), folder, bool(validation), save_steps),
        per_device_train_batch_size=ROWS,
        per_device_eval_batch_size=ROWS,
        gradient_accumulation_steps=settings.batch // ROWS,
        beta=settings.beta or 0.0,
        desirable_weight=max(1.0, bad / good),
        undesirable_weight=max(1.0, good / bad),
        max_length=None,
    )
    trainer = OpinionTrainer(
        adapted,
        args=arguments,
        train_dataset=table(train, settings.seed),
        eval_dataset=table(validation, settings.seed) if validation else None,
        processing_class=tokenizer,
    )
    settle_reference(adapted.model, is_fresh=settings.started_from is None)
    score_answers_only(adapted.model.get_base_model())
    # Each answer is read a second time, beside the prompt of another.
    phase = run(trainer, adapted.model, settings, WATCHED, folder, tokens=2 * sum(map(len, train)))
    only_policy(adapted.model)
    return phase


def table(opinions: Sequence[OpinionIds], seed: int) -> Dataset:
    """Rows in passes of `ROWS`, drawn once: beside each answer stands that of the pass's row before it, which TRL
    estimates the divergence on (equation 7 of the paper)."""
    order = list(opinions)
    random.Random(seed).shuffle(order)
    others = []
    for start in range(0, len(order), ROWS):
        part = [ids.completion for ids in order[start : start + ROWS]]
        # A row alone in the last pass borrows from the pass before.
        others += [part[-1], *part[:-1]] if len(part) > 1 or not start else [order[start - 1].completion]
    return Dataset.from_dict(
        {
            "prompt_ids": [ids.prompt for ids in order],
            "completion_ids": [ids.completion for ids in order],
            "KL_completion_ids": others,
            "label": [ids.label for ids in order],
        }
    )
