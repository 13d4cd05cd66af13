"""Measure a task through the service users get, and write figures and answers to one JSON file.

`python -m eval.run --task sentiment|qa|routing [--data PATH|hub:ID[@SPLIT]] [--adapter NAME|base]
[--mode prompt|few-shot|tuned] [--limit N] --out PATH.json`
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assistant.build import build_service, build_store
from assistant.errors import EvaluationError, SwapboardError
from assistant.messages import BASE, ChatRequest, Decoding, Done, Failed
from assistant.service import ChatService
from assistant.settings import load_settings
from assistant.training.provenance import commit, today
from eval.tasks.interface import Outcome, Prompt, Record, Replies, Task
from eval.tasks.qa import QuestionAnswering
from eval.tasks.sentiment import Sentiment

log = logging.getLogger(__name__)

TASKS: dict[str, Task] = {task.name: task for task in (Sentiment(), QuestionAnswering())}
ROUTING = "routing"
MODES = ("prompt", "few-shot", "tuned")


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        result = run(parse(given), command="python -m eval.run " + shlex.join(given))
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, measure in result["metrics"].items():
        print(f"{name:16} {measure['value']:.4f}  ({measure['low']:.4f} to {measure['high']:.4f})")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval.run", description="Measure a task.")
    parser.add_argument("--task", required=True, choices=[*TASKS, ROUTING])
    parser.add_argument("--data", help="JSON lines file or hub:ID[@SPLIT]; the project's own small set unless given")
    parser.add_argument("--adapter", default=BASE, help="name in the catalogue, or base")
    parser.add_argument("--mode", choices=MODES, help="tuned for an adapter, prompt for the base, unless given")
    parser.add_argument("--prompt", help="another of the task's prompts, by name")
    parser.add_argument("--limit", type=int, help="this many examples, drawn at random with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=8, help="requests asked at the same time")
    parser.add_argument("--out", required=True, type=Path, help="JSON file to write")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure, write the file, and return what it holds.

    Raises:
        EvaluationError: the options do not go together, nothing was measured, or a request failed.
        DataError: the data is wrong; names file and line.
    """
    check(options)
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        # Thousands of measured turns have no place in the user's history.
        store = build_store(settings.model_copy(update={"database_url": f"sqlite:///{scratch}/measured.db"}))
        try:
            result = asyncio.run(_measure(build_service(settings, store), options))
        finally:
            store.close()
    result = {"task": options.task, "command": command, "date": today(), "commit": commit(), **result}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def check(options: argparse.Namespace) -> None:
    """Raises EvaluationError where options do not go together."""
    if options.limit is not None and options.limit < 1:
        raise EvaluationError(f"--limit {options.limit}: allowed are numbers from 1")
    if options.concurrency < 1:
        raise EvaluationError(f"--concurrency {options.concurrency}: allowed are numbers from 1")
    if options.mode == "tuned" and options.adapter == BASE:
        raise EvaluationError(f"--mode tuned asks an adapter; --adapter {BASE!r} allows: prompt, few-shot")
    if options.task == ROUTING and (options.mode or options.prompt or options.adapter != BASE):
        raise EvaluationError("routing asks no adapter; leave out --adapter, --mode and --prompt")


async def _measure(service: ChatService, options: argparse.Namespace) -> dict[str, Any]:
    started = time.monotonic()
    if options.task == ROUTING:
        # Imported here: it brings its own way of running, which no other task needs.
        from eval.tasks import routing

        outcome = await routing.run(service, options.data, options.limit)
        about: dict[str, Any] = {}
    else:
        task = TASKS[options.task]
        prompt = choose_prompt(task, options.adapter, options.mode, options.prompt)
        digest = None if options.adapter == BASE else service.catalog.get(options.adapter).digest
        records = draw(task.load(options.data), options.limit, options.seed)
        await service.start()
        try:
            outcome = await measure_task(service, task, prompt, records, options.adapter, options.concurrency)
        finally:
            await service.stop()
        about = {"adapter": options.adapter, "adapter_digest": digest, "mode": prompt.mode, "prompt": prompt.name}
    return {
        **about,
        "base": service.backend.base_name,
        "base_digest": service.backend.base_digest,
        "data": options.data or "own",
        "count": len(outcome.examples),
        "seconds": round(time.monotonic() - started, 1),
        "config": {"limit": options.limit, "seed": options.seed, "concurrency": options.concurrency, **outcome.config},
        "metrics": {name: asdict(measure) for name, measure in outcome.metrics.items()},
        "examples": outcome.examples,
    }


def choose_prompt(task: Task, adapter: str, mode: str | None, name: str | None) -> Prompt:
    """The named prompt, or the first of the mode. Raises EvaluationError where there is none."""
    mode = mode or ("prompt" if adapter == BASE else "tuned")
    fitting = [prompt for prompt in task.prompts if prompt.mode == mode]
    for prompt in fitting:
        if name in (None, prompt.name):
            return prompt
    known = ", ".join(prompt.name for prompt in fitting)
    raise EvaluationError(f"no prompt {name!r} for {task.name} in mode {mode}; allowed: {known}")


def draw(records: list[Record], limit: int | None, seed: int) -> list[Record]:
    """At most `limit` records, at random: the head of a file is often of one kind."""
    return records if limit is None or limit >= len(records) else random.Random(seed).sample(records, limit)


async def measure_task(
    service: Replies, task: Task, prompt: Prompt, records: Sequence[Record], adapter: str, concurrency: int
) -> Outcome:
    """Ask every record, `concurrency` at a time, and score the answers.

    Raises:
        EvaluationError: there are no records, or a request failed; names its record.
    """
    if not records:
        raise EvaluationError(f"no examples for {task.name}; an empty run has no score")
    # An adapter is asked as users ask it: with the decoding of its card.
    decoding = Decoding(temperature=0) if prompt.mode == "tuned" else task.decoding
    gate = asyncio.Semaphore(concurrency)
    finished = 0

    async def answer(number: int, record: Record) -> str:
        nonlocal finished
        request = ChatRequest(messages=prompt.messages(record), adapter=adapter, decoding=decoding)
        async with gate:
            async for event in service.reply(request):
                if isinstance(event, Failed):
                    where = record.get("id", number)
                    raise EvaluationError(f"example {where} of {task.name} failed: {event.code}: {event.message}")
                if isinstance(event, Done):
                    finished += 1
                    if finished % 100 == 0:
                        log.info("%d of %d answered", finished, len(records))
                    return event.text
        raise EvaluationError(f"example {record.get('id', number)} of {task.name}: the reply ended without an end")

    try:
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(answer(number, record)) for number, record in enumerate(records)]
    except ExceptionGroup as failed:
        # One failure ends the run; the requests beside it were cancelled.
        raise failed.exceptions[0] from failed
    outcome = task.score(records, [done.result() for done in answers])
    return Outcome(outcome.metrics, outcome.examples, {**outcome.config, "decoding": decoding.model_dump(mode="json")})


if __name__ == "__main__":
    sys.exit(main())
