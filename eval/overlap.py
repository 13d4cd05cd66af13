"""How much of a test file stood in the training data already?

Questions may be new and their answers not: two illnesses share a sentence on how they are inherited.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assistant.errors import EvaluationError
from assistant.training.data import read_items
from eval.results import Result
from eval.tasks.registry import TASKS


def likeness(result: Result, sources: Sequence[str]) -> list[float]:
    """For each example the largest Jaccard index, 0 to 1, of the words of an expected answer and of a training answer of
    its kind; 1 where the very question was trained on, but for case and blanks.

    Args:
        sources: training data as `--data` of the training command takes it.

    Raises:
        EvaluationError: the task has no records that are trained on, or the data none of a kind that was measured.
        DataError: the data is wrong; names file and line.
    """
    if result["task"] not in TASKS:
        raise EvaluationError(f"--trained-on: {result['task']} is not trained; allowed: results of {', '.join(TASKS)}")
    records = defaultdict(list)
    for item in read_items(sources, TASKS[result["task"]].trained):
        records[item.kind].append(item.record)
    trained = {
        kind.name: Trained(
            frozenset(plain(form(record)) for form in (*kind.forms, *kind.instructions) for record in of_kind),
            frozenset(words(answer) for answer in kind.answers(of_kind)),
        )
        for kind, of_kind in records.items()
    }
    return [_likeness(example, trained) for example in result["examples"]]


@dataclass(frozen=True)
class Trained:
    """What was trained on of one kind: all ways a question may have been put, and the words of each answer."""

    questions: frozenset[str]
    answers: frozenset[frozenset[str]]


def _likeness(example: Mapping[str, object], trained: Mapping[str, Trained]) -> float:
    kind, expected = str(example["kind"]), example["expected"]
    if kind not in trained:
        raise EvaluationError(f"--trained-on has no {kind} records; it has {', '.join(trained)}")
    if plain(str(example["input"])) in trained[kind].questions:
        return 1.0
    wanted = [expected] if isinstance(expected, str) else expected
    assert isinstance(wanted, list)
    return max(jaccard(words(text), other) for text in wanted for other in trained[kind].answers)


def plain(text: str) -> str:
    """In lower case, with single blanks."""
    return " ".join(text.lower().split())


def words(text: str) -> frozenset[str]:
    """Those of a text in lower case, each once."""
    return frozenset(re.findall(r"\w+", text.lower()))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """What two sets share, of all they hold; of two empty ones 1."""
    return len(one & other) / len(one | other) if one or other else 1.0
