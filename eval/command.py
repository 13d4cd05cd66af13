"""What the commands beside `eval.run` have in common: from options to a file that says where its figures come from."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shlex
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from assistant.errors import DataError, EvaluationError, SwapboardError
from assistant.messages import AUTO, BASE, HIGHEST_TEMPERATURE
from assistant.service import ChatService
from assistant.settings import Settings, load_settings
from assistant.training.data import json_lines
from assistant.training.provenance import commit, today
from assistant.training.publish import why_not_written, write_whole
from assistant.training.tasks.task import Record

Result = dict[str, Any]
CONCURRENCY = 8
"""Requests asked at the same time unless told otherwise."""


def run_command(
    module: str,
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Awaitable[Result]],
    show: Callable[[Result], None],
) -> int:
    """Parse, measure, write `--out`, show; the exit status. What Swapboard refuses is told in one line, and whatever can
    be wrong with the options before anything is measured."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = parser.parse_args(given)
    started = time.monotonic()
    try:
        check(options)
        # Before the measurement: it is this code that runs, whatever is committed meanwhile.
        head = {"command": f"python -m {module} {shlex.join(given)}", "date": today(), "commit": commit()}
        measured = asyncio.run(_measured(measure, options))
        result = {"kind": module.removeprefix("eval."), **head, **measured}
        result["seconds"] = round(time.monotonic() - started, 1)
        write(options.out, result)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    show(result)
    return 0


async def _measured(measure: Callable[[argparse.Namespace], Awaitable[Result]], options: argparse.Namespace) -> Result:
    return await measure(options)


def add_common(parser: argparse.ArgumentParser, many_adapters: bool = False, asks: bool = True) -> None:
    """The options that every study takes; one that `asks` nobody has no adapter and no requests."""
    if many_adapters:
        parser.add_argument("--adapter", nargs="+", default=[], help="names in the catalogue")
    elif asks:
        parser.add_argument("--adapter", default=BASE, help="name in the catalogue, or base")
    parser.add_argument("--limit", type=int, help="this many examples, drawn at random with --seed")
    parser.add_argument("--seed", type=int, default=0)
    if asks:
        parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="requests asked at the same time")
    parser.add_argument("--out", required=True, type=Path, help="JSON file to write")


def check(options: argparse.Namespace) -> None:
    """Raises EvaluationError where a common option is out of bounds."""
    if options.limit is not None and options.limit < 1:
        raise EvaluationError(f"--limit {options.limit}: allowed are numbers from 1")
    if "concurrency" in options:
        check_concurrency(options.concurrency, load_settings())
    adapter = getattr(options, "adapter", BASE)
    names = adapter if isinstance(adapter, list) else [adapter]
    if AUTO in names:
        raise EvaluationError(f"--adapter {AUTO!r} would measure the router; allowed: {BASE} or an adapter")
    check_out(options.out)


def check_concurrency(concurrency: int, settings: Settings) -> None:
    """Raises EvaluationError where there are no requests at the same time, or more than the service takes in."""
    most = settings.max_batch + settings.max_queue
    if not 1 <= concurrency <= most:
        raise EvaluationError(
            f"--concurrency {concurrency}: allowed are 1 to {most}, as {settings.max_batch} requests run "
            f"(SWAPBOARD_MAX_BATCH) and {settings.max_queue} wait (SWAPBOARD_MAX_QUEUE)"
        )


def check_temperature(temperature: float) -> None:
    """Raises EvaluationError where no request may have it."""
    if not 0 <= temperature <= HIGHEST_TEMPERATURE:
        raise EvaluationError(f"--temperature {temperature:g}: allowed are 0 to {HIGHEST_TEMPERATURE}")


def check_out(path: Path) -> None:
    """Make the folder of a file that will be written. Raises EvaluationError where it is none or cannot be written."""
    if (fault := why_not_written(path)) is not None:
        raise EvaluationError(f"--out {path}: {fault}")


def described(service: ChatService, adapter: str) -> Result:
    """Which weights were measured. Raises UnknownAdapter."""
    return {
        "adapter": adapter,
        "adapter_digest": None if adapter == BASE else service.catalog.get(adapter).digest,
        "base": service.backend.base_name,
        "base_digest": service.backend.base_digest,
    }


def write(path: Path, result: Result) -> None:
    """Figures as JSON; dataclasses become objects. The file is there whole or not at all: what is there counts as done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(result, indent=1, ensure_ascii=False, default=_plain) + "\n")


def read_rows(
    path: Path, fields: Sequence[str], check: Callable[[Record], str | None] = lambda row: None
) -> list[dict[str, Any]]:
    """The objects of a JSON lines file. `check` says what is wrong with one that has the fields, None for nothing.

    Raises:
        DataError: the file cannot be read or is empty, or a line is no object, lacks a field or is wrong; names the
            line.
    """
    rows = []
    for where, row in json_lines(path):
        missing = [name for name in fields if name not in row]
        if missing:
            raise DataError(f"{where}: no field {missing[0]!r}; a line has {', '.join(fields)}")
        if (fault := check(row)) is not None:
            raise DataError(f"{where}: {fault}")
        rows.append(dict(row))
    if not rows:
        raise DataError(f"{path}: empty; allowed: one object with {', '.join(fields)} per line")
    return rows


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
