"""Command lines of small trainings, and trainings without a command line."""

from __future__ import annotations

from pathlib import Path

from assistant.base_model import Base, load_base
from assistant.training.data import Example
from assistant.training.recipes import RECIPES
from assistant.training.sft import Hyperparameters

SIZES = {"rank": "rank", "virtual tokens": "rank", "width": "rank", "layers": "layers"}


def command(recipe: str = "lora", **changes: object) -> list[str]:
    """Options of a run in the folder of the `place` fixture; None leaves an option out, a list gives it many values."""
    options = {"recipe": recipe, "task": "sentiment", "data": "reviews.jsonl", "out": "adapters/tiny", "validation": 4,
               "row-tokens": 400, "lr": 0.01}  # fmt: skip
    if (size := RECIPES[recipe].size) != "nothing":
        options[SIZES[size]] = 1 if size == "layers" else 2
    parts: list[str] = []
    for key, value in {**options, **changes}.items():
        if value is not None:
            values = value if isinstance(value, list) else [value]
            parts += [f"--{key}", *map(str, values)]
    return parts


def settings(recipe: str = "lora", **changes: object) -> Hyperparameters:
    defaults = {"rank": 1 if recipe == "last-layers" else 2, "epochs": 1.0, "learning_rate": 0.05, "row_tokens": 60,
                "accumulate": 1, "warmup": 0.0, "seed": 0}  # fmt: skip
    return Hyperparameters(recipe=recipe, **{**defaults, **changes})


def tiny_base(place: Path) -> Base:
    return load_base(str(place / "base"), "float32", place)


def examples(count: int, kind: str = "") -> list[Example]:
    return [Example((1, 2, 3 + n), (40 + n, 41, 256), kind=kind) for n in range(count)]
