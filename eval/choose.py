"""Which prompt suits the base best? Each of a task's prompts is asked of the same training records.

`python -m eval.choose --task TASK --data TRAIN.jsonl [--limit N] --out PATH.json`; the best is then given to
`eval.run` on the test file with `--mode` and `--prompt`, so that no prompt is chosen on what it is measured by. Those of
mode rag are left out: a training file is no library to search.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assistant.messages import BASE
from assistant.training.data import Item, sample
from eval.command import CONCURRENCY, Result, run_command
from eval.measure import Asked, measure_task
from eval.session import measured_service
from eval.tasks.interface import Measured, Task
from eval.tasks.registry import TASKS

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.choose", description="Find the base's best prompt.")
    parser.add_argument("--task", required=True, choices=list(TASKS))
    parser.add_argument("--data", required=True, help="JSON lines file of training records, or hub:ID[:CONFIG][@SPLIT]")
    parser.add_argument("--limit", type=int, default=50, help="records each prompt is asked, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY)
    parser.add_argument("--out", required=True, type=Path, help="JSON file to write")
    parser.set_defaults(adapter=BASE)
    return run_command("eval.choose", parser, arguments, measure, show)


async def measure(options: argparse.Namespace) -> Result:
    """Raises DataError and EvaluationError as `ask_each` and the loader do."""
    task = TASKS[options.task]
    items = sample(task.load(options.data), options.limit, options.seed)
    return {"count": len(items), "prompts": await ask_each(task, items, options.concurrency)}


def show(result: Result) -> None:
    for row in result["prompts"]:
        figures = "  ".join(f"{name} {measure['value']:.3f}" for name, measure in row["metrics"].items())
        print(f"{row['kind']:14} {row['mode']:9} {row['prompt']:18} {figures}")


async def ask_each(task: Task, items: Sequence[Item], concurrency: int) -> list[dict[str, Any]]:
    """The figures of every prompt of the base but those of mode rag, kind by kind.

    Raises:
        EvaluationError: there are no records, or a request failed.
    """
    rows = []
    async with measured_service() as service:
        for measured, own in by_kind(task, items):
            for prompt in (prompt for prompt in measured.prompts if prompt.mode != "rag"):
                asked = Asked(BASE, prompt.mode)
                outcome = await measure_task(service, task, own, asked, {measured.kind: prompt}, concurrency)
                log.info("%s: %s answered", measured.kind.name, prompt.name)
                metrics = {name: asdict(measure) for name, measure in outcome.metrics.items()}
                rows.append(
                    {"kind": measured.kind.name, "mode": prompt.mode, "prompt": prompt.name, "metrics": metrics}
                )
    return rows


def by_kind(task: Task, items: Sequence[Item]) -> list[tuple[Measured, list[Item]]]:
    kinds = dict.fromkeys(item.kind for item in items)
    return [(task.of(kind), [item for item in items if item.kind == kind]) for kind in kinds]


if __name__ == "__main__":
    sys.exit(main())
