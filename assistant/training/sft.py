"""Supervised fine-tuning: examples in, trained weights and a report out."""

from __future__ import annotations

import logging
import math
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, PrinterCallback
from trl import SFTConfig, SFTTrainer

from assistant.training.adalora import Allocation, is_adalora, orthogonality
from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.loss import Batch, answer_loss
from assistant.training.methods import Adapted
from assistant.training.packing import IGNORED
from assistant.training.progress import Progress, mean_loss
from assistant.training.rows import Rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hyperparameters:
    """`row_tokens` bounds the tokens of one forward pass, `accumulate` how many passes make one step.

    `rank` is the size of what is trained, in what the recipe counts. `patience` measurements of the validation
    loss without a better one end the run, and the best weights are kept; None for the last ones.
    `started_from` is the digest of the adapter whose weights were the first.
    """

    recipe: str
    rank: int
    epochs: float
    learning_rate: float
    row_tokens: int
    accumulate: int
    warmup: float
    seed: int
    scheduler: str = "linear"
    dtype: str = "float32"
    patience: int | None = None
    sampling: str = "proportional"
    sampling_temperature: float | None = None
    weights: Mapping[str, float] | None = None
    curriculum: str | None = None
    raw_epochs: float | None = None
    started_from: str | None = None

    def steps(self, rows: int, epochs: float) -> int:
        return math.ceil(math.ceil(rows / self.accumulate) * epochs)


@dataclass(frozen=True)
class Phase:
    """What one stretch of training was. Speeds count the tokens computed, padding included; losses are nats per
    answer token."""

    steps: int
    seconds: float
    tokens_per_second: float
    train_loss: float
    validation_loss: float | None
    best_step: int | None


class AnswerTrainer(AdapterCheckpoints, SFTTrainer):
    """TRL's trainer with our loss and checkpoints of the trained weights alone."""

    def __init__(self, adapted: Adapted, in_order: bool, answer_tokens: float, **others: Any) -> None:
        """`answer_tokens` is how many a row of the validation part has in the mean."""
        self.adapted, self.in_order, self.answer_tokens = adapted, in_order, answer_tokens
        super().__init__(model=adapted.model, **others)
        # TRL puts the adapter of a quantised base into bfloat16, where small steps of Adam are lost.
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        loss = answer_loss(model, inputs)
        loss = loss / (num_items_in_batch if num_items_in_batch is not None else (inputs["labels"] != IGNORED).sum())
        if is_adalora(model):
            share = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
            loss = loss + orthogonality(model) / share
        return loss

    def prediction_step(
        self, model: nn.Module, inputs: Batch, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            # Trainer takes the mean over rows: with one divisor for all, every answer token counts the same.
            return answer_loss(model, inputs) / self.answer_tokens, None, None

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int] | None:
        if self.in_order:
            return SequentialSampler(cast(Dataset, self.train_dataset))
        return super()._get_train_sampler(train_dataset)


def train_phase(
    adapted: Adapted,
    tokenizer: PreTrainedTokenizerBase,
    settings: Hyperparameters,
    epochs: float,
    rows: Rows,
    validation: Rows | None,
    folder: Path,
    save_steps: int,
    earlier_steps: int = 0,
) -> Phase:
    """Train `adapted` on `rows`; where `folder` holds a checkpoint of the same run, go on from it.

    Args:
        earlier_steps: steps of the phases before.
    """
    steps = settings.steps(len(rows), epochs)
    eval_steps = math.ceil(steps / (4 if settings.patience is None else 10))
    # A processor is busy with one row; a GPU takes the rows of a step in one pass.
    stacked = settings.accumulate if torch.cuda.is_available() and rows.are_packed else 1
    patience = settings.patience if validation is not None else None
    patient = patience is not None
    arguments = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=stacked,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.accumulate // stacked,
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.scheduler == "constant" else settings.scheduler,
        warmup_steps=round(settings.warmup * steps),
        logging_steps=max(1, min(5, steps // 10)),
        # Else a loss that is no number would be told as 0.
        logging_nan_inf_filter=False,
        # The best weights can be kept only where they were measured.
        save_steps=eval_steps if patient else save_steps,
        save_total_limit=2,
        eval_strategy="no" if validation is None else "steps",
        eval_steps=eval_steps,
        load_best_model_at_end=patient,
        metric_for_best_model="eval_loss" if patient else None,
        greater_is_better=False if patient else None,
        restore_callback_states_from_checkpoint=patient,
        seed=settings.seed,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        # TRL turns both on unless told otherwise. What is trained of the base itself stays in float32.
        bf16=settings.dtype == "bfloat16" and adapted.changes_base,
        activation_checkpointing=False,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    progress = Progress(folder)
    # TRL wants tables: theirs hold the numbers of the rows, and the collator fetches the rows.
    parts = [rows] if validation is None else [rows, validation]
    tables = [Dataset.from_dict({"part": [n] * len(part), "row": range(len(part))}) for n, part in enumerate(parts)]
    trainer = AnswerTrainer(
        adapted,
        in_order=settings.curriculum is not None,
        answer_tokens=validation.answer_tokens / len(validation) if validation is not None else 1.0,
        args=arguments,
        train_dataset=tables[0],
        eval_dataset=None if validation is None else tables[1],
        processing_class=tokenizer,
        data_collator=lambda items: parts[items[0]["part"]].batch([item["row"] for item in items]),
        callbacks=[progress, *([EarlyStoppingCallback(patience)] if patience is not None else [])],
    )
    trainer.remove_callback(PrinterCallback)
    if is_adalora(adapted.model):
        trainer.add_callback(Allocation(adapted.model, earlier_steps))
    trainer.go_on()
    taken = trainer.state.global_step
    measured = {int(entry["step"]): entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    # The last step is always one that measures.
    shown = (min(measured, key=measured.__getitem__) if patient else max(measured)) if measured else None
    return Phase(
        steps=taken,
        seconds=progress.seconds,
        tokens_per_second=round(rows.tokens * taken / settings.steps(len(rows), 1.0) / max(progress.seconds, 0.1), 1),
        train_loss=round(mean_loss(trainer.state.log_history), 4),
        validation_loss=None if shown is None else round(measured[shown], 4),
        best_step=shown if patient else None,
    )


def peak_memory() -> int:
    """The most memory this process has held so far, in bytes: on the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
