"""The course of a run: raw text first where there is any, then the task, with the same weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase
from transformers.trainer_utils import set_seed

from assistant.base_model import Base
from assistant.errors import SettingsError
from assistant.training.checkpoints import STATE_FILE
from assistant.training.curves import draw
from assistant.training.data import Example
from assistant.training.fused import fuse_attention, fuse_lora
from assistant.training.methods import Adapted, adapt
from assistant.training.mixture import base_losses
from assistant.training.progress import LOSS_FILE
from assistant.training.recipes import Recipe
from assistant.training.rows import Rows
from assistant.training.run_folder import write_json
from assistant.training.sft import Hyperparameters, Phase, peak_memory, train_phase
from assistant.training.start import start_from
from assistant.training.tasks.task import Task

log = logging.getLogger(__name__)

PICTURE = "loss.png"


@dataclass(frozen=True)
class Report:
    """What the run was. Losses are in nats per answer token, raw ones in nats per token; the training loss of a run
    with weights counts each kind as often as it weighs."""

    trained_parameters: int
    all_parameters: int
    trained_share: float
    steps: int
    seconds: float
    tokens_per_second: float
    train_loss: float
    validation_loss: float | None
    train_examples: int
    validation_examples: int
    peak_memory_bytes: int
    device: str
    best_step: int | None = None
    raw_steps: int = 0
    raw_loss: float | None = None


def fine_tune(
    base: Base,
    task: Task,
    recipe: Recipe,
    settings: Hyperparameters,
    train: Sequence[Example],
    validation: Sequence[Example],
    folder: Path,
    save_steps: int = 25,
    raw: Sequence[Example] = (),
    start: Path | None = None,
) -> tuple[Adapted, Report]:
    """Train; where `folder` holds checkpoints of the same run, go on from the last.

    Args:
        raw: pieces of raw text, trained on before the task.
        start: folder of an adapter whose weights are the first ones.

    Raises:
        SettingsError: raw text for prompts of single tasks, or an adapter to start from that does not fit.
    """
    is_multitask = recipe.name == "multitask-prompt-tuning"
    if raw and is_multitask:
        raise SettingsError("--raw-text is of no task, and multitask-prompt-tuning trains prompts of tasks")
    tokenizer = base.tokenizer
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    kinds = sorted({example.kind for example in (*train, *validation)})
    difficulty = _difficulty(base, train, pad_id, settings, folder) if settings.curriculum else None
    form: dict[str, Any] = {"pad_id": pad_id if recipe.is_soft_prompt else None, "kinds": kinds if is_multitask else ()}
    size: dict[str, Any] = {"row_tokens": settings.row_tokens, "seed": settings.seed}
    rows = Rows(train, weights=settings.weights, difficulty=difficulty, **size, **form)
    measured = Rows(validation, **size, **form) if validation else None
    raw_rows = Rows(raw, **size, **form) if raw else None
    raw_steps = settings.steps(len(raw_rows), settings.raw_epochs or 1.0) if raw_rows else 0
    set_seed(settings.seed)
    steps = raw_steps + settings.steps(len(rows), settings.epochs)
    adapted = adapt(base, recipe, settings.rank, task, kinds, steps)
    if start is not None:
        start_from(adapted, start)
    if isinstance(adapted.model, PeftModel):
        fuse_lora(adapted.model)
    if not torch.cuda.is_available():
        fuse_attention(adapted.model)
    trained, everything = adapted.counts
    log.info("%d of %d parameters are trained (%.3f %%)", trained, everything, 100 * trained / everything)
    before = None
    if raw_rows:
        before = _raw_phase(adapted, tokenizer, settings, raw_rows, folder / "raw", save_steps)
    phase = train_phase(adapted, tokenizer, settings, settings.epochs, rows, measured, folder, save_steps, raw_steps)
    draw(folder / LOSS_FILE, folder / PICTURE)
    return adapted, Report(
        trained_parameters=trained,
        all_parameters=everything,
        trained_share=round(trained / everything, 6),
        **asdict(phase) | {"seconds": round(phase.seconds + (before.seconds if before else 0), 1)},
        train_examples=len(train),
        validation_examples=len(validation),
        peak_memory_bytes=peak_memory(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        raw_steps=raw_steps,
        raw_loss=before.train_loss if before else None,
    )


def _raw_phase(
    adapted: Adapted,
    tokenizer: PreTrainedTokenizerBase,
    settings: Hyperparameters,
    rows: Rows,
    folder: Path,
    save_steps: int,
) -> Phase:
    """Continued pre-training; one that was finished before a kill is taken from its folder."""
    done, state = folder / "phase.json", folder / STATE_FILE
    if done.is_file():
        adapted.load(state)
        return Phase(**json.loads(done.read_text(encoding="utf-8")))
    folder.mkdir(exist_ok=True)
    phase = train_phase(adapted, tokenizer, settings, settings.raw_epochs or 1.0, rows, None, folder, save_steps)
    draw(folder / LOSS_FILE, folder / PICTURE)
    save_file(adapted.state(), state)
    write_json(done, asdict(phase))
    return phase


def _difficulty(
    base: Base, examples: Sequence[Example], pad_id: int, settings: Hyperparameters, folder: Path
) -> list[float]:
    """The base's loss on every example, measured once for a run and its resumptions."""
    kept = folder / "difficulty.json"
    if kept.is_file():
        return list(json.loads(kept.read_text(encoding="utf-8")))
    log.info("measuring how hard each of %d examples is for the base", len(examples))
    if torch.cuda.is_available():
        cast(Any, base.model).to("cuda")
    losses = base_losses(base.model, examples, pad_id, settings.row_tokens)
    write_json(kept, losses)
    return losses
