"""Take the votes out, in the formats people train on.

python -m assistant.feedback.export --format preference --out prefs.jsonl --test-share 0.1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from assistant.catalog import Catalog
from assistant.errors import DataError, SwapboardError
from assistant.feedback.agreement import agreeing
from assistant.feedback.ballots import Case
from assistant.feedback.filters import Filters, with_zone
from assistant.feedback.formats import FILE_TYPES, FORMATS, Format, Row, write
from assistant.feedback.importing import file_type_of
from assistant.feedback.pairs import is_test
from assistant.feedback.rows import rows
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from assistant.settings import load_settings

Side = Literal["all", "train", "test"]


def export_rows(
    cases: Sequence[Case], format: Format, min_agreement: float = 0.0, side: Side = "all", test_share: float = 0.0
) -> list[Row]:
    """The rows of one format. `min_agreement` is the share of voters that must agree, see `agreeing`.

    `side` keeps the prompts of one side of the split, see `is_test`. Votes whose comparison has not told its names give
    no row: whoever took them out could vote again, knowing the names, and count as blind.
    """
    cases = [case for case in cases if not case.is_hidden]
    if side != "all":
        cases = [case for case in cases if is_test(case.prompt, test_share) == (side == "test")]
    return rows(agreeing(cases, min_agreement), format)


def adapters_of_task(catalog: Catalog, task: str) -> frozenset[str]:
    """The adapters whose card names the task.

    Raises:
        DataError: there is none; says which tasks there are.
    """
    tasks = {adapter.name: adapter.card.task for adapter in catalog.adapters()}
    names = frozenset(name for name, of in tasks.items() if of == task)
    if not names:
        known = ", ".join(sorted({one for one in tasks.values() if one})) or "none"
        raise DataError(f"no adapter is for the task {task!r}; tasks there are: {known}")
    return names


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        told = run(options)
    except SwapboardError as error:
        sys.exit(f"nothing was exported: {error}")
    print("\n".join(told))


def run(options: argparse.Namespace) -> list[str]:
    """Write the file, or with a test share the two; returns a line on each.

    Raises:
        DataError: no vote fits, or the file cannot be written.
        StoreUnavailable: the database does not answer.
    """
    settings = load_settings()
    adapters = frozenset(options.adapter) or None
    if options.task:
        of_task = adapters_of_task(Catalog(settings.adapters_dir), options.task)
        adapters = of_task if adapters is None else adapters & of_task
    filters = Filters(since=options.since, until=options.until, adapters=adapters)
    store = Store(options.database or settings.database)
    try:
        cases = VoteStore(store.database).votes(filters)
    finally:
        store.close()
    wanted: list[tuple[Path, Side]] = [(options.out, "all")]
    if options.test_share:
        sides: tuple[Side, ...] = ("train", "test")
        wanted = [(options.out.with_stem(f"{options.out.stem}-{side}"), side) for side in sides]
    found = [
        (path, export_rows(cases, options.format, options.min_agreement, side, options.test_share))
        for path, side in wanted
    ]
    if not any(rows_of_file for _, rows_of_file in found):
        raise DataError(f"no vote fits, so there are no {options.format} rows")
    return [write_file(path, options.format, rows_of_file) for path, rows_of_file in found]


def write_file(path: Path, format: Format, rows_of_file: Sequence[Row]) -> str:
    """Whole or not at all. Returns what was done, in words. Raises DataError where the file cannot be written."""
    staged, file_type = path.with_name(f".{path.name}.part"), file_type_of(path)
    try:
        with staged.open("wb") as target:
            write(rows_of_file, format, file_type, target)
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise DataError(f"{path} cannot be written: {error.strerror}") from error
    return f"{path}: {len(rows_of_file)} rows"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m assistant.feedback.export", description="Take the votes out.")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument(
        "--out", type=Path, required=True, help=f"the file; its ending is one of {', '.join(FILE_TYPES)}"
    )
    parser.add_argument("--since", type=_moment, help="votes from this day or moment on (ISO 8601; UTC where no zone)")
    parser.add_argument("--until", type=_moment, help="votes before this day or moment")
    parser.add_argument("--adapter", action="append", default=[], help="one of the answers is its; may be repeated")
    parser.add_argument("--task", help="one of the answers is by an adapter of this task")
    parser.add_argument("--min-agreement", type=_share, default=0.0, help="share of voters that must agree, 0 to 1")
    parser.add_argument("--test-share", type=_share, default=0.0, help="split by prompt into two files")
    parser.add_argument("--database", help="SQLAlchemy URL; otherwise that of the settings")
    return parser


def _moment(text: str) -> datetime:
    return with_zone(datetime.fromisoformat(text))


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text}; allowed: 0 to 1")
    return share


if __name__ == "__main__":
    main()
