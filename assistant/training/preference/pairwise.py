"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) on pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.methods import Adapted
from assistant.training.preference.answers import score_answers_only
from assistant.training.preference.phase import Phase, Watched, common_arguments, run
from assistant.training.preference.reference import only_policy, settle_reference
from assistant.training.preference.rendering import PairIds
from assistant.training.preference.settings import PreferenceSettings
from assistant.training.preference.weighting import WEIGHT, WeightedPairs, relative_weights, with_weight

WATCHED = Watched(
    columns={
        "margin": "rewards/margins",
        "accuracy": "rewards/accuracies",
        "entropy": "entropy",
        "validation_margin": "eval_rewards/margins",
        "validation_accuracy": "eval_rewards/accuracies",
    },
    panels={
        "loss": ("loss", "validation_loss"),
        "margin of implicit rewards": ("margin", "validation_margin"),
        "share of pairs in the right order": ("accuracy", "validation_accuracy"),
    },
)


class PairTrainer(AdapterCheckpoints, WeightedPairs, DPOTrainer):
    """TRL's trainer on token ids that are rendered as in serving."""

    def __init__(self, adapted: Adapted, **others: Any) -> None:
        self.adapted = adapted
        super().__init__(model=adapted.model, **others)
        self.data_collator = with_weight(self.data_collator)

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset


def train_dpo(
    adapted: Adapted,
    tokenizer: Any,
    settings: PreferenceSettings,
    train: Sequence[PairIds],
    validation: Sequence[PairIds],
    folder: Path,
    save_steps: int,
) -> Phase:
    """Train on pairs, one at a time: a chosen answer and its rejected one are padded to each other only.

    The reference is the adapter as it starts; for fresh weights that is the base.
    """
    steps = settings.steps(len(train))
    arguments = DPOConfig(
        **common_arguments(settings, WATCHED, steps, folder, bool(validation), save_steps),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.batch,
        beta=settings.beta or 0.0,
        max_length=None,
        remove_unused_columns=False,
    )
    trainer = PairTrainer(
        adapted,
        args=arguments,
        train_dataset=table(train),
        eval_dataset=table(validation) if validation else None,
        processing_class=tokenizer,
    )
    settle_reference(adapted.model, is_fresh=settings.started_from is None)
    score_answers_only(adapted.model.get_base_model())
    phase = run(trainer, adapted.model, settings, WATCHED, folder, tokens=sum(map(len, train)))
    only_policy(adapted.model)
    return phase


def table(pairs: Sequence[PairIds]) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt_ids": [pair.prompt for pair in pairs],
            "chosen_ids": [pair.chosen for pair in pairs],
            WEIGHT: relative_weights(pairs),
            "rejected_ids": [pair.rejected for pair in pairs],
        }
    )
