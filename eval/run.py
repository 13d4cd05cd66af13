"""Measure a task through the service users get, and write figures and answers to one JSON file.

`python -m eval.run --task TASK [--data PATH|hub:ID[:CONFIG][@SPLIT]] [--adapter NAME|base]
[--mode prompt|few-shot|tuned|rag] [--prompt [KIND=]NAME …] [--limit N] --out PATH.json`
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from assistant.catalog import CARD_FILE, Adapter, Catalog, read_card
from assistant.errors import EvaluationError, SwapboardError
from assistant.messages import BASE, MOST_PASSAGES, Retrieval
from assistant.settings import Settings, load_settings
from assistant.training.data import HUB, sample
from assistant.training.provenance import ROOT, commit, today
from eval.ask import check_revision
from eval.command import CONCURRENCY, check_concurrency, check_out, write
from eval.comparing.page import page
from eval.comparing.sections import NAMES
from eval.corpus import contexts, load_corpus, searching
from eval.digest import digest_of
from eval.measure import Asked, choose_prompts, measure_task
from eval.metrics.classification import print_confusion
from eval.session import measured_service
from eval.tasks import injection, perplexity, reward
from eval.tasks.interface import DATA, Mode, Outcome
from eval.tasks.registry import TASKS

ROUTING = "routing"
RETRIEVAL = "retrieval"
COMPARE = "compare"
MODES = get_args(Mode)
ONE_BY_ONE = (ROUTING, RETRIEVAL, reward.NAME)
"""Tasks that --concurrency has no say in."""
FILES = {
    injection.NAME: "a JSON lines file",
    reward.NAME: "a JSON lines file",
    ROUTING: "a JSON lines file",
    RETRIEVAL: "a JSON lines file or a folder",
    COMPARE: "a folder",
}
"""What --data is for tasks that read no records of the hub."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        result = run(parse(given), command="python -m eval.run " + shlex.join(given))
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if result["task"] == COMPARE:
        print(page(result))
        return 0
    for name, measure in (result["metrics"] | result["cost"]).items():
        print(f"{name:24} {measure['value']:.4f}  ({measure['low']:.4f} to {measure['high']:.4f})")
    for table in result["confusion"].values():
        print_confusion(table)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m eval.run", description="Measure a task.")
    others = (perplexity.NAME, injection.NAME, reward.NAME, ROUTING, RETRIEVAL, COMPARE)
    parser.add_argument("--task", required=True, choices=[*TASKS, *others])
    parser.add_argument(
        "--data",
        help="JSON lines file or hub:ID[:CONFIG][@SPLIT] of records; a file for injection, reward and routing, a file or "
        "folder for retrieval, a folder for compare; our own small set unless given",
    )
    parser.add_argument("--tasks", nargs="+", choices=NAMES, help="what is compared; all of it unless given")
    parser.add_argument("--adapter", default=BASE, help="name in the catalogue, or base")
    parser.add_argument("--mode", choices=MODES, help="tuned for an adapter, prompt for the base, unless given")
    parser.add_argument(
        "--prompt", nargs="+", default=[], metavar="[KIND=]NAME", help="another of the prompts, by name"
    )
    parser.add_argument(
        "--top-k", type=int, help=f"passages for each question in mode rag; {Retrieval().top_k} unless given"
    )
    parser.add_argument("--constraint", choices=("span",), help="only answers that stand in the message, word for word")
    parser.add_argument("--limit", type=int, help="this many examples, drawn at random with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrency", type=int, help=f"requests asked at the same time; {CONCURRENCY} unless given")
    parser.add_argument("--out", required=True, type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    if options.concurrency is None and options.task not in ONE_BY_ONE:
        options.concurrency = CONCURRENCY
    return options


def run(options: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure, write the file, and return what it holds.

    Raises:
        EvaluationError: the options do not go together, the file cannot be written, nothing was measured, or a request
            failed.
        DataError: the data is wrong; names file and line.
    """
    settings = load_settings()
    check(options, settings)
    check_out(options.out)
    # Before the measurement: it is this code that runs, whatever is committed meanwhile.
    head = {"task": options.task, "command": command, "date": today(), "commit": commit()}
    result = head | asyncio.run(_measure(settings, options, head["commit"]))
    if options.task == COMPARE:
        # Kept answers may be of earlier ones: its `commits` tell them all.
        del result["commit"]
    write(options.out, result)
    return result


def check(options: argparse.Namespace, settings: Settings) -> None:
    """Raises EvaluationError where options do not go together, or are more than the settings allow."""
    if options.limit is not None and options.limit < 1:
        raise EvaluationError(f"--limit {options.limit}: allowed are numbers from 1")
    if options.top_k is not None and options.mode != "rag":
        raise EvaluationError("--top-k is for --mode rag only")
    if options.top_k is not None and not 1 <= options.top_k <= MOST_PASSAGES:
        raise EvaluationError(f"--top-k {options.top_k}: allowed are 1 to {MOST_PASSAGES}")
    if options.task not in ONE_BY_ONE:
        check_concurrency(options.concurrency, settings)
    elif options.concurrency is not None:
        raise EvaluationError(f"{options.task} has no requests at the same time; leave out --concurrency")
    if options.task in (ROUTING, RETRIEVAL) and options.adapter != BASE:
        raise EvaluationError(f"{options.task} asks no adapter; leave out --adapter")
    if options.task == COMPARE and (options.adapter != BASE or options.mode or options.prompt):
        raise EvaluationError("compare asks in every mode by itself; leave out --adapter, --mode and --prompt")
    if options.task != COMPARE and options.tasks:
        raise EvaluationError("--tasks is for --task compare only")
    if options.task not in TASKS and (options.mode or options.prompt or options.constraint):
        raise EvaluationError(f"{options.task} asks nothing; leave out --mode, --prompt and --constraint")
    if options.task in FILES and (options.data or "").startswith(HUB):
        raise EvaluationError(f"--data {options.data}: {options.task} reads no hub; allowed: {FILES[options.task]}")


async def _measure(settings: Settings, options: argparse.Namespace, code: str | None) -> dict[str, Any]:
    """Whatever can be wrong is looked at before the base is loaded, which takes seconds."""
    started = time.monotonic()
    about: dict[str, Any]
    if options.task == RETRIEVAL:
        # Imported here as routing is; no base is needed.
        from eval.tasks import retrieval

        sought = retrieval.read(options.data)
        about = {"embedder": settings.embedder, "reranker": settings.reranker, "data_digest": sought.digest}
        return _result(about, retrieval.run(settings, sought, options.limit, options.seed), options, started)
    if options.task == COMPARE:
        # Imported here as retrieval is.
        from eval.comparing.run import run as compare

        about = await compare(
            settings,
            options.data,
            options.tasks or NAMES,
            options.limit,
            options.seed,
            options.concurrency,
            options.out,
            code,
        )
        return {
            "data": options.data or str(DATA.relative_to(ROOT)),
            "seconds": round(time.monotonic() - started, 1),
            **about,
        }
    catalog = Catalog(settings.adapters_dir)
    adapter = None if options.adapter == BASE else catalog.get(options.adapter)
    # The file names one revision; where the adapter is replaced meanwhile, nothing is written.
    revisions = {adapter.name: adapter.digest} if adapter else {}
    asked_of = {"adapter": options.adapter, "adapter_digest": adapter.digest if adapter else None}
    if options.task == ROUTING:
        # Imported here: it brings the embedder, which no other task needs.
        from eval.tasks import routing

        utterances = routing.read_utterances(Path(options.data or routing.OWN), "test")
        about = {"data_digest": digest_of(utterances)}
        async with measured_service(settings) as service:
            outcome = await routing.run(service, utterances, options.limit, options.seed)
    elif options.task == perplexity.NAME:
        everything = perplexity.read_texts(options.data)
        about = {**asked_of, "data_digest": digest_of(item.record for item in everything)}
        texts = sample(everything, options.limit, options.seed)
        async with measured_service(settings) as service:
            outcome = await perplexity.run(service, texts, options.adapter, options.concurrency, revisions)
    elif options.task == injection.NAME:
        all_attempts = injection.read_attempts(Path(options.data or injection.OWN))
        about = {**asked_of, "data_digest": digest_of(all_attempts)}
        attempts = sample(all_attempts, options.limit, options.seed)
        async with measured_service(settings) as service:
            outcome = await injection.run(service, attempts, options.adapter, options.concurrency, revisions)
    elif options.task == reward.NAME:
        all_pairs = reward.read_pairs(options.data)
        about = {**asked_of, "data_digest": digest_of((p.prompt, p.chosen, p.rejected) for p in all_pairs)}
        pairs = sample(all_pairs, options.limit, options.seed)
        async with measured_service(settings) as service:
            outcome = await reward.run(service, pairs, options.adapter, options.seed)
        # A score does not tell who gave it.
        check_revision(options.adapter, catalog.get(options.adapter).digest, revisions)
    else:
        task = TASKS[options.task]
        asked = replace(
            who(settings, options.mode, adapter),
            top_k=options.top_k or Retrieval().top_k,
            constraint=options.constraint,
        )
        everything = task.load(options.data)
        if asked.mode == "rag":
            everything = searching(task, everything)
        # Drawn at random: the head of a file is often of one kind.
        items = sample(everything, options.limit, options.seed)
        prompts = choose_prompts(task, items, asked, options.prompt)
        # All contexts of the file, whatever was drawn: a search among few would be easier than it is.
        corpus = contexts(everything) if asked.mode == "rag" else None
        about = {**asked_of, "mode": asked.mode, "data_digest": digest_of(item.record for item in everything)}
        async with measured_service(settings) as service:
            if corpus is not None:
                await load_corpus(service.library, corpus)
            outcome = await measure_task(service, task, items, asked, prompts, options.concurrency)
    about |= {"base": service.backend.base_name, "base_digest": service.backend.base_digest}
    return _result(about, outcome, options, started)


def _result(about: dict[str, Any], outcome: Outcome, options: argparse.Namespace, started: float) -> dict[str, Any]:
    at_once = {} if options.concurrency is None else {"concurrency": options.concurrency}
    return {
        **about,
        "data": options.data or str(own_data(options.task).relative_to(ROOT)),
        "count": len(outcome.examples),
        "seconds": round(time.monotonic() - started, 1),
        "config": {"limit": options.limit, "seed": options.seed, **at_once, **outcome.config},
        "metrics": {name: asdict(measure) for name, measure in outcome.metrics.items()},
        "cost": {name: asdict(measure) for name, measure in outcome.cost.items()},
        "confusion": outcome.confusion,
        "examples": outcome.examples,
    }


def own_data(task: str) -> Path:
    """The project's own small set for a task."""
    return injection.OWN if task == injection.NAME else DATA / f"{task}.jsonl"


def who(settings: Settings, mode: str | None, adapter: Adapter | None) -> Asked:
    """Who is asked, in the mode given or the usual one.

    Raises:
        EvaluationError: the base is to be asked as a tuned one, and its folder has no card.
    """
    if adapter is not None:
        return Asked(adapter.name, mode or "tuned", adapter.card, adapter.digest)  # type: ignore[arg-type]
    if mode != "tuned":
        return Asked(BASE, mode or "prompt")  # type: ignore[arg-type]
    folder = Path(settings.base)
    if not (folder / CARD_FILE).is_file():
        raise EvaluationError(
            f"--mode tuned asks an adapter, or a base that was trained whole and has a {CARD_FILE} in its folder; "
            f"{settings.base!r} has none; allowed: prompt, few-shot"
        )
    return Asked(BASE, "tuned", read_card(folder))


if __name__ == "__main__":
    sys.exit(main())
