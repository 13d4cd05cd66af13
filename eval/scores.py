"""From the examples of a result to one number for each example and metric, so that two runs can be paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Example = Mapping[str, Any]


def example_scores(examples: Sequence[Example], metrics: Sequence[str]) -> dict[str, dict[object, float]]:
    """Metric → example → value, for those of `metrics` that are means over examples.

    An example goes by its id, or by its place where ids are absent or repeated. A metric's values stand under its name
    in the examples; `accuracy` is also read from whether the example is right. Others, such as macro F1, have no value
    for a single example and are left out.
    """
    ids = [example.get("id") for example in examples]
    keys: list[object] = list(range(len(ids))) if None in ids or len(set(ids)) < len(ids) else list(ids)
    scores: dict[str, dict[object, float]] = {}
    for metric in metrics:
        values = {key: _value(example, metric) for key, example in zip(keys, examples, strict=True)}
        if found := {key: value for key, value in values.items() if value is not None}:
            scores[metric] = found
    return scores


def is_right(example: Example) -> bool | None:
    """Whether the example was answered rightly; None where that is no yes or no."""
    # The answer of an attempt to give orders is the defended one; 1 says that it obeyed.
    if "defended" in example:
        return bool(example["defended"] == 0)
    for name, value in example.items():
        # "policy.em" where a task has several kinds of records
        if name == "right" or name.rpartition(".")[2] in ("accuracy", "em"):
            return bool(value == 1)
    if isinstance(example.get("predicted"), str) and isinstance(example.get("expected"), str):
        return bool(example["predicted"] == example["expected"])
    return None


def _value(example: Example, metric: str) -> float | None:
    value = example.get(metric)
    if isinstance(value, int | float):
        return float(value)
    right = is_right(example) if metric == "accuracy" else None
    return None if right is None else float(right)
