"""Results of different commands → what the page shows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from assistant.errors import EvaluationError
from eval.compare import Compared, compare
from eval.results import FIELDS, check_same_examples
from eval.scores import example_scores, is_right

NEEDED = {
    "run": FIELDS,
    "robustness": {"task", "data", "metrics", "curves", "command"},
    "bias": {"set", "data", "groups", "metrics", "command"},
    "forgetting": {"states", "command"},
}
"""Kind of result → the fields it must have."""
SHOWN = 3
"""Examples of each sort that are shown of a run."""


@dataclass(frozen=True)
class Run:
    """One result, and what the page calls it. `name` is its file's, without the suffix."""

    name: str
    kind: str
    result: Mapping[str, Any]
    folder: str = ""
    label: str = ""

    @property
    def weights(self) -> str:
        """Whose answers these are, in short."""
        adapter = self.result.get("adapter")
        mode = self.result.get("mode")
        model = adapter or self.result.get("base") or self.result.get("embedder")
        return f"{adapter}, {mode}" if mode and mode != "tuned" else str(model)


@dataclass(frozen=True)
class Example:
    """One example of a run. `verdict` is "right", "wrong", "best" or "worst"."""

    verdict: str
    input: str
    expected: str
    answer: str
    score: float


@dataclass(frozen=True)
class TaskRuns:
    """Runs of one task on one set of data."""

    task: str
    data: str
    runs: tuple[Run, ...]
    metrics: tuple[str, ...]
    comparisons: tuple[tuple[Run, Run, list[Compared]], ...]
    not_compared: tuple[tuple[Run, Run, str], ...]

    @property
    def examples(self) -> list[tuple[Run, list[Example]]]:
        """A few of each run that has any to show."""
        return [(run, chosen) for run in self.runs if (chosen := chosen_examples(run.result))]

    @property
    def compared(self) -> tuple[str, ...]:
        """Every figure by which any two runs were compared; of the examples drawn for others a kind may be absent."""
        return tuple(dict.fromkeys(row.metric for _, _, rows in self.comparisons for row in rows))

    @property
    def costs(self) -> tuple[str, ...]:
        """What an answer took, where a run says so."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run.result.get("cost", {})))

    @property
    def matrices(self) -> list[tuple[Run, str, Mapping[str, Mapping[str, int]]]]:
        """(run, kind of record, expected → predicted → count)."""
        return [(run, kind, table) for run in self.runs for kind, table in run.result.get("confusion", {}).items()]


@dataclass(frozen=True)
class Curves:
    """Robustness of one task on one set of data, by one metric; runs share the kinds of noise."""

    task: str
    data: str
    metric: str
    kinds: tuple[str, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class BiasSet:
    """One set on one file of data; `groups` are its subtotals."""

    set: str
    data: str
    metrics: tuple[str, ...]
    groups: tuple[str, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Report:
    title: str
    date: str
    all_runs: tuple[Run, ...]
    tasks: tuple[TaskRuns, ...]
    curves: tuple[Curves, ...]
    bias: tuple[BiasSet, ...]
    forgetting: tuple[Run, ...]


def read(path: Path) -> Run:
    """A result of `eval.run`, `eval.robustness`, `eval.bias` or `eval.forgetting`.

    Raises:
        EvaluationError: the file cannot be read or is none of these.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: cannot be read: {error}") from error
    kind = str(result.get("kind", "run")) if isinstance(result, dict) else ""
    missing = (
        [f"no {name!r}" for name in sorted(NEEDED[kind] - result.keys())] if kind in NEEDED else [f"kind {kind!r}"]
    )
    if missing:
        allowed = ", ".join(f"eval.{kind}" for kind in NEEDED)
        raise EvaluationError(
            f"{path}: not a result that can be shown ({missing[0]}); allowed: what {allowed} wrote, but for --task compare"
        )
    return Run(path.stem, kind, result, str(path.parent))


def gather(runs: Sequence[Run], title: str, date: str) -> Report:
    """Runs of the same task and data come together; the others stand beside each other."""
    runs = labelled(runs)
    return Report(
        title=title,
        date=date,
        all_runs=tuple(runs),
        tasks=tuple(_task(group) for group in _grouped(runs, "run", "task", "data")),
        curves=tuple(_curves(group) for group in _grouped(runs, "robustness", "task", "data")),
        bias=tuple(_bias(group) for group in _grouped(runs, "bias", "set", "data")),
        forgetting=tuple(run for run in runs if run.kind == "forgetting"),
    )


def labelled(runs: Sequence[Run]) -> list[Run]:
    """Each run is called by its weights; by its file too where two on the same data would be called the same. A file is
    called by its name; by its folder too where two have the same."""
    names = [run.name for run in runs]
    runs = [run if names.count(run.name) == 1 else replace(run, name=f"{run.folder}/{run.name}") for run in runs]
    called: dict[tuple[object, ...], int] = {}
    for run in runs:
        called[_place(run)] = called.get(_place(run), 0) + 1
    return [
        replace(run, label=run.weights if called[_place(run)] == 1 else f"{run.weights} ({run.name})") for run in runs
    ]


def chosen_examples(result: Mapping[str, Any]) -> list[Example]:
    """A few right and wrong ones; the best and the worst where answers are graded."""
    examples = result["examples"]
    right = [is_right(example) for example in examples]
    if None not in right:
        found = [("right" if good else "wrong", float(bool(good)), e) for good, e in zip(right, examples, strict=True)]
    else:
        scores = example_scores(examples, list(result["metrics"]))
        if not scores:
            return []
        values = list(next(iter(scores.values())).values())
        if len(values) < len(examples):
            return []
        ranked = sorted(zip(values, range(len(examples)), strict=True))
        worst, best = ranked[:SHOWN], ranked[SHOWN:][-SHOWN:]
        found = [("best", value, examples[n]) for value, n in reversed(best)]
        found += [("worst", value, examples[n]) for value, n in worst]
    picked: list[Example] = []
    for wanted in ("right", "best", "wrong", "worst"):
        picked += [_example(verdict, score, e) for verdict, score, e in found if verdict == wanted][:SHOWN]
    return picked


def _example(verdict: str, score: float, example: Mapping[str, Any]) -> Example:
    text = next((example[name] for name in ("input", "text", "question") if name in example), "")
    answer = example.get("answer", example.get("predicted", ""))
    return Example(verdict, str(text), _listed(example.get("expected", "")), _listed(answer), score)


def _listed(value: object) -> str:
    return " / ".join(map(str, value)) if isinstance(value, list) else str(value)


def _place(run: Run) -> tuple[object, ...]:
    result = run.result
    return run.kind, result.get("task"), result.get("set"), str(result.get("data")), run.weights


def _grouped(runs: Sequence[Run], kind: str, *fields: str) -> list[list[Run]]:
    """Runs of a kind that agree in the fields come together."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run.kind == kind:
            groups.setdefault(tuple(str(run.result[field]) for field in fields), []).append(run)
    return list(groups.values())


def _metrics(runs: Sequence[Run]) -> tuple[str, ...]:
    """All metrics of the runs, in the order in which they come."""
    return tuple(dict.fromkeys(name for run in runs for name in run.result["metrics"]))


def _task(runs: Sequence[Run]) -> TaskRuns:
    compared, refused = [], []
    for first, second in combinations(runs, 2):
        try:
            check_same_examples(dict(first.result), dict(second.result))
            compared.append((first, second, compare(dict(first.result), dict(second.result))))
        except EvaluationError as error:
            refused.append((first, second, str(error)))
    task, data = (runs[0].result[field] for field in ("task", "data"))
    return TaskRuns(task, data, tuple(runs), _metrics(runs), tuple(compared), tuple(refused))


def _curves(runs: Sequence[Run]) -> Curves:
    kinds = tuple(dict.fromkeys(kind for run in runs for kind in run.result["curves"]))
    task, data = (runs[0].result[field] for field in ("task", "data"))
    return Curves(task, data, _metrics(runs)[0], kinds, tuple(runs))


def _bias(runs: Sequence[Run]) -> BiasSet:
    groups = tuple(dict.fromkeys(group for run in runs for group in run.result["groups"]))
    return BiasSet(runs[0].result["set"], runs[0].result["data"], _metrics(runs), groups, tuple(runs))
