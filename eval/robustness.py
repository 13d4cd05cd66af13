"""How much of a score is left when the input is noisy?

`python -m eval.robustness --task T --adapter NAME|base [--data …] [--kinds typos slang …] [--rates 0 0.1 0.2 …]
[--limit N] --out PATH.json`

Only what the user says is noised: the question, the review, the document; never a label. Of a question about a
passage the question is noised and the passage is not, so that its answer can still be copied from it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from assistant.catalog import Catalog
from assistant.errors import EvaluationError
from assistant.messages import BASE
from assistant.settings import load_settings
from assistant.training.data import Item, sample
from assistant.training.options import finite
from eval.command import Result, add_common, described, run_command
from eval.corpus import contexts, load_corpus, searching
from eval.digest import digest_of
from eval.measure import choose_prompts, measure_task
from eval.metrics.bootstrap import means
from eval.metrics.paired import Difference, paired_bootstrap
from eval.noise import KINDS, noise, share_changed
from eval.run import MODES, who
from eval.scores import example_scores
from eval.session import measured_service
from eval.tasks.interface import Outcome
from eval.tasks.registry import TASKS

FIELDS = ("question", "text", "document")
"""What the user says, by the field of the record that holds it; the first one that a record has is noised."""
RATES = (0.0, 0.05, 0.1, 0.2, 0.4)


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command("eval.robustness", _parser(), arguments, measure, show)


async def measure(options: argparse.Namespace) -> Result:
    """The clean score, and for each kind of noise a curve of scores over the rates.

    A point of a curve has its `rate`, the share of words `changed` on average, `metrics`, and `drop`: clean minus
    noisy, over the same examples.

    Raises:
        EvaluationError: the options do not go together, or a record has no text to noise or no context to search for.
        DataError: the data is wrong; names file and line.
    """
    rates = sorted({0.0, *options.rates})
    if not 0 <= rates[0] <= rates[-1] <= 1:
        raise EvaluationError(f"--rates {options.rates}: allowed are numbers from 0 to 1")
    task, settings = TASKS[options.task], load_settings()
    adapter = None if options.adapter == BASE else Catalog(settings.adapters_dir).get(options.adapter)
    asked = who(settings, options.mode, adapter)
    everything = task.load(options.data)
    if asked.mode == "rag":
        everything = searching(task, everything)
    items = sample(everything, options.limit, options.seed)
    prompts = choose_prompts(task, items, asked, options.prompt)
    # As eval.run: all contexts of the file, without noise.
    corpus = contexts(everything) if asked.mode == "rag" else None
    noisy_items = {
        kind: {rate: [noised(item, kind, rate, options.seed) for item in items] for rate in rates[1:]}
        for kind in options.kinds
    }
    async with measured_service(settings) as service:
        about = described(service, options.adapter)
        if corpus is not None:
            await load_corpus(service.library, corpus)
        clean = await measure_task(service, task, items, asked, prompts, options.concurrency)
        curves: dict[str, list[dict[str, Any]]] = {}
        for kind, by_rate in noisy_items.items():
            curves[kind] = [point(0.0, items, items, clean, clean)]
            for rate, others in by_rate.items():
                noisy = await measure_task(service, task, others, asked, prompts, options.concurrency)
                curves[kind].append(point(rate, items, others, clean, noisy))
    return {
        "task": options.task,
        **about,
        "mode": asked.mode,
        "data": options.data or "own",
        "data_digest": digest_of(item.record for item in everything),
        "count": len(items),
        "config": {"limit": options.limit, "seed": options.seed, "concurrency": options.concurrency, **clean.config},
        "metrics": clean.metrics,
        "curves": curves,
        "examples": clean.examples,
    }


def noised(item: Item, kind: str, rate: float, seed: int) -> Item:
    """The same with noise in what the user says. Raises EvaluationError where the record has no such field."""
    field = _field(item)
    return replace(item, record={**item.record, field: noise(kind, item.record[field], rate, seed)})


def point(rate: float, items: Sequence[Item], others: Sequence[Item], clean: Outcome, noisy: Outcome) -> dict[str, Any]:
    """One point of a curve."""
    before, after = (example_scores(run.examples, list(clean.metrics)) for run in (clean, noisy))
    texts = [(old.record[_field(old)], new.record[_field(old)]) for old, new in zip(items, others, strict=True)]
    return {
        "rate": rate,
        "changed": fmean(share_changed(old, new) for old, new in texts),
        "metrics": noisy.metrics,
        "drop": {name: _drop(before[name], after[name]) for name in before},
        "examples": [] if rate == 0 else noisy.examples,
    }


def show(result: Result) -> None:
    metric = next(iter(result["metrics"]))
    print(f"{result['task']} · {result['adapter']} · {metric} of {result['count']} examples")
    for kind, points in result["curves"].items():
        for at in points:
            value, drop = at["metrics"][metric], at["drop"].get(metric)
            fell = f"  drop {drop.value:+.4f} ({drop.low:+.4f} to {drop.high:+.4f})" if drop else ""
            print(f"{kind:13} {at['rate']:.2f}  {value.value:.4f} ({value.low:.4f} to {value.high:.4f}){fell}")


def _drop(clean: dict[object, float], noisy: dict[object, float]) -> Difference:
    first, second = [noisy[key] for key in clean], list(clean.values())
    return paired_bootstrap(means(first), means(second), len(first))[0]


def _field(item: Item) -> str:
    for field in FIELDS:
        if isinstance(item.record.get(field), str):
            return field
    raise EvaluationError(
        f"{item.where}: nothing is noised in {item.kind.name} records; allowed: records with one of {', '.join(FIELDS)}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.robustness", description="Measure a task under noise.")
    parser.add_argument("--task", required=True, choices=list(TASKS))
    parser.add_argument(
        "--data", help="JSON lines file or hub:ID[:CONFIG][@SPLIT]; the project's own small set unless given"
    )
    parser.add_argument("--mode", choices=MODES, help=f"tuned for an adapter, prompt for {BASE}, unless given")
    parser.add_argument(
        "--prompt", nargs="+", default=[], metavar="[KIND=]NAME", help="another of the prompts, by name"
    )
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="kinds of noise")
    parser.add_argument("--rates", nargs="+", type=finite, default=list(RATES), help="shares of the words to change")
    add_common(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
