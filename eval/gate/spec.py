"""What the gate is told to look at, read from words."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.errors import EvaluationError
from eval.tasks import perplexity
from eval.tasks.registry import TASKS

LOWER_IS_BETTER = ("ece", "perplexity", "bits_per_byte", "tokens", "seconds")

REWARD = "reward="


@dataclass(frozen=True)
class Measured:
    """A figure of a task, on the project's own set where `data` is None; without a `metric` the main one of each kind."""

    task: str
    metric: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class Rewarded:
    """Answers to prompts, judged by a reward adapter: a name of the catalogue or a folder."""

    adapter: str
    prompts: str


Aim = Measured | Rewarded


def read_aim(text: str) -> Aim:
    """`reward=ADAPTER:PROMPTS` or `TASK:METRIC[=DATA]`.

    Raises:
        EvaluationError: it is neither.
    """
    if text.startswith(REWARD):
        adapter, colon, prompts = text.removeprefix(REWARD).partition(":")
        if adapter and colon and prompts:
            return Rewarded(adapter, prompts)
    else:
        aim = read_measured(text)
        if aim.metric is not None:
            return aim
    raise EvaluationError(f"--aim {text!r}: allowed are reward=ADAPTER:PROMPTS and TASK:METRIC[=DATA]")


def read_measured(text: str) -> Measured:
    """`TASK[:METRIC][=DATA]`. Raises EvaluationError where there is no such task."""
    name, _, data = text.partition("=")
    task, _, metric = name.partition(":")
    if task not in TASKS and task != perplexity.NAME:
        known = ", ".join([*TASKS, perplexity.NAME])
        raise EvaluationError(f"{text!r}: no task {task!r}; allowed: TASK[:METRIC][=DATA] with one of {known}")
    return Measured(task, metric or None, data or None)
