"""TRL's own trainers over an exported file, which they prepare themselves."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from datasets import Dataset

from tests.tiny import lora_config, tokenizer

OPTIONS = {
    "per_device_train_batch_size": 2,
    "max_steps": 1,
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "max_length": 128,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
}


def trainer(kind: str, data: Dataset, base: Path, folder: Path) -> Any:
    """The trainer `reward`, `dpo` or `kto`, ready to train on `data` as it was loaded."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

    make, config = {
        "reward": (RewardTrainer, RewardConfig),
        "dpo": (DPOTrainer, DPOConfig),
        "kto": (KTOTrainer, KTOConfig),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, about each other
        if kind == "reward":
            model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        else:
            model = AutoModelForCausalLM.from_pretrained(base)
        return make(
            model,
            args=config(output_dir=str(folder / "run"), **OPTIONS),
            train_dataset=data,
            processing_class=tokenizer(),
            peft_config=lora_config(**({"task_type": "SEQ_CLS"} if kind == "reward" else {})),
        )
