"""Does a review's sentiment change with the people in it? The same text with another name or gender.

The probability of a label is that of its tokens after the chat prompt, as the service renders it for the adapter (for
the base: with the task's first prompt), divided by the sum over all labels; the likeliest label is the prediction.
`change` is P(right label) of the second text minus that of the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import DataError
from assistant.messages import BASE
from assistant.training.tasks.sentiment import LABELS
from assistant.training.tasks.task import label_outside, words_missing
from eval.bias.people import NAMES, fill, swap_gender
from eval.command import read_rows
from eval.likelihood import Measured, chat_ids, continuation_scores
from eval.measure import Asked
from eval.metrics.bootstrap import Measure, groups_of, means, measure, over_groups
from eval.tasks.sentiment import SENTIMENT

OWN = Path(__file__).parent / "data" / "swaps.jsonl"
FROM_FILE = "words and names of a file"


@dataclass(frozen=True)
class Swap:
    """Two texts that differ only in who is spoken of. `group` says in what, `template` what both are made of."""

    id: str
    template: str
    group: str
    first: str
    second: str
    label: str


def load(path: Path | None) -> list[Swap]:
    """The project's templates filled with names; or the texts of a sentiment file that name a gender, swapped.

    Raises:
        DataError: a line is wrong (names file and line), or no text of the file names a gender.
    """
    rows = read_rows(
        path or OWN, ("text", "label"), lambda row: words_missing(row, "text") or label_outside(row, LABELS)
    )
    if path is None:
        return [swap for number, row in enumerate(rows) for swap in _filled(row, number)]
    swaps = []
    for number, row in enumerate(rows):
        other = swap_gender(row["text"])
        if other != row["text"]:
            swaps.append(Swap(str(row.get("id", number)), str(number), FROM_FILE, row["text"], other, row["label"]))
    if not swaps:
        raise DataError(
            f"{path}: none of {len(rows)} texts names a gender; allowed: texts with he, she, names and the like"
        )
    return swaps


async def ask(service: Measured, adapter: str, swaps: Sequence[Swap], concurrency: int) -> list[dict[str, Any]]:
    """One example for each pair, with the probability of the right label in both texts."""
    asked = Asked(BASE, "prompt") if adapter == BASE else Asked(adapter, "tuned", service.catalog.get(adapter).card)
    prompt = SENTIMENT.measured[0].prompt(asked.mode, asked.default_prompt)
    labels = [tuple(service.prompter.encode(label)) for label in LABELS]
    texts = [text for swap in swaps for text in (swap.first, swap.second)]
    prompts = [chat_ids(service, adapter, prompt.messages({"text": text})) for text in texts]
    scores = await continuation_scores(
        service, adapter, [(before, label) for before in prompts for label in labels], concurrency
    )
    sums = [sum(score) for score in scores]
    chances = [chance(sums[n : n + len(LABELS)]) for n in range(0, len(sums), len(LABELS))]
    return [_example(swap, chances[2 * number], chances[2 * number + 1]) for number, swap in enumerate(swaps)]


def chance(logarithms: Sequence[float]) -> dict[str, float]:
    """Label → its probability among the labels, from ln P of each in the order of LABELS."""
    most = max(logarithms)
    weights = [math.exp(value - most) for value in logarithms]
    return {label: weight / sum(weights) for label, weight in zip(LABELS, weights, strict=True)}


def figures(examples: Sequence[Mapping[str, Any]]) -> dict[str, Measure]:
    """`flips`: share of pairs with two predictions; `change`, and its size `change_size`, on average.

    Intervals draw templates again, not pairs: pairs of one template differ in names only.
    """
    columns = {
        "flips": [float(example["flips"]) for example in examples],
        "change": [example["change"] for example in examples],
        "change_size": [abs(example["change"]) for example in examples],
        "accuracy": [example["accuracy"] for example in examples],
    }
    templates = groups_of(example["template"] for example in examples)
    measures = measure(over_groups(means(*columns.values()), templates), len(templates))
    return dict(zip(columns, measures, strict=True))


def _filled(row: Mapping[str, Any], number: int) -> list[Swap]:
    """One swap for each group of names; the names go round from template to template."""
    return [
        Swap(
            f"{row.get('id', number)}-{group}",
            str(number),
            group,
            fill(row["text"], firsts[number % len(firsts)], pronouns[0]),
            fill(row["text"], seconds[number % len(seconds)], pronouns[1]),
            row["label"],
        )
        for group, (firsts, seconds, pronouns) in NAMES.items()
    ]


def _example(swap: Swap, first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, Any]:
    predicted = [max(chances, key=lambda label: chances[label]) for chances in (first, second)]
    return {
        "id": swap.id,
        "template": swap.template,
        "group": swap.group,
        "text": swap.first,
        "swapped": swap.second,
        "expected": swap.label,
        "predicted": predicted[0],
        "predicted_swapped": predicted[1],
        "p": first[swap.label],
        "p_swapped": second[swap.label],
        "flips": predicted[0] != predicted[1],
        "change": second[swap.label] - first[swap.label],
        "accuracy": sum(label == swap.label for label in predicted) / 2,
    }
