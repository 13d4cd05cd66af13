"""Trained weights → a folder of the catalogue, whole or not at all; and scores onto its card."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from assistant.catalog import CARD_FILE, CONFIG_FILE, README_FILE, WEIGHTS_FILE, Card, Score, check_name
from assistant.errors import AdapterConflict
from assistant.training.model_card import render

STORED = torch.float16
"""Half the size of float32, and three more bits of mantissa than bfloat16 at the size of these weights."""


def check_target(folder: Path, replaces: bool) -> None:
    """Raises AdapterRejected for a bad name, AdapterConflict where an adapter is that must not be replaced."""
    check_name(folder.name)
    if folder.exists() and not replaces:
        raise AdapterConflict(f"{folder} exists; choose another name, or give --replace")


def publish(model: PeftModel, card: Card, training: Mapping[str, Any], folder: Path, replaces: bool = False) -> Path:
    """Write an adapter folder that PEFT and the catalogue can read.

    Args:
        model: the base with the trained adapter.
        card: what card.json says.
        training: how it was trained; kept in card.json under "training" and shown on the model card.
        folder: `adapters/NAME`. It appears complete: everything is written beside it and then renamed.
        replaces: whether a folder of that name is replaced.

    Raises:
        AdapterRejected, AdapterConflict: see `check_target`.
    """
    check_target(folder, replaces)
    with staging(folder) as staged:
        # Left to itself PEFT asks the hub whether the base's vocabulary was resized.
        model.save_pretrained(str(staged), save_embedding_layers=False)
        weights = load_file(staged / WEIGHTS_FILE)
        save_file(
            {name: tensor.to(STORED) for name, tensor in weights.items()}, staged / WEIGHTS_FILE, {"format": "pt"}
        )
        # The library leaves the file readable by its owner alone.
        (staged / WEIGHTS_FILE).chmod(0o644)
        config = json.loads((staged / CONFIG_FILE).read_text(encoding="utf-8"))
        if isinstance(config.get("target_modules"), list):
            config["target_modules"] = sorted(config["target_modules"])
        (staged / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        _write_card(staged, folder.name, {**card.model_dump(mode="json"), "training": dict(training)})
    return folder


def record_scores(folder: Path, scores: Sequence[Score]) -> None:
    """Put measured scores on the card; one that measured the same on the same data is replaced."""
    content = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    new = {(score.metric, score.data) for score in scores}
    kept = [score for score in content.get("scores", []) if (score["metric"], score["data"]) not in new]
    content["scores"] = kept + [score.model_dump(mode="json") for score in scores]
    _write_card(folder, folder.name, content)


def _write_card(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    _write(folder / CARD_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    # An adapter that was trained elsewhere keeps the README it came with.
    if "training" in content:
        _write(folder / README_FILE, render(name, content))


def _write(path: Path, text: str) -> None:
    """Replace a file in one move: a reader sees the old text or the new."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, hidden from the catalogue, that takes its place when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        staged, old = Path(scratch) / "new", Path(scratch) / "old"
        staged.mkdir()
        yield staged
        if folder.exists():
            folder.rename(old)
        try:
            staged.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
