"""Runs the study: trains and measures every trial that has no result yet.

`python -m eval.study --source FOLDER [--scale small|full] [--chapters C…] [--out runs/study]`; the same command
goes on where it was stopped. `python -m eval.study --report` writes the page from the results.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from assistant.catalog import CARD_FILE
from assistant.errors import EvaluationError, SwapboardError
from assistant.settings import load_settings
from assistant.training.options import positive
from eval.command import write
from eval.study.data import prepare
from eval.study.page import write_page
from eval.study.plan import BASE_PROMPTS, GENERAL, SCALES, TASK_OF, Trial, trials

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parse(arguments)
    try:
        if options.report:
            write_page(options.out / options.scale, Path("docs"))
        else:
            study(options)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval.study", description="Compare sizes, settings and methods.")
    parser.add_argument("--source", type=Path, default=Path("../shared/data"), help="folder of the public data")
    parser.add_argument("--scale", choices=sorted(SCALES), help="full on a GPU, else small, unless given")
    parser.add_argument("--chapters", nargs="+", choices=sorted({t.chapter for t in trials(SCALES["small"])}))
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of data, adapters and results")
    parser.add_argument(
        "--jobs", type=positive(int), default=1, help="trials at the same time; for a GPU, or many cores"
    )
    parser.add_argument("--report", action="store_true", help="write docs/study.md from the results there are")
    options = parser.parse_args(arguments)
    options.scale = options.scale or ("full" if torch.cuda.is_available() else "small")
    return options


def study(options: argparse.Namespace) -> None:
    """Every trial of the chapters, `jobs` at a time.

    Raises:
        DataError: the public data is absent or wrong.
        EvaluationError: trials failed; their logs are named. The others have been done.
    """
    scale = SCALES[options.scale]
    place = options.out / scale.name
    prepare(options.source, place / "data", scale)
    chosen = [trial for trial in trials(scale) if not options.chapters or trial.chapter in options.chapters]
    # Trials that train the same wait for the one that does.
    locks = {trial.key: threading.Lock() for trial in chosen}

    def settle(number: int, trial: Trial) -> None:
        if trial.done(place) is not None:
            return
        with locks[trial.key]:
            log.info("trial %d of %d: %s %s", number, len(chosen), trial.chapter, trial.value)
            write(trial.result(place), perform(place, trial))

    failures = []
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(settle, number, trial) for number, trial in enumerate(chosen, start=1)]
        try:
            for done in as_completed(running):
                try:
                    done.result()
                except SwapboardError as error:
                    log.error("%s", error)
                    failures.append(str(error))
        except BaseException:
            # Stopped by hand, too: trials that wait must not begin.
            pool.shutdown(cancel_futures=True)
            raise
    if failures:
        raise EvaluationError(f"{len(failures)} trials failed: {'; '.join(failures)}")


def perform(place: Path, trial: Trial) -> dict[str, Any]:
    """Train where nothing equal was trained before, then measure everything the trial is measured on."""
    folders, logs = trial.folders(place), place / "logs" / f"{trial.key}.log"
    if not all(folder.is_dir() for folder in folders):
        data = [_source(place, file) for file in trial.data]
        command = ["assistant.training.run", "--recipe", trial.recipe, "--task", trial.task, "--data", *data]
        raw = ["--raw-text", _source(place, trial.raw), "--raw-fields", "text"] if trial.raw else []
        run_module([*command, *raw, "--out", str(trial.out(place)), *trial.options], logs, {})
    measured = {name: measure(place, trial, name, logs) for name in trial.everything_measured}
    training = None if trial.is_base else training_of(folders[0])
    return {"chapter": trial.chapter, "value": trial.value, "training": training, "measured": measured}


def training_of(folder: Path) -> dict[str, Any]:
    """What the card says of the training: its report, and when and from what code it ran."""
    told = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))["training"]
    return {name: told[name] for name in ("report", "command", "date", "commit")}


def measure(place: Path, trial: Trial, name: str, logs: Path) -> dict[str, Any]:
    """The metrics of one held-out file, or of a general task on its own set; equal trials measure it once."""
    out = trial.answers(place, name)
    if (result := trial.kept(place, name)) is None:
        is_general = name in GENERAL
        task = name if is_general else TASK_OF[name]
        command = ["eval.run", "--task", task, "--concurrency", str(load_settings().max_batch), "--out", str(out)]
        if not is_general:
            command += ["--data", str(place / "data" / f"{name}_held_out.jsonl")]
            mode, prompt = BASE_PROMPTS[name]
            command += ["--mode", mode, "--prompt", prompt] if trial.is_base else ["--mode", "tuned"]
        environment = {"SWAPBOARD_ADAPTERS_DIR": str(place / "adapters")}
        if trial.changes_base:
            environment["SWAPBOARD_BASE"] = str(trial.out(place))
        elif not trial.is_base:
            command += ["--adapter", trial.adapter(name)]
        run_module(command, logs, environment)
        result = json.loads(out.read_text(encoding="utf-8"))
    return {key: result[key] for key in ("metrics", "count", "command", "date", "commit")}


def run_module(arguments: list[str], logs: Path, environment: dict[str, str]) -> None:
    """Run `python -m …` in a process of its own, so that its peak memory is its own; output goes to `logs`."""
    logs.parent.mkdir(parents=True, exist_ok=True)
    with logs.open("a", encoding="utf-8") as file:
        file.write(f"$ python -m {' '.join(arguments)}\n")
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            check=False,
        )
    if done.returncode != 0:
        raise EvaluationError(f"python -m {' '.join(arguments)} ended with {done.returncode}; see {logs}")


def _source(place: Path, file: str) -> str:
    kind, equals, name = file.rpartition("=")
    return f"{kind}{equals}{place / 'data' / name}"
