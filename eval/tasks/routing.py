"""Routing: does Auto choose the right adapters, in the right order?

`python -m eval.run --task routing --out PATH.json` measures the test half of the set;
`python -m eval.tasks.routing --choose-threshold` shows how the threshold was chosen, on the other half.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.catalog import Adapter, Card, Catalog
from assistant.errors import DataError, EvaluationError, SwapboardError
from assistant.messages import BASE, Route
from assistant.retrieval.embedder import Embedder
from assistant.routing.nearest import Embed
from assistant.routing.router import THRESHOLD, Router
from assistant.settings import load_settings
from assistant.training.data import sample
from assistant.training.tasks.registry import TASKS as TRAINED
from eval.metrics.bootstrap import measure_mean
from eval.metrics.classification import print_confusion
from eval.tasks.interface import Outcome

DATA = Path(__file__).parent / "data"
OWN = DATA / "routing.jsonl"
CHAT = "chat"
"""What the set calls a message for the base."""
MIXED = "mixed"
WRONG_MIX = "mixed, other steps"
THRESHOLDS = tuple(n / 100 for n in range(20, 85, 5))

Split = Literal["dev", "test"]


class HasCatalog(Protocol):
    """The service, as far as routing needs it."""

    @property
    def catalog(self) -> Catalog: ...


@dataclass(frozen=True)
class Utterance:
    """A message and the tasks it asks for, in order."""

    text: str
    tasks: tuple[str, ...]
    split: str


async def run(service: HasCatalog, utterances: Sequence[Utterance], limit: int | None = None, seed: int = 0) -> Outcome:
    """Measure with the adapters of the service, and print where each card came from.

    Raises:
        EvaluationError: there is nothing to route.
    """
    settings = load_settings()
    adapters, sources = cards(service.catalog.adapters())
    outcome = measure(
        Embedder(settings.embedder).embed,
        adapters,
        utterances,
        threshold=settings.router_threshold,
        limit=limit,
        seed=seed,
    )
    print_cards(sources)
    return replace(outcome, config={**outcome.config, "cards": sources})


def measure(
    embed: Embed,
    adapters: Sequence[Adapter],
    utterances: Sequence[Utterance],
    threshold: float | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Outcome:
    """Route every utterance, or so many drawn at random. It is right when the list of tasks is exactly right.

    In the confusion table several steps count as "mixed".

    Raises:
        EvaluationError: there is nothing to route.
    """
    utterances = sample(utterances, limit, seed)
    task_of = {adapter.name: adapter.card.task for adapter in adapters} | {BASE: CHAT}
    router = Router(embed, lambda: adapters, threshold)
    examples: list[dict[str, Any]] = []
    confusion: dict[str, dict[str, int]] = {}
    for utterance in utterances:
        routes = router.route(utterance.text)
        found = tuple(task_of[route.adapter] for route in routes)
        examples.append(_example(utterance, routes, found))
        row = confusion.setdefault(_label(utterance.tasks, utterance.tasks), {})
        column = _label(found, utterance.tasks)
        row[column] = row.get(column, 0) + 1
    right = [float(example["right"]) for example in examples]
    metrics = {"accuracy": measure_mean(right)}
    for name, is_mixed in (("single_intent", False), ("mixed_intents", True)):
        part = [float(e["right"]) for e in examples if (len(e["expected"]) > 1) == is_mixed]
        if part:
            metrics[name] = measure_mean(part)
    return Outcome(metrics, examples, {"threshold": router.threshold}, confusion={"routing": confusion})


def cards(shipped: Sequence[Adapter]) -> tuple[list[Adapter], dict[str, str]]:
    """Adapters for every task of the set, and for each task where its examples come from.

    Real cards where an adapter is in the catalogue, else the examples its training would put on the card, so that
    the whole set can be measured.
    """
    adapters = [adapter for adapter in shipped if adapter.is_usable and adapter.card.examples]
    sources: dict[str, str] = {}
    for adapter in adapters:
        sources[adapter.card.task] = ", ".join(
            filter(None, [sources.get(adapter.card.task), f"adapters/{adapter.name}"])
        )
    for name, task in TRAINED.items():
        if name not in sources and task.card_examples:
            sources[name] = "training recipe"
            card = Card(task=name, examples=task.card_examples)
            adapters.append(Adapter(name=name, folder=DATA / name, digest=name, card=card))
    return adapters, sources


def read_utterances(path: Path, split: Split) -> list[Utterance]:
    """One half of the set.

    Raises:
        DataError: the file or a line is wrong; names file and line.
        EvaluationError: it holds nothing of that half.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error
    utterances = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            utterance = Utterance(row["text"], tuple(row["tasks"]), row["split"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: needs text, tasks and split: {error!r}") from error
        if utterance.split not in ("dev", "test") or not utterance.tasks or not isinstance(utterance.text, str):
            raise DataError(f"{path}:{number}: split is {utterance.split!r}; allowed: dev, test, with text and tasks")
        utterances.append(utterance)
    chosen = [utterance for utterance in utterances if utterance.split == split]
    if not chosen:
        raise EvaluationError(f"{path} holds no utterances of the {split} half")
    return chosen


def choose(embed: Embed, adapters: Sequence[Adapter], dev: Sequence[Utterance]) -> float:
    """The threshold with the most messages of a development half right; the highest of equals, as it is the most careful."""
    right = {t: measure(embed, adapters, dev, t).metrics["accuracy"].value for t in THRESHOLDS}
    for threshold, accuracy in right.items():
        print(f"threshold {threshold:.2f}  accuracy {accuracy:.4f}")
    return max(t for t in THRESHOLDS if right[t] == max(right.values()))


def remembered(embed: Embed) -> Embed:
    """The same embedder, every text embedded once: a search asks for the same ones again and again."""
    known: dict[str, NDArray[np.float32]] = {}

    def recall(texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, embed(new), strict=True) if new else ())
        return np.stack([known[text] for text in texts])

    return recall


def print_cards(sources: Mapping[str, str]) -> None:
    print("cards: " + "; ".join(f"{task} from {source}" for task, source in sorted(sources.items())))


def _label(found: tuple[str, ...], expected: tuple[str, ...]) -> str:
    if len(found) == 1:
        return found[0]
    return MIXED if found == expected or len(expected) == 1 else WRONG_MIX


def _example(utterance: Utterance, routes: Sequence[Route], found: tuple[str, ...]) -> dict[str, Any]:
    return {
        "text": utterance.text,
        "expected": list(utterance.tasks),
        "predicted": list(found),
        "right": found == utterance.tasks,
        "accuracy": float(found == utterance.tasks),
        "confidence": [route.confidence for route in routes],
        "reason": [route.reason for route in routes],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.tasks.routing", description="Look at the development half.")
    parser.add_argument("--choose-threshold", action="store_true", help="try thresholds")
    parser.add_argument("--data", type=Path, default=OWN)
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        embed = remembered(Embedder(settings.embedder).embed)
        adapters, sources = cards(Catalog(settings.adapters_dir).adapters())
        dev = read_utterances(options.data, "dev")
        print_cards(sources)
        if options.choose_threshold:
            print(f"chosen: {choose(embed, adapters, dev)}; in use: {THRESHOLD}")
            return 0
        outcome = measure(embed, adapters, dev, settings.router_threshold)
    except SwapboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print_confusion(outcome.confusion["routing"])
    for example in outcome.examples:
        if not example["right"]:
            print(f"{example['expected']} → {example['predicted']}: {example['text'][:100]!r}")
    print(f"development half: {outcome.metrics['accuracy'].value:.4f} of {len(outcome.examples)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
