"""One task, asked and scored: records → requests → answers → figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from assistant.catalog import Card
from assistant.errors import EvaluationError, NothingRelevant
from assistant.messages import BASE, ChatRequest, Decoding, Part, Retrieval
from assistant.prompt import apply_template
from assistant.training.data import Item
from assistant.training.tasks.registry import INSTRUCT
from assistant.training.tasks.task import Kind, Record
from eval.ask import Replies, ask_all
from eval.metrics.bootstrap import Chosen, Measure, measure
from eval.metrics.classification import Confusion, confusion
from eval.tasks.interface import Measured, Mode, Outcome, Prompt, Task
from eval.tasks.scorers import Figures, averages

Prompts = Mapping[Kind, Prompt]
SEARCHED = ("retrieved", "grounded")
"""Figures of mode rag, beside those of the task."""


@dataclass(frozen=True)
class Asked:
    """Who is asked, and how. `card` is the adapter's; or the base's own, where it was trained whole.

    `digest` is that of the adapter's revision: another one is not to answer. None for the base, or for any revision.
    `constraint` is that of every request, None for what the decoding has already.
    """

    adapter: str
    mode: Mode
    card: Card | None = None
    digest: str | None = None
    top_k: int = Retrieval().top_k
    constraint: Literal["span"] | None = None

    @property
    def revisions(self) -> dict[str, str]:
        """What is to answer, as `eval.ask.ask_all` takes it."""
        return {} if self.digest is None else {self.adapter: self.digest}

    @property
    def is_as_trained(self) -> bool:
        """Whether it is asked as it was trained, with the decoding of its card."""
        return self.mode == "tuned" or (self.mode == "rag" and self.card is not None)

    @property
    def default_prompt(self) -> str | None:
        """What it is asked with unless told otherwise: for many tasks at once, the whole instruction."""
        if not self.is_as_trained or self.card is None:
            return None
        if self.card.task == INSTRUCT.name:
            return None if self.mode == "rag" else "instruction"
        return "plain"

    def request(self, prompt: Prompt, item: Item, measured: Measured) -> ChatRequest:
        """As users ask: the service wraps an adapter's messages and decodes as its card says.

        A base that was trained whole is asked the same way here: the service knows of no card for the base.
        """
        messages, decoding = prompt.messages(item.record), measured.decoding
        if self.is_as_trained:
            decoding = Decoding(temperature=0)
            if self.adapter == BASE and self.card is not None:
                messages = tuple(apply_template(messages, self.card.template))
                decoding = Decoding.model_validate({**self.card.decoding, "temperature": 0})
        if self.constraint is not None:
            decoding = decoding.model_copy(update={"constraint": self.constraint})
        if measured.scorer.needs_scores:
            decoding = decoding.model_copy(update={"logprobs": 0})
        retrieval = None
        if self.mode == "rag":
            # How the answer is wanted is no part of what is looked for.
            retrieval = Retrieval(top_k=self.top_k, query=item.record["question"])
        return ChatRequest(messages=messages, adapter=self.adapter, decoding=decoding, retrieval=retrieval)


def choose_prompts(task: Task, items: Sequence[Item], asked: Asked, names: Sequence[str]) -> dict[Kind, Prompt]:
    """The prompt for each kind of record there is.

    Args:
        names: `NAME` for every kind, `KIND=NAME` for one; the default, else the first of the mode, for the rest.

    Raises:
        EvaluationError: a kind has no such prompt in this mode, no record is of a named kind, a name is one too many,
            or who is asked would not be shown all turns of a prompt.
    """
    kinds = list(dict.fromkeys(item.kind for item in items))
    for_one = dict(name.split("=", 1) for name in names if "=" in name)
    others = [name for name in names if "=" not in name]
    for_all = others[0] if others else asked.default_prompt
    if unknown := for_one.keys() - {kind.name for kind in kinds}:
        known = ", ".join(kind.name for kind in kinds)
        raise EvaluationError(f"--prompt {min(unknown)}=…: no such records here; allowed: {known}")
    needed = any(kind.name not in for_one for kind in kinds)
    if len(names) > len(for_one) + needed:
        raise EvaluationError(
            f"--prompt {' '.join(names)}: records of a kind are asked with one prompt; allowed: one NAME for every kind "
            "that has no KIND=NAME of its own"
        )
    chosen = {kind: task.of(kind).prompt(asked.mode, for_one.get(kind.name, for_all)) for kind in kinds}
    if asked.card is not None and asked.card.template is not None and asked.card.template.single_turn:
        for kind, prompt in chosen.items():
            _check_single_turn(prompt, task.of(kind), asked, next(item.record for item in items if item.kind is kind))
    return chosen


def _check_single_turn(prompt: Prompt, measured: Measured, asked: Asked, record: Record) -> None:
    """Worked examples that stand in earlier turns would be left out without a word, and no example measured."""

    def turns(prompt: Prompt) -> int:
        return sum(message.role != "system" for message in prompt.messages(record))

    if turns(prompt) > 1:
        fitting = [each.name for each in measured.all_prompts if each.mode == asked.mode and turns(each) == 1]
        raise EvaluationError(
            f"prompt {prompt.name!r} of mode {asked.mode} has {turns(prompt)} messages, and {asked.adapter!r} is shown the "
            f"last one only, as its card says single_turn; allowed for {measured.kind.name} in this mode: "
            f"{', '.join(fitting) or 'none'}"
        )


async def measure_task(
    service: Replies, task: Task, items: Sequence[Item], asked: Asked, prompts: Prompts, concurrency: int
) -> Outcome:
    """Ask every record, `concurrency` at a time, and score the answers.

    Raises:
        EvaluationError: there are no records, a request failed (names its record), or the adapter was replaced
            meanwhile (names it).
    """
    requests = [asked.request(prompts[item.kind], item, task.of(item.kind)) for item in items]
    names = [f"{item.record.get('id', number)} of {task.name}" for number, item in enumerate(items)]
    # Where the search finds nothing there is no answer, which is a wrong one.
    ends = await ask_all(service, requests, concurrency, names, (NothingRelevant.code,), asked.revisions)
    parts = [end.parts[0] for end in ends]
    config = {
        "prompts": {kind.name: prompt.name for kind, prompt in prompts.items()},
        "decoding": {
            item.kind.name: request.decoding.model_dump(mode="json", exclude_unset=asked.is_as_trained)
            for item, request in zip(items, requests, strict=True)
        },
    }
    outcome = replace(score(task, items, parts, [end.seconds for end in ends]), config=config)
    if asked.mode != "rag":
        return outcome
    return _with_search(outcome, items, parts, asked)


def _with_search(outcome: Outcome, items: Sequence[Item], parts: Sequence[Part], asked: Asked) -> Outcome:
    """And what the search did: `retrieved`, how often a passage of the record's own context was in the prompt, and
    `grounded`, the mean share of the answer's words that stand in the passages."""
    for example, item, part in zip(outcome.examples, items, parts, strict=True):
        own = " ".join(item.record["context"].split())
        example["retrieved"] = float(any(" ".join(passage.text.split()) in own for passage in part.passages))
        example["grounded"] = part.grounding.share if part.grounding else 0.0
        example["passages"] = [passage.document for passage in part.passages]
    found = measured_figures([averages(outcome.examples, *SEARCHED)], len(items))
    return replace(outcome, metrics=outcome.metrics | found, config={**outcome.config, "top_k": asked.top_k})


def score(task: Task, items: Sequence[Item], parts: Sequence[Part], seconds: Sequence[float]) -> Outcome:
    """Each kind by its own scorer; where there are several, its name stands before its figures.

    Args:
        parts: the answer to each record.
        seconds: from each request to its end.

    Raises:
        EvaluationError: there are no answers, or one came without the scores of its tokens that it is judged by.
    """
    kinds = {item.kind.name for item in items}
    examples = []
    for number, (item, part, spent) in enumerate(zip(items, parts, seconds, strict=True)):
        judged = task.of(item.kind).scorer.judge(item.record, part)
        examples.append(
            {
                "id": item.record.get("id", number),
                "kind": item.kind.name,
                "input": item.kind.forms[0](item.record),
                "answer": part.text,
                "tokens": part.usage.completion_tokens,
                "seconds": spent,
                **judged,
            }
        )
    metrics: dict[str, Measure] = {}
    tables: dict[str, Confusion] = {}
    for kind in dict.fromkeys(item.kind for item in items):
        own = [example for example in examples if example["kind"] == kind.name]
        measures = measured_figures(task.of(kind).scorer.figures(own), len(own))
        if "predicted" in own[0]:
            tables[kind.name] = confusion([e["predicted"] for e in own], [e["expected"] for e in own])
        if len(kinds) > 1:
            measures = {f"{kind.name}.{name}": measure for name, measure in measures.items()}
            for example in own:
                example.update({full: example.pop(name) for full in measures if (name := bare(full)) in example})
        metrics |= measures
    return Outcome(metrics, examples, cost=measured_figures(cost(examples), len(examples)), confusion=tables)


def bare(name: str) -> str:
    """A figure's name without its kind."""
    return name.rpartition(".")[2]


def measured_figures(figures: Figures, count: int) -> dict[str, Measure]:
    return {
        name: result
        for names, statistics in figures
        for name, result in zip(names, measure(statistics, count), strict=True)
    }


def cost(examples: Sequence[Mapping[str, Any]]) -> Figures:
    """What an answer took: its tokens, its seconds from the request to its end, and tokens through seconds over all."""
    tokens, seconds = (np.asarray([example[name] for example in examples]) for name in ("tokens", "seconds"))

    def speed(chosen: Chosen) -> list[float]:
        spent = seconds[chosen].sum()
        return [float(tokens[chosen].sum() / spent) if spent else 0.0]

    return [averages(examples, "tokens", "seconds"), (("tokens_per_second",), speed)]
