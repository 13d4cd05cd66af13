"""Trained weights → a folder of the catalogue, whole or not at all; and scores onto its card."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from assistant.adapter_pool.convert import convert
from assistant.adapter_pool.revisions import Revisions
from assistant.catalog import (
    CARD_FILE,
    CONFIG_FILE,
    README_FILE,
    SERVED_TYPES,
    WEIGHTS_FILE,
    Card,
    Gate,
    Score,
    check_name,
    kind_of,
)
from assistant.errors import AdapterConflict, SettingsError, TrainingDiverged
from assistant.training.model_card import render

STORED = torch.float16
"""Half the size of float32, and three more bits of mantissa than bfloat16 at the size of these weights."""


IsOurs = Callable[[str | None], bool]
"""Whether the mark of a run, see `published_by`, is that of one that was cut off and now goes on."""


def check_target(folder: Path, replaces: bool, is_ours: IsOurs = lambda mark: False) -> None:
    """Raises AdapterRejected for a bad name, AdapterConflict where an adapter is that must not be replaced.

    What the run that goes on left there itself passes: it was cut off before it had finished up.
    """
    check_name(folder.name)
    if folder.exists() and not replaces and not is_ours(published_by(folder)):
        raise AdapterConflict(f"{folder} exists; choose another name, or give --replace")


def check_model_target(folder: Path, adapters: Path, replaces: bool, is_ours: IsOurs) -> None:
    """The same for a whole model, which is no adapter; SettingsError where it would lie among them."""
    if folder.resolve().is_relative_to(adapters.resolve()):
        raise SettingsError(
            f"--out {folder}: this recipe trains a whole model, which cannot lie in the adapters folder {adapters}; "
            "give another folder, e.g. models/NAME, and serve it with SWAPBOARD_BASE"
        )
    check_target(folder, replaces, is_ours)


def published_by(folder: Path) -> str | None:
    """The mark of the run that left this adapter or model, see `run_folder`; None where its card tells of none."""
    try:
        training = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))["training"]
        return cast(str | None, training.get("run"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def publish(
    write: Callable[[Path], None],
    card: Card,
    training: Mapping[str, Any],
    folder: Path,
    replaces: bool = False,
    fresh_base: Callable[[], PreTrainedModel] | None = None,
    scratch: Path | None = None,
) -> Path:
    """Write an adapter folder that the catalogue can read, and PEFT where the type is one of its own.

    A type that is not served as it is becomes a LoRA where PEFT can convert it, and the card says so.

    Args:
        write: puts config and weights into the folder it is given.
        card: what card.json says.
        training: how it was trained; kept in card.json under "training" and shown on the model card.
        folder: `adapters/NAME`. It appears complete: everything is written elsewhere and then renamed.
        replaces: whether an adapter of that name is replaced. It is kept as an earlier revision.
        fresh_base: loads the base in float32 for a conversion.
        scratch: where to write first; beside `folder` unless given.

    Raises:
        AdapterRejected, AdapterConflict: see `check_target`; or the type can neither be served nor converted.
        TrainingDiverged: a weight is no number.
    """
    check_target(folder, replaces)
    with staging(folder.parent, scratch) as staged:
        write(staged)
        config = json.loads((staged / CONFIG_FILE).read_text(encoding="utf-8"))
        if fresh_base is not None and kind_of(config) not in SERVED_TYPES:
            card = card.model_copy(update={"conversion": convert(staged, fresh_base())})
            config = json.loads((staged / CONFIG_FILE).read_text(encoding="utf-8"))
        weights = {name: tensor.to(STORED) for name, tensor in load_file(staged / WEIGHTS_FILE).items()}
        _check_finite(weights, folder)
        save_file(weights, staged / WEIGHTS_FILE, {"format": "pt"})
        # The library leaves the file readable by its owner alone.
        (staged / WEIGHTS_FILE).chmod(0o644)
        # Neither PEFT nor the conversion may leave a folder of this machine in it.
        config["base_model_name_or_path"] = card.base_name
        if isinstance(config.get("target_modules"), list):
            config["target_modules"] = sorted(config["target_modules"])
        (staged / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        _write_trained(staged, folder.name, card, training, (staged / WEIGHTS_FILE).stat().st_size)
        Revisions(folder.parent).swap_in(folder.name, staged)
    return folder


def publish_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype,
    card: Card,
    training: Mapping[str, Any],
    folder: Path,
    replaces: bool = False,
) -> Path:
    """Write a whole model, to be served as a base: safetensors in `dtype`, tokenizer, card.json and model card.

    Raises:
        AdapterRejected, AdapterConflict: see `check_target`; another run may have published there meanwhile.
        TrainingDiverged: a weight is no number.
    """
    check_target(folder, replaces)
    with staging(folder.parent) as staged:
        cast(Any, model).to(dtype).save_pretrained(staged)
        _check_finite(model.state_dict(), folder)
        tokenizer.save_pretrained(staged)
        size = sum(path.stat().st_size for path in staged.glob("*.safetensors"))
        _write_trained(staged, folder.name, card, training, size)
        old = staged.parent / "old"
        # No model is kept as an earlier revision: one that came while this was written is not moved away.
        if replaces and folder.exists():
            folder.rename(old)
        try:
            staged.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    return folder


def record_scores(folder: Path, scores: Sequence[Score]) -> None:
    """Put measured scores on the card. One is replaced by the same figure of as many records of the same data, asked in
    the same mode under the same constraint; or of the same command, as scores once did not tell how they were measured.

    A quick run, on some of the records or in another mode, so stands beside the whole one.
    """
    content = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    new = [score.model_dump(mode="json") for score in scores]
    replaced = {_measurement(score) for score in new} | {(score["metric"], score["command"]) for score in new}
    kept = [
        score
        for score in content.get("scores", [])
        if not {_measurement(score), (score["metric"], score["command"])} & replaced
    ]
    content["scores"] = kept + new
    _write_card(folder, folder.name, content)


def _measurement(score: Mapping[str, Any]) -> tuple[object, ...]:
    """What of a score on a card tells one measurement from another."""
    return tuple(score.get(key) for key in ("metric", "data", "count", "mode", "constraint"))


def record_gate(folder: Path, gate: Gate) -> None:
    """Put the gate's report on the card, in place of an earlier one."""
    path = folder / CARD_FILE
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    _write_card(folder, folder.name, {**content, "gate": gate.model_dump(mode="json")})


def _write_trained(folder: Path, name: str, card: Card, training: Mapping[str, Any], size: int) -> None:
    report = {**training["report"], "file_bytes": size}
    _write_card(folder, name, {**card.model_dump(mode="json"), "training": {**training, "report": report}})


def _write_card(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    write_whole(folder / CARD_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    # An adapter that was trained elsewhere keeps the README it came with.
    if "training" in content:
        write_whole(folder / README_FILE, render(name, content))


def write_whole(path: Path, text: str) -> None:
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


def why_not_written(path: Path) -> str | None:
    """What is in the way of a file that is to be written later, None for nothing. Its folder is made."""
    try:
        if path.is_dir():
            return "this is a folder; allowed: a file, which is made or replaced"
        path.parent.mkdir(parents=True, exist_ok=True)
        # What `write_whole` does first; whether it may is not known before it is tried.
        tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-").close()
    except OSError as error:
        return f"cannot be written: {error}; allowed: a file in a folder that can be written to"
    return None


def _check_finite(weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise TrainingDiverged(
                f"{folder} is not written: the training diverged, and {name} holds what is no number; lower --lr"
            )


@contextmanager
def staging(parent: Path, scratch: Path | None = None) -> Iterator[Path]:
    """An empty folder, to be filled and then moved into `parent` in one rename; what is not moved is removed.

    It lies in `scratch`, so that even a kill leaves nothing in `parent`; where that is another file system, from which
    nothing can be renamed, in `parent` and hidden from the catalogue.
    """
    parent.mkdir(parents=True, exist_ok=True)
    if scratch is None or scratch.stat().st_dev != parent.stat().st_dev:
        scratch = parent
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpublished-") as temporary:
        staged = Path(temporary) / "new"
        staged.mkdir()
        yield staged
