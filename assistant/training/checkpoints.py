"""What all trainers of TRL are told: checkpoints hold the trained weights alone, and nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Trainer

from assistant.training.methods import Adapted

STATE_FILE = "trained.safetensors"


class AdapterCheckpoints(Trainer):
    """Mixed into a trainer, before it; set `adapted` before the trainer's own `__init__`."""

    adapted: Adapted

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
