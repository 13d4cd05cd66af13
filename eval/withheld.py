"""How much of ordinary documents does the guard take for orders? Of texts that give none, every sentence withheld is one
too many.

`python -m eval.withheld --data FIELD=PATH … [--limit N] --out PATH.json`: JSON lines and the field that holds the text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from assistant.errors import EvaluationError
from assistant.retrieval.embedder import Embedder
from assistant.retrieval.guard import Guard, units
from assistant.settings import load_settings
from assistant.training.data import sample
from eval.command import Result, add_common, read_rows, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.withheld", description="Count what the guard withholds.")
    parser.add_argument("--data", nargs="+", required=True, metavar="FIELD=PATH", help="files of ordinary texts")
    add_common(parser, asks=False)
    return run_command("eval.withheld", parser, arguments, measure, show)


async def measure(options: argparse.Namespace) -> Result:
    """For each file the counts over its distinct texts, or `--limit` of them.

    Raises:
        EvaluationError: a file has no texts.
        DataError: a file is wrong, or a row has not that field.
    """
    embedder = load_settings().embedder
    guard = Guard(Embedder(embedder).embed)
    files = {}
    for source in options.data:
        field, _, path = source.partition("=")
        texts = sorted({str(row[field]) for row in read_rows(Path(path), [field])})
        files[source] = count(guard, sample(texts, options.limit, options.seed))
    return {"embedder": embedder, "files": files}


def count(guard: Guard, texts: Sequence[str]) -> dict[str, float]:
    """How many texts and sentences there are, and how many of them have something, or are in part, withheld.

    Raises:
        EvaluationError: there are no texts.
    """
    if not texts:
        raise EvaluationError("no texts to count in")
    sentences = withheld = touched = 0
    for text, spans in zip(texts, guard.find(texts), strict=True):
        cut = list(units(text))
        sentences += len(cut)
        withheld += sum(any(s < end and start < e for s, e in spans) for start, end in cut)
        touched += bool(spans)
        for start, end in spans:
            print(f"  withheld: {text[start:end]!r}")
    return {"texts": len(texts), "touched": touched, "sentences": sentences, "withheld": withheld}


def show(result: Result) -> None:
    for source, counts in result["files"].items():
        share = counts["withheld"] / max(1, counts["sentences"])
        print(f"{source}: {counts['withheld']} of {counts['sentences']} sentences ({share:.2%})")


if __name__ == "__main__":
    sys.exit(main())
