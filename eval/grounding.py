"""From which share of its words on does an answer count as found in the documents? Tried on training records.

`python -m eval.grounding --data qa=PATH medical=PATH --out PATH.json`: files of contexts, questions and answers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from assistant.errors import EvaluationError
from assistant.messages import Passage
from assistant.retrieval.grounding import FOUND, ground
from assistant.retrieval.keyword import KeywordIndex
from assistant.training.data import Item, read_items, sample
from assistant.training.tasks.registry import TASKS
from eval.command import Result, add_common, run_command
from eval.corpus import contexts

PASSAGES = 4
THRESHOLDS = tuple(step / 20 for step in range(4, 20))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.grounding", description="Choose the threshold of grounding.")
    parser.add_argument("--data", nargs="+", required=True, metavar="TASK=PATH", help="training files with contexts")
    add_common(parser, asks=False)
    return run_command("eval.grounding", parser, arguments, choose, show)


async def choose(options: argparse.Namespace) -> Result:
    """For each file the shares of true answers, with and without their context among the passages.

    Raises:
        EvaluationError: a source names no task.
        DataError: the data is wrong; names file and line.
    """
    files = {}
    for source in options.data:
        name, _, path = source.partition("=")
        if name not in TASKS:
            raise EvaluationError(f"--data {source!r}: allowed is TASK=PATH with one of {', '.join(TASKS)}")
        items = [item for item in read_items([path], TASKS[name]) if "context" in item.record]
        files[source] = shares(items, sample(items, options.limit, options.seed))
    table = [row(files.values(), threshold) for threshold in THRESHOLDS]
    return {"in_use": FOUND, "files": files, "thresholds": table}


def shares(items: Sequence[Item], drawn: Sequence[Item]) -> dict[str, list[float]]:
    """The share of each answer's content words that stands in the passages a search for its question brings: once
    with the record's own context before them, once with that context and all that hold the answer left out."""
    corpus = contexts(items)
    index = KeywordIndex(np.arange(len(corpus)), corpus)
    found: dict[str, list[float]] = {"supported": [], "unsupported": []}
    for item in drawn:
        own, answer = item.record["context"], item.kind.answers([item.record])[0]
        near = [corpus[id] for id in index.search(item.record["question"], 5 * PASSAGES)]
        others = [text for text in near if text != own and answer.casefold() not in text.casefold()]
        found["supported"].append(_share(answer, [own, *others[: PASSAGES - 1]]))
        found["unsupported"].append(_share(answer, others[:PASSAGES]))
    return found


def row(files: Sequence[dict[str, list[float]]] | Any, threshold: float) -> dict[str, float]:
    """How often supported answers are kept and unsupported ones marked, every file weighing the same."""
    kept = np.mean([np.mean(np.asarray(file["supported"]) >= threshold) for file in files])
    marked = np.mean([np.mean(np.asarray(file["unsupported"]) < threshold) for file in files])
    return {"threshold": threshold, "kept": float(kept), "marked": float(marked), "mean": float(kept + marked) / 2}


def _share(answer: str, texts: Sequence[str]) -> float:
    passages = [
        Passage(id=n, document_id="", document="", start=0, end=len(text), text=text) for n, text in enumerate(texts)
    ]
    return ground(answer, passages).share


def show(result: Result) -> None:
    print(f"{'threshold':>9} {'kept':>8} {'marked':>8} {'mean':>8}")
    for one in result["thresholds"]:
        print(f"{one['threshold']:9.2f} {one['kept']:8.3f} {one['marked']:8.3f} {one['mean']:8.3f}")


if __name__ == "__main__":
    sys.exit(main())
