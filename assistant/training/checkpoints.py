"""What all trainers of TRL are told: checkpoints hold the trained weights alone, a run goes on from its last, and nothing
leaves the machine."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from assistant.training.methods import Adapted

log = logging.getLogger(__name__)

STATE_FILE = "trained.safetensors"


class AdapterCheckpoints(Trainer):
    """Mixed into a trainer, before it; set `adapted` before the trainer's own `__init__`."""

    adapted: Adapted

    def go_on(self) -> None:
        """Train to the end, from the last checkpoint where there is one; a run that has ended takes no further step."""
        last, state = last_whole(Path(str(self.args.output_dir)))
        if last is None or state is None or not has_ended(state):
            self.train(resume_from_checkpoint=last)
            return
        self.state = state
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)
        self._load_from_checkpoint(last)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self._load_best_model()
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        folder = Path(str(output_dir or self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.adapted.state(), folder / STATE_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.adapted.load(Path(resume_from_checkpoint) / STATE_FILE)

    def _load_best_model(self) -> None:
        self.adapted.load(Path(str(self.state.best_model_checkpoint)) / STATE_FILE)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The card is written with the adapter, not with every checkpoint."""

    def _send_telemetry(self) -> None:
        """Nothing about a training leaves the machine."""


def last_whole(folder: Path) -> tuple[str | None, TrainerState | None]:
    """The last checkpoint under `folder` and its state; (None, None) where there is none.

    The state is what is written last. A checkpoint without it was cut off by a kill: it is removed.
    """
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if re.fullmatch(r".*-\d+", path.name)]
    for path in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            return str(path), TrainerState.load_from_json(str(path / TRAINER_STATE_NAME))
        except (OSError, ValueError):
            log.warning("%s is not whole; the run goes on from the checkpoint before it", path)
            shutil.rmtree(path)
    return None, None


def has_ended(state: TrainerState) -> bool:
    """Whether the step a checkpoint was written at was the last, by the number of steps or by patience."""
    callbacks = cast(dict[str, Any], state.stateful_callbacks)
    return bool(callbacks["TrainerControl"]["args"]["should_training_stop"])
