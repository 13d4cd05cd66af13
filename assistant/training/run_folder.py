"""The folder of a run: what it is of, and what a killed one goes on from."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assistant.errors import SettingsError
from assistant.training.publish import write_whole

log = logging.getLogger(__name__)

RUNS = Path("runs")
CONFIG = "config.json"

RESUMED_FROM = (
    "checkpoint-*",
    "raw/checkpoint-*",
    "raw/phase.json",
    "raw/trained.safetensors",
    "difficulty.json",
    "start.safetensors",
)
"""What a run that was killed goes on from. It goes when the adapter is published: the next one is trained anew."""


@contextmanager
def open_run(
    name: str, chosen: Mapping[str, Any], told: Mapping[str, Any], started_at: str | None
) -> Iterator[tuple[Path, str | None]]:
    """The run's folder, with the whole config in it, and the commit of its first start.

    The config also has the run's mark, which no other run has, not even a later one of the same settings. Until it is
    left, or the process ends, the folder is this start's alone.

    Args:
        chosen: what the run is of; runs that differ in it never share a folder.
        told: what else the config says.
        started_at: the commit of this start.

    Raises:
        SettingsError: the folder cannot be made, or the same training runs at this moment.
    """
    identity = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
    folder = RUNS / f"{name}-{identity}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder.resolve()}: checkpoints cannot be kept there: {error}") from error
    with _held(folder):
        mark = secrets.token_hex(8)
        if _kept(folder) and (folder / CONFIG).is_file():
            begun = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            started_at, mark = begun["commit"], begun.get("run", mark)
        config = {**chosen, **told, "commit": started_at, "run": mark}
        write_json(folder / CONFIG, config)
        log.info("config: %s", json.dumps(config, indent=2, ensure_ascii=False))
        yield folder, started_at


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep out a second start, which would take the checkpoint that is being written for one that was cut off.

    The system lets go of what a killed process held.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"{folder.resolve()}: this very training is running; let it end, or end it and start again"
            ) from error
        except OSError as error:
            # Some network file systems lock no folders, and are good enough for one start at a time.
            log.warning("%s cannot be locked, do not start this training twice: %s", folder, error)
        yield
    finally:
        os.close(handle)


def mark_of(folder: Path) -> str | None:
    """The mark of the run in this folder; None where there is none."""
    try:
        mark: str | None = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("run")
    except (OSError, ValueError, AttributeError):
        # Others keep folders of their own beside those of trainings.
        return None
    return mark


def can_go_on(mark: str | None) -> bool:
    """Whether the run of this mark was cut off, so that the same command goes on with it."""
    return mark is not None and any(mark_of(folder) == mark and _kept(folder) for folder in RUNS.glob("*"))


def close_run(folder: Path) -> None:
    """Forget what was resumed from; config, report and curves stay."""
    for path in _kept(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def examples_digest(*parts: Sequence[object]) -> str:
    """SHA-256, in hex, over rendered examples in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}\n".encode())
        for example in part:
            digest.update(f"{example!r}\n".encode())
    return digest.hexdigest()


def write_json(path: Path, content: object) -> None:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _kept(folder: Path) -> list[Path]:
    return [path for pattern in RESUMED_FROM for path in folder.glob(pattern)]
