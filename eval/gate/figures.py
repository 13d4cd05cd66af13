"""Figures of two adapters on the same examples, as the gate weighs them: above 0 is better, whatever the metric."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.catalog import Adapter, Gained
from assistant.errors import EvaluationError
from assistant.messages import BASE
from assistant.service import ChatService
from assistant.training.data import Item, sample
from assistant.training.tasks.registry import INSTRUCT
from eval.compare import Compared, compare
from eval.gate.spec import LOWER_IS_BETTER, Measured
from eval.measure import Asked, bare, choose_prompts, measure_task
from eval.metrics.bootstrap import means
from eval.metrics.paired import Difference, paired_bootstrap
from eval.tasks import chat, perplexity
from eval.tasks.interface import Mode
from eval.tasks.registry import TASKS

MAIN = ("accuracy", "f1", "rouge_l", "chrf", "perplexity")
"""Of a task's figures, the first of these is the one it is told by."""

TUNED = TASKS.keys() - {chat.NAME} | {INSTRUCT.name}
"""Tasks that adapters are trained for; whatever else was tuned, by preferences for instance, is for chat."""


def gained(figure: str, data: str, count: int, before: float, after: float, difference: Difference) -> Gained:
    """A difference turned so that above 0 is better."""
    low, high, gain = difference.low, difference.high, difference.value
    if bare(figure.replace(":", ".")) in LOWER_IS_BETTER:
        low, high, gain = -high, -low, -gain
    return Gained(
        figure=figure,
        data=data,
        count=count,
        against=before,
        candidate=after,
        gain=gain,
        low=low,
        high=high,
        p=difference.p,
    )


def gained_mean(figure: str, data: str, before: Sequence[float], after: Sequence[float]) -> Gained:
    """The means of values of the same examples, by paired bootstrap."""
    [difference] = paired_bootstrap(means(before), means(after), len(before))
    count = len(before)
    return gained(figure, data, count, sum(before) / count, sum(after) / count, difference)


async def on_task(
    service: ChatService,
    measured: Measured,
    names: tuple[str, str],
    mode: Mode | None,
    limit: int | None,
    seed: int,
    concurrency: int,
) -> list[Gained]:
    """What was asked for of one task, of the two `names`: the one held against, then the candidate.

    Raises:
        DataError: the data is wrong; names file and line.
        EvaluationError: the task has no such figure, or a request failed.
    """
    if measured.task == perplexity.NAME:
        items = sample(perplexity.read_texts(measured.data), limit, seed)
        outcomes = [await perplexity.run(service, items, name, concurrency) for name in names]
    else:
        task = TASKS[measured.task]
        items = sample(task.load(measured.data), limit, seed)
        mode = mode or _usual_mode(service.catalog.get(names[1]))
        outcomes = []
        for name in names:
            asked = _asked(service, name, mode)
            prompts = choose_prompts(task, items, asked, [])
            outcomes.append(await measure_task(service, task, items, asked, prompts, concurrency))
    data = measured.data or "own set"
    before, after = (
        {"task": measured.task, "data": data, "count": len(items), "examples": outcome.examples} for outcome in outcomes
    )
    rows = _chosen(compare(before, after), measured, items)
    return [
        gained(f"{measured.task}:{row.metric}", data, len(items), row.first, row.second, row.difference) for row in rows
    ]


def _chosen(rows: list[Compared], measured: Measured, items: Sequence[Item]) -> list[Compared]:
    """The figure that was named, or of each kind of records the one it is told by."""
    if measured.metric is not None:
        found = [row for row in rows if row.metric == measured.metric]
        if not found:
            known = ", ".join(row.metric for row in rows)
            raise EvaluationError(f"task {measured.task!r} has no figure {measured.metric!r}; allowed: {known}")
        return found
    by_name = {row.metric: row for row in rows}
    kinds = list(dict.fromkeys(item.kind.name for item in items))
    prefixes = [f"{kind}." for kind in kinds] if len(kinds) > 1 else [""]
    return [by_name[next(f"{prefix}{m}" for m in MAIN if f"{prefix}{m}" in by_name)] for prefix in prefixes]


def _usual_mode(candidate: Adapter) -> Mode:
    """One made for a task is asked as it was trained; one for chat is told in words what is wanted, as the base is."""
    return "tuned" if candidate.card.task in TUNED else "prompt"


def _asked(service: ChatService, name: str, mode: Mode) -> Asked:
    if name == BASE:
        return Asked(BASE, "prompt" if mode == "tuned" else mode)
    adapter = service.catalog.get(name)
    return Asked(name, mode, adapter.card, adapter.digest)
