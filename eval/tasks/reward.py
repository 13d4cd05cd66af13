"""Reward adapters: how often is the answer that people preferred scored higher, and how sure is the score of it?

`python -m eval.run --task reward --adapter NAME --data PATH[@train|@judge|@test] --out PATH.json`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.errors import EvaluationError
from assistant.messages import BASE, Message
from assistant.training.preference.data import Pair, pairs, read_rows
from eval.metrics.bootstrap import Groups, Measure, groups_of, measure, over_groups
from eval.metrics.calibration import BINS, calibration
from eval.tasks.interface import Outcome
from eval.tasks.scorers import Figures, averages

NAME = "reward"
AT_ONCE = 64
"""Texts handed to the service in one call."""


class Scores(Protocol):
    """The service, as far as rewards need it."""

    async def score(self, adapter: str, conversations: Sequence[Sequence[Message]]) -> list[float]: ...


def read_pairs(data: str | None) -> list[Pair]:
    """Pairs of a preference file, see `assistant.training.preference.data`.

    Raises:
        EvaluationError: no file is given.
        DataError: the file is wrong, or holds something other than pairs.
    """
    if data is None:
        raise EvaluationError("--task reward needs --data with pairs; the project has no set of its own")
    return pairs(read_rows([data]).rows)


async def run(service: Scores, asked: Sequence[Pair], adapter: str, seed: int) -> Outcome:
    """Score both answers of every pair.

    Raises:
        EvaluationError: the base is to score, or there is nothing to score.
        InvalidRequest, AdapterError: the adapter is no reward adapter, or cannot be served.
    """
    if adapter == BASE:
        raise EvaluationError("--task reward measures a reward adapter; give --adapter NAME")
    texts = [
        (*pair.prompt, Message(role="assistant", content=answer))
        for pair in asked
        for answer in (pair.chosen, pair.rejected)
    ]
    rewards: list[float] = []
    for start in range(0, len(texts), AT_ONCE):
        rewards += await service.score(adapter, texts[start : start + AT_ONCE])
    return judge(asked, rewards[::2], rewards[1::2], seed)


def judge(asked: Sequence[Pair], chosen: Sequence[float], rejected: Sequence[float], seed: int = 0) -> Outcome:
    """Figures of rewards for the chosen and the rejected answer of each pair.

    Beside the reward's accuracy stand those of taking the longer answer and of a coin; `above_length` is the reward's
    less that of length, on the same pairs. What is even counts half. `ece` is the calibration error of the confidence
    sigmoid(|margin|). Intervals draw prompts again, not pairs: pairs of one prompt are right or wrong together.
    """
    margins = np.subtract(chosen, rejected)
    longer = np.array([len(pair.chosen) - len(pair.rejected) for pair in asked], dtype=float)
    coin = np.random.default_rng(seed).integers(0, 2, len(asked)).astype(float)
    right, by_length = _right(margins), _right(longer)
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    examples: list[dict[str, Any]] = [
        {
            "id": pair.where,
            "prompt": pair.source,
            "accuracy": float(right[n]),
            "length_accuracy": float(by_length[n]),
            "random_accuracy": float(coin[n]),
            "margin": float(margins[n]),
            "above_length": float(right[n] - by_length[n]),
            "confidence": float(confidence[n]),
        }
        for n, pair in enumerate(asked)
    ]
    groups = prompts(examples)
    metrics: dict[str, Measure] = {}
    for names, statistics in figures(examples):
        metrics |= zip(names, measure(statistics, len(groups)), strict=True)
    return Outcome(metrics, examples, {"prompts": len(groups), "reliability": reliability(confidence, right)})


def figures(examples: Sequence[Mapping[str, Any]]) -> Figures:
    """All figures of judged pairs, to be drawn over `prompts`."""
    groups = prompts(examples)
    error = calibration([e["confidence"] for e in examples], [e["accuracy"] for e in examples])
    names = ("accuracy", "length_accuracy", "random_accuracy", "margin", "above_length")
    parts: Figures = [averages(examples, *names), (("ece",), error)]
    return [(names, over_groups(statistics, groups)) for names, statistics in parts]


def prompts(examples: Sequence[Mapping[str, Any]]) -> Groups:
    """The pairs of each prompt. Raises EvaluationError where an older result does not tell the prompts."""
    if not all("prompt" in example for example in examples):
        raise EvaluationError("the examples do not tell which pairs are of one prompt; measure again")
    return groups_of(example["prompt"] for example in examples)


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.float64], bins: int = BINS
) -> list[dict[str, float]]:
    """Of each tenth of confidence that occurs: how many pairs, how sure, how often right."""
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        {
            "from": n / bins,
            "to": (n + 1) / bins,
            "count": int(inside.sum()),
            "confidence": round(float(confidence[inside].mean()), 4),
            "accuracy": round(float(right[inside].mean()), 4),
        }
        for n in range(bins)
        if (inside := bin_of == n).any()
    ]


def _right(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(margins == 0, 0.5, (margins > 0).astype(float))
