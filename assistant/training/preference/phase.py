"""What the four trainers have in common: their arguments, and a run from its last checkpoint to its figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import EarlyStoppingCallback, PrinterCallback

from assistant.training.checkpoints import AdapterCheckpoints
from assistant.training.curves import draw_panels
from assistant.training.fused import fuse_attention, fuse_lora
from assistant.training.preference.settings import PreferenceSettings
from assistant.training.progress import LOSS_FILE, Progress, mean_loss

PICTURE = "curves.png"

Panels = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Watched:
    """What a recipe shows of itself: columns of the loss file by the trainer's names, and which are drawn together.

    `best` is the measurement, under its name in the trainer's log, that patience looks at.
    """

    columns: Mapping[str, str]
    panels: Panels
    best: str = "eval_loss"
    is_higher_better: bool = False


@dataclass(frozen=True)
class Phase:
    """What the training was. Losses are the recipe's own; `measured` holds the figures of the step whose weights were
    kept, by the names of `Watched`."""

    steps: int
    seconds: float
    tokens_per_second: float
    train_loss: float
    validation_loss: float | None
    best_step: int | None
    measured: dict[str, float]


def common_arguments(
    settings: PreferenceSettings, watched: Watched, steps: int, folder: Path, measures: bool, save_steps: int
) -> dict[str, Any]:
    """Arguments for any of TRL's configs.

    Args:
        measures: whether there is validation data.
    """
    eval_steps = math.ceil(steps / (4 if settings.patience is None else 10))
    if settings.iterations:
        # Answers are drawn for so many steps: a checkpoint between them would draw for one that is half learnt from.
        eval_steps, save_steps = (-(-n // settings.iterations) * settings.iterations for n in (eval_steps, save_steps))
    is_patient = settings.patience is not None and measures
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if settings.scheduler == "constant" else settings.scheduler,
        "warmup_steps": round(settings.warmup * steps),
        "logging_steps": max(1, min(5, steps // 10)),
        # Else a loss that is no number would be told as 0.
        "logging_nan_inf_filter": False,
        # The best weights can be kept only where they were measured.
        "save_steps": eval_steps if is_patient else save_steps,
        "save_total_limit": 2,
        "eval_strategy": "steps" if measures else "no",
        "eval_steps": eval_steps,
        "load_best_model_at_end": is_patient,
        "metric_for_best_model": watched.best if is_patient else None,
        "greater_is_better": watched.is_higher_better if is_patient else None,
        "restore_callback_states_from_checkpoint": is_patient,
        "seed": settings.seed,
        "report_to": [],
        "use_cpu": not torch.cuda.is_available(),
        # TRL turns these on unless told otherwise; the base lies in the type it is computed in.
        "bf16": False,
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
    }


def run(
    trainer: AdapterCheckpoints,
    policy: PeftModel,
    settings: PreferenceSettings,
    watched: Watched,
    folder: Path,
    tokens: int = 0,
) -> Phase:
    """Train; where `folder` holds a checkpoint of the same run, go on from it.

    Args:
        policy: the adapted base inside the trainer.
        tokens: computed in one epoch; 0 where the trainer counts those it has drawn itself.
    """
    progress = Progress(folder, watched.columns)
    trainer.add_callback(progress)
    trainer.remove_callback(PrinterCallback)
    if settings.patience is not None and trainer.eval_dataset is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    if not torch.cuda.is_available():
        fuse_lora(policy)
        fuse_attention(policy)
    trainer.go_on()
    draw_panels(folder / LOSS_FILE, folder / PICTURE, watched.panels)
    seen = tokens * (trainer.state.epoch or 0) or trainer.state.num_input_tokens_seen
    measured = {int(log["step"]): log for log in trainer.state.log_history if watched.best in log}
    shown: dict[str, Any] = {}
    if measured:
        pick = max if watched.is_higher_better else min
        is_patient = settings.patience is not None
        shown = pick(measured.values(), key=lambda log: log[watched.best]) if is_patient else measured[max(measured)]
    return Phase(
        steps=trainer.state.global_step,
        seconds=progress.seconds,
        tokens_per_second=round(seen / max(progress.seconds, 0.1), 1),
        train_loss=round(mean_loss(trainer.state.log_history), 4),
        validation_loss=round(shown["eval_loss"], 4) if "eval_loss" in shown else None,
        best_step=int(shown["step"]) if shown and settings.patience is not None else None,
        measured={
            column: round(float(shown[name]), 4)
            for column, name in watched.columns.items()
            if column.startswith("validation") and shown.get(name) is not None
        },
    )
