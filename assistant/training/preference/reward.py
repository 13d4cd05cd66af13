"""A reward model on pairs: LoRA on the frozen base, and a head of one score on the last token's hidden state.

Trained with the loss of Bradley and Terry (1952), −log sigmoid(r_chosen − r_rejected), and rewards held around zero
(Eisenstein et al. 2023, arXiv:2312.09244). What comes out is a PEFT adapter of a classifier with one output, which
transformers, TRL and the server all read.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput
from trl import RewardConfig, RewardTrainer
from trl.trainer.utils import pad, use_adapter

from assistant.adapter_pool.reward_head import HEAD, SAVED, take_head
from assistant.catalog import CONFIG_FILE, REWARD_TASK, WEIGHTS_FILE, content_digest
from assistant.errors import AdapterBroken, SettingsError
from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.methods import Adapted
from assistant.training.preference.phase import Phase, Watched, common_arguments, run
from assistant.training.preference.reference import POLICY
from assistant.training.preference.rendering import PairIds
from assistant.training.preference.settings import PreferenceSettings
from assistant.training.preference.weighting import WEIGHT, WeightedPairs, relative_weights, with_weight

WATCHED = Watched(
    columns={
        "margin": "margin",
        "accuracy": "accuracy",
        "mean_reward": "mean_reward",
        "validation_margin": "eval_margin",
        "validation_accuracy": "eval_accuracy",
    },
    panels={
        "loss": ("loss", "validation_loss"),
        "share of pairs in the right order": ("accuracy", "validation_accuracy"),
        "reward": ("margin", "validation_margin", "mean_reward"),
    },
)

SCORED_AT_ONCE = 8
"""Texts of one pass when answers are scored in a training."""


class RewardModel(nn.Module):
    """The adapted base and a head; computes what `transformers`' classifiers do, from the same base in memory."""

    def __init__(self, policy: PeftModel, seed: int) -> None:
        super().__init__()
        self.policy = policy
        self.config = copy.deepcopy(policy.config)
        self.config.num_labels = 1
        self.score = nn.Linear(self.config.get_text_config().hidden_size, 1, bias=False)
        draw = torch.Generator().manual_seed(seed)
        # Small, so that the first rewards are near zero (Stiennon et al. 2020, arXiv:2009.01325, appendix B).
        nn.init.normal_(self.score.weight, std=(self.score.in_features + 1) ** -0.5, generator=draw)
        self.score.to(policy.device)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **others: Any) -> SequenceClassifierOutput:
        """Rows padded on the right, (N, T); logits are (N, 1), float32."""
        return SequenceClassifierOutput(logits=self.score(last_hidden(self.policy, input_ids, attention_mask)))

    def add_model_tags(self, tags: Any) -> None:
        """TRL marks models for a hub that none of ours goes to."""


def last_hidden(policy: PeftModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The hidden state of each row's last token, (N, hidden), float32; rows (N, T) are padded on the right."""
    backbone: Any = policy.get_base_model().base_model
    states = backbone(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    rows = torch.arange(len(states), device=states.device)
    return states[rows, attention_mask.sum(dim=1) - 1].float()


class RankingTrainer(AdapterCheckpoints, WeightedPairs, RewardTrainer):
    """TRL's trainer, with checkpoints of the trained weights alone."""

    def __init__(self, adapted: Adapted, **others: Any) -> None:
        self.adapted = adapted
        super().__init__(model=adapted.model, **others)
        self.data_collator = with_weight(self.data_collator)


def train_reward(
    adapted: Adapted,
    tokenizer: Any,
    settings: PreferenceSettings,
    train: Sequence[PairIds],
    validation: Sequence[PairIds],
    folder: Path,
    save_steps: int,
) -> Phase:
    """Train head and LoRA on pairs; `adapted.model` is a `RewardModel`."""
    arguments = RewardConfig(
        **common_arguments(settings, WATCHED, settings.steps(len(train)), folder, bool(validation), save_steps),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.batch,
        center_rewards_coefficient=settings.centre or None,
        max_length=None,
        remove_unused_columns=False,
    )
    trainer = RankingTrainer(
        adapted,
        args=arguments,
        train_dataset=table(train),
        eval_dataset=table(validation) if validation else None,
        processing_class=tokenizer,
    )
    model: RewardModel = adapted.model
    return run(trainer, model.policy, settings, WATCHED, folder, tokens=sum(map(len, train)))


def table(pairs: Sequence[PairIds]) -> Dataset:
    return Dataset.from_dict(
        {
            "chosen_ids": [pair.prompt + pair.chosen for pair in pairs],
            WEIGHT: relative_weights(pairs),
            "rejected_ids": [pair.prompt + pair.rejected for pair in pairs],
        }
    )


def write_reward(model: RewardModel, folder: Path) -> None:
    """Config and weights as PEFT saves a classifier's adapter, head included."""
    model.policy.save_pretrained(str(folder), save_embedding_layers=False)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    config |= {"task_type": REWARD_TASK, SAVED: ["score"]}
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    tensors = load_file(folder / WEIGHTS_FILE)
    save_file({**tensors, HEAD: model.score.weight.detach().cpu()}, folder / WEIGHTS_FILE, {"format": "pt"})


class Scorer:
    """A reward adapter on the base of a training, beside the policy: the base is in memory once.

    Raises:
        SettingsError: the folder holds no reward adapter that fits the base.
    """

    def __init__(self, policy: PeftModel, folder: Path, name: str, pad_id: int) -> None:
        self.policy, self.name, self.pad_id = policy, name, pad_id
        try:
            config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            hidden = policy.config.get_text_config().hidden_size
            config, tensors, head = take_head(config, load_file(folder / WEIGHTS_FILE), hidden)
        except (OSError, ValueError, AdapterBroken) as error:
            raise SettingsError(f"{folder}: no reward adapter can be read there: {error}") from error
        if head is None or config.get("peft_type") != "LORA":
            raise SettingsError(f"{folder}: this adapter scores no answers; allowed: LoRA with a reward head")
        known = {key: value for key, value in config.items() if key in LoraConfig.__dataclass_fields__}
        lora = LoraConfig(**{**known, "task_type": "CAUSAL_LM", "inference_mode": True, "peft_type": None})
        policy.add_adapter(name, lora)
        outcome: Any = set_peft_model_state_dict(policy, tensors, adapter_name=name)
        if outcome.unexpected_keys:
            raise SettingsError(f"{folder}: it was made for another base: no layer for {outcome.unexpected_keys[0]}")
        policy.set_adapter(POLICY)
        for key, parameter in policy.named_parameters():
            if f".{name}." in key:
                parameter.requires_grad_(False)
        self.head = head.to(policy.device)

    @torch.no_grad()
    def score(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """The reward of each text, given as token ids."""
        rewards: list[float] = []
        with use_adapter(self.policy, self.name):
            for start in range(0, len(rows), SCORED_AT_ONCE):
                part = [torch.tensor(row) for row in rows[start : start + SCORED_AT_ONCE]]
                ids = pad(part, padding_value=self.pad_id).to(self.policy.device)
                mask = pad([torch.ones_like(row) for row in part]).to(self.policy.device)
                rewards += (last_hidden(self.policy, ids, mask) @ self.head).tolist()
        return rewards


def reward_digest(folder: Path) -> str:
    """The digest of a reward adapter. Raises SettingsError where there is none."""
    try:
        return content_digest(folder)
    except OSError as error:
        raise SettingsError(f"{folder}: no reward adapter can be read there: {error}") from error
