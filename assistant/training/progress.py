"""The loss of a run, step by step: in a file that survives a resume, and for whoever watches."""

from __future__ import annotations

import csv
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

LOSS_FILE = "loss.csv"
LOSS_FIELDS = ("step", "epoch", "loss", "validation_loss", "learning_rate", "seconds")


class Progress(TrainerCallback):
    """Writes the loss file; a resumed run goes on where its checkpoint ends.

    A terminal is shown a bar with the loss and the time left, anything else gets a line per log.

    Args:
        columns: further columns of the file, and under which name the trainer logs what stands in them.
    """

    def __init__(self, folder: Path, columns: Mapping[str, str] | None = None) -> None:
        self.path = folder / LOSS_FILE
        self.columns = dict(columns or {})
        self.fields = (*LOSS_FIELDS, *self.columns)
        self.earlier = 0.0
        self.started = time.monotonic()
        self.bar: tqdm[Any] | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training, those before a resume included."""
        return round(self.earlier + time.monotonic() - self.started, 1)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.started = time.monotonic()
        kept = []
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= state.global_step]
        self.earlier = float(kept[-1]["seconds"]) if kept else 0.0
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.fields)
            writer.writeheader()
            writer.writerows(kept)
        if sys.stderr.isatty():
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", dynamic_ncols=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # What is not logged with a checkpoint is not known to a run that goes on from it.
        if control.should_save or control.should_training_stop:
            control.should_log = True
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        row = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0, 3),
            "loss": logs.get("loss", ""),
            "validation_loss": logs.get("eval_loss", ""),
            "learning_rate": logs.get("learning_rate", ""),
            "seconds": self.seconds,
            **{column: logs.get(name, "") for column, name in self.columns.items()},
        }
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.fields).writerow(row)
        if self.bar is None:
            log.info("step %d of %d: %s", state.global_step, state.max_steps, json.dumps(row))
        elif "loss" in logs:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}")
        else:
            self.bar.write(f"step {state.global_step}: validation loss {logs['eval_loss']:.4f}")


def mean_loss(history: Sequence[Mapping[str, float]]) -> float:
    """The mean training loss over all steps of a trainer's log, those before a resume included."""
    total, last = 0.0, 0.0
    for entry in history:
        # Each is the mean over the steps since the one before.
        if "loss" in entry:
            total, last = total + entry["loss"] * (entry["step"] - last), entry["step"]
    return total / last if last else 0.0
