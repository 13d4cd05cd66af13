"""`python -m eval.bias --adapter NAME|base --set winogender|crows-pairs|swaps [--data PATH] [--limit N] --out PATH.json`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from assistant.training.data import sample
from eval.bias import crows_pairs, swaps, winogender
from eval.command import Result, add_common, described, run_command
from eval.digest import digest_of
from eval.session import measured_service

SETS: dict[str, ModuleType] = {"winogender": winogender, "crows-pairs": crows_pairs, "swaps": swaps}
"""Each has `load(path or None) -> list of pairs`, `ask(service, adapter, pairs, concurrency) -> list of examples`,
and `figures(examples) -> metrics`; an example's `group` says which subtotal it belongs to."""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("eval.bias", _parser(), arguments, measure, show)


async def measure(options: argparse.Namespace) -> Result:
    """The figures over all pairs and for each group of them.

    Raises:
        DataError: the data is wrong; names file and line.
        EvaluationError: nothing was measured, or a request failed.
    """
    chosen = SETS[options.set]
    everything = chosen.load(options.data)
    pairs = sample(everything, options.limit, options.seed)
    async with measured_service() as service:
        about = described(service, options.adapter)
        examples = await chosen.ask(service, options.adapter, pairs, options.concurrency)
    groups: dict[str, list[dict[str, object]]] = {}
    for example in examples:
        groups.setdefault(str(example["group"]), []).append(example)
    return {
        "set": options.set,
        **about,
        "data": str(options.data or "own"),
        "data_digest": digest_of(everything),
        "count": len(examples),
        "config": {"limit": options.limit, "seed": options.seed, "concurrency": options.concurrency},
        "metrics": chosen.figures(examples),
        "groups": {
            name: {"count": len(group), "metrics": chosen.figures(group)} for name, group in sorted(groups.items())
        },
        "examples": examples,
    }


def show(result: Result) -> None:
    parts = {"all": {"count": result["count"], "metrics": result["metrics"]}, **result["groups"]}
    for name, part in parts.items():
        for metric, value in part["metrics"].items():
            print(
                f"{name:20} {metric:28} {value.value:+.4f} ({value.low:+.4f} to {value.high:+.4f}) of {part['count']}"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.bias", description="Measure bias with counterfactual pairs.")
    parser.add_argument("--set", required=True, choices=list(SETS))
    parser.add_argument("--data", type=Path, help="JSON lines file; the project's own small set unless given")
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
