"""Is one run better than another? `python -m eval.compare A.json B.json` for two results of eval.run on the same data.

With `--trained-on PATH…` apart for examples that stood in the training data, question or nearly the answer, and for the others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import EvaluationError, SwapboardError
from eval.measure import SEARCHED, bare, cost
from eval.metrics.bootstrap import Statistics, means
from eval.metrics.paired import Difference, mcnemar, paired_bootstrap
from eval.metrics.perplexity import METRICS
from eval.overlap import likeness
from eval.results import Result, check_same_examples, read_result
from eval.tasks import perplexity, reward
from eval.tasks.registry import TASKS
from eval.tasks.scorers import averages

Examples = Sequence[Mapping[str, Any]]
FigureSet = tuple[tuple[str, ...], Statistics, int, Examples]
"""Names of figures, what computes them, out of how many they are drawn, and the examples, values under bare names."""
RIGHT_OR_WRONG = ("accuracy", "em", "raw_accuracy", "exact", "reason")
"""Figures whose values for single examples are 1 or 0, or one half where two answers are even."""


ALIKE = 0.5


@dataclass(frozen=True)
class Compared:
    """One figure of both runs. `mcnemar` is the p of the exact test, where every answer is right or wrong."""

    metric: str
    first: float
    second: float
    difference: Difference
    mcnemar: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.compare", description="Compare two runs on the same data.")
    parser.add_argument("first", type=Path, help="what eval.run wrote")
    parser.add_argument("second", type=Path, help="what eval.run wrote for the same examples")
    parser.add_argument(
        "--trained-on", nargs="+", metavar="PATH", help="training data, as the training command takes it"
    )
    parser.add_argument(
        "--alike",
        type=float,
        help=f"share of words that an answer has in common with one trained on, to count as known; {ALIKE} unless given",
    )
    options = parser.parse_args(arguments)
    try:
        for head, rows in _tables(options):
            print(head, end="")
            _show(rows)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _tables(options: argparse.Namespace) -> list[tuple[str, list[Compared]]]:
    first, second = read_result(options.first), read_result(options.second)
    if options.trained_on is None:
        if options.alike is not None:
            raise EvaluationError("--alike is for --trained-on only")
        return [("", compare(first, second))]
    most = ALIKE if options.alike is None else options.alike
    if not 0 <= most <= 1:
        raise EvaluationError(f"--alike {most}: allowed are numbers from 0 to 1")
    check_same_examples(first, second)
    likest = likeness(first, options.trained_on)
    tables = []
    for told, known in (("at most", False), ("more than", True)):
        pair = [_part(result, [(like > most) == known for like in likest]) for result in (first, second)]
        head = f"{pair[0]['count']} of {first['count']} examples: {told} {most:.0%} known from training\n"
        tables.append((head, compare(*pair) if pair[0]["count"] else []))
    return tables


def _part(result: Result, chosen: Sequence[bool]) -> Result:
    examples = [example for example, is_in in zip(result["examples"], chosen, strict=True) if is_in]
    return {**result, "examples": examples, "count": len(examples)}


def _show(rows: Sequence[Compared]) -> None:
    print(f"{'metric':28}{'first':>10}{'second':>10}{'difference':>12}   95 % interval{'p':>13}{'McNemar p':>12}")
    for row in rows:
        d = row.difference
        interval = f"{d.low:+.4f} to {d.high:+.4f}"
        exact = "" if row.mcnemar is None else f"{row.mcnemar:.4f}"
        print(f"{row.metric:28}{row.first:10.4f}{row.second:10.4f}{d.value:+12.4f}   {interval}{d.p:9.4f}{exact:>12}")


def compare(first: Result, second: Result) -> list[Compared]:
    """Every figure of both, the second less the first, by paired bootstrap; what an answer took; and what the search did,
    where both searched.

    Raises:
        EvaluationError: they are not of the same task, data and examples, or have other figures.
    """
    check_same_examples(first, second)
    parts, others = list(figures(first)), list(figures(second))
    if all(name in example for result in (first, second) for example in result["examples"] for name in SEARCHED):
        parts.append(_search_figures(first))
        others.append(_search_figures(second))
    named = [{name for names, _, _, _ in each for name in names} for each in (parts, others)]
    if unshared := named[0] ^ named[1]:
        raise EvaluationError(f"only one of both has {', '.join(sorted(unshared))}; allowed: the same figures in both")
    rows = []
    for (names, before, count, own), (_, after, _, theirs) in zip(parts, others, strict=True):
        everything = np.arange(count)
        differences = paired_bootstrap(before, after, count)
        for name, one, other, difference in zip(names, before(everything), after(everything), differences, strict=True):
            exact = _exact(bare(name), own, theirs) if count == len(own) else None
            rows.append(Compared(name, one, other, difference, exact))
    return rows


def _exact(key: str, first: Examples, second: Examples) -> float | None:
    """p of McNemar's test; None where the answers are not all right or wrong."""
    if key not in RIGHT_OR_WRONG:
        return None
    pairs = [[example[key] for example in examples] for examples in (first, second)]
    return mcnemar(*pairs) if all(value in (0, 1) for values in pairs for value in values) else None


def _search_figures(result: Result) -> FigureSet:
    """What the search of mode rag did; a run of another mode on the same examples has none of it to compare."""
    examples: Examples = result["examples"]
    return *averages(examples, *SEARCHED), len(examples), examples


def figures(result: Result) -> Iterator[FigureSet]:
    """They are drawn out of the examples, or out of groups of them that go together."""
    examples: Examples = result["examples"]
    own: Examples
    if result["task"] == perplexity.NAME:
        yield METRICS, perplexity.figures(examples), len(examples), examples
    elif result["task"] in TASKS:
        kinds = list(dict.fromkeys(example["kind"] for example in examples))
        scorers = {measured.kind.name: measured.scorer for measured in TASKS[result["task"]].measured}
        for kind in kinds:
            own = [{bare(key): value for key, value in e.items()} for e in examples if e["kind"] == kind]
            for names, statistics in scorers[kind].figures(own):
                full = tuple(f"{kind}.{name}" if len(kinds) > 1 else name for name in names)
                yield full, statistics, len(own), own
        for names, statistics in cost(examples):
            yield names, statistics, len(examples), examples
    elif result["task"] == "retrieval":
        # Imported here: it brings the embedder, which no other task needs.
        from eval.tasks import retrieval

        for fields, own in retrieval.figures(examples):
            yield tuple(fields), means(*([e[name] for e in own] for name in fields.values())), len(own), own
    elif result["task"] == reward.NAME:
        for names, statistics in reward.figures(examples):
            yield names, statistics, len(reward.prompts(examples)), examples
    else:
        names = tuple(name for name in result["metrics"] if all(name in example for example in examples))
        if not names:
            raise EvaluationError(
                f"what --task {result['task']} wrote has no figure over all its examples; allowed: results of the other "
                "tasks (that of compare holds its differences itself)"
            )
        yield *averages(examples, *names), len(examples), examples


if __name__ == "__main__":
    sys.exit(main())
