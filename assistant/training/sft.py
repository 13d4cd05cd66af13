"""Supervised fine-tuning of an adapter: examples in, trained weights and a report out.

TRL's trainer scores every position against the whole vocabulary on a CPU; the answers are two
words of a hundred. Here the trainer underneath it is used, and only answer positions are scored.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, PeftType
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint, set_seed

from assistant.base_model import Base
from assistant.training.data import Example
from assistant.training.fused import fuse_attention, fuse_lora
from assistant.training.packing import IGNORED, batches, pack, pad, plan_rows
from assistant.training.progress import Progress
from assistant.training.recipes import Recipe, adapt, parameter_counts
from assistant.training.tasks.task import Task

log = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Hyperparameters:
    """`row_tokens` bounds the tokens of one forward pass, `accumulate` how many passes make one step."""

    recipe: str
    rank: int
    epochs: float
    learning_rate: float
    row_tokens: int
    accumulate: int
    warmup: float
    seed: int


@dataclass(frozen=True)
class Report:
    """What the run was. Speeds count the tokens computed, padding included; losses are nats per answer token."""

    trained_parameters: int
    all_parameters: int
    steps: int
    seconds: float
    tokens_per_second: float
    train_loss: float
    validation_loss: float | None
    train_examples: int
    validation_examples: int


class Rows(Dataset[Batch]):
    """Batches made ahead; the trainer draws their order anew each epoch."""

    def __init__(self, examples: Sequence[Example], recipe: Recipe, settings: Hyperparameters, pad_id: int) -> None:
        self._make: Callable[[Any], Batch]
        if recipe.is_soft_prompt:
            self.plan: list[Any] = list(batches(examples, settings.row_tokens, settings.seed))
            self._make = lambda part: pad(part, pad_id)
        else:
            self.plan = list(plan_rows(examples, settings.row_tokens, settings.seed))
            self._make = pack

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def tokens(self) -> int:
        """Tokens computed in one epoch, padding included."""
        return sum(batch["labels"].numel() for batch in map(self.__getitem__, range(len(self))))

    def __getitem__(self, index: int) -> Batch:
        return self._make(self.plan[index])


class AnswerTrainer(Trainer):
    """Scores answer tokens only: the logits of a whole row would be its largest tensor by far."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        labels = inputs["labels"]
        loss = answer_loss(model, inputs)
        return loss / (num_items_in_batch if num_items_in_batch is not None else (labels != IGNORED).sum())

    def prediction_step(
        self, model: nn.Module, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, None, None]:
        with torch.no_grad():
            return answer_loss(model, inputs) / (inputs["labels"] != IGNORED).sum(), None, None

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        # Left to itself PEFT asks the hub whether the base's vocabulary was resized.
        folder = str(output_dir or self.args.output_dir)
        cast(PeftModel, self.model).save_pretrained(folder, state_dict=state_dict, save_embedding_layers=False)


def answer_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Summed negative log-likelihood of the answer tokens, in nats; a scalar.

    Args:
        model: the base with its adapter.
        batch: labels (N, T), IGNORED where nothing is to be predicted, and the model's own inputs.
    """
    labels = batch["labels"]
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    if (sees := inputs["attention_mask"]).dtype == torch.bool:
        dtype = next(model.parameters()).dtype
        inputs["attention_mask"] = torch.zeros_like(sees, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    # Columns after which at least one row continues with an answer token.
    columns = (labels[:, 1:] != IGNORED).any(dim=0).nonzero().squeeze(-1)
    config = cast(PeftModel, model).active_peft_config
    # Virtual tokens put before the row as embeddings move its columns; a prefix in the cache does not.
    is_shifted = config.peft_type in (PeftType.PROMPT_TUNING, PeftType.P_TUNING)
    shift = config.num_virtual_tokens if is_shifted else 0
    logits = model(**inputs, use_cache=False, logits_to_keep=columns + shift).logits
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels[:, columns + 1].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def fine_tune(
    base: Base,
    task: Task,
    recipe: Recipe,
    settings: Hyperparameters,
    train: Sequence[Example],
    validation: Sequence[Example],
    folder: Path,
    save_steps: int = 25,
) -> tuple[PeftModel, Report]:
    """Train; where `folder` holds a checkpoint of the same run, go on from it."""
    set_seed(settings.seed)
    model = adapt(base, recipe, settings.rank, task)
    if model.device.type == "cpu":
        fuse_lora(model)
        fuse_attention(model)
    pad_id = base.tokenizer.pad_token_id if base.tokenizer.pad_token_id is not None else base.tokenizer.eos_token_id
    rows = Rows(train, recipe, settings, pad_id)
    trained, everything = parameter_counts(model)
    log.info("%d of %d parameters are trained (%.2f %%)", trained, everything, 100 * trained / everything)
    steps = math.ceil(math.ceil(len(rows) / settings.accumulate) * settings.epochs)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.accumulate,
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=max(1, round(settings.warmup * steps)),
        logging_steps=5,
        save_steps=save_steps,
        save_total_limit=2,
        eval_strategy="steps" if validation else "no",
        eval_steps=max(1, steps // 4),
        seed=settings.seed,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    progress = Progress(folder)
    trainer = AnswerTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=Rows(validation, recipe, settings, pad_id) if validation else None,
        # An item is a whole batch already.
        data_collator=lambda items: items[0],
        callbacks=[progress],
    )
    outcome = trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    seconds = progress.seconds
    # The last step is always one that measures; a run without validation has no such entry.
    measured = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    report = Report(
        trained_parameters=trained,
        all_parameters=everything,
        steps=outcome.global_step,
        seconds=seconds,
        tokens_per_second=round(rows.tokens * steps * settings.accumulate / len(rows) / seconds, 1),
        train_loss=round(outcome.training_loss, 4),
        validation_loss=round(measured[-1], 4) if measured else None,
        train_examples=len(train),
        validation_examples=len(validation),
    )
    (folder / "report.json").write_text(json.dumps(asdict(report), indent=2), encoding="utf-8")
    return model, report
