"""What a task is to the command: how records of each kind are asked and scored, and what a run gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assistant.errors import DataError, EvaluationError
from assistant.messages import Decoding, Message
from assistant.training.data import Item, read_items
from assistant.training.tasks import task as trained
from assistant.training.tasks.task import Form, Kind, Record
from eval.metrics.bootstrap import Measure
from eval.metrics.classification import Confusion
from eval.tasks.scorers import Scorer

DATA = Path(__file__).parent / "data"
"""The project's own small sets."""

Mode = Literal["prompt", "few-shot", "tuned", "rag"]
"""How a record is asked; "rag" asks the question alone, of a library that holds the contexts of all records."""

Shots = Sequence[tuple[Record, str]]
"""Worked examples: records and their answers."""


@dataclass(frozen=True)
class Prompt:
    """One way to ask. The first prompt of a mode is the one measured unless another is named."""

    name: str
    mode: Mode
    messages: Callable[[Record], tuple[Message, ...]]


@dataclass(frozen=True)
class Outcome:
    """What a run measured.

    `cost` is what an answer took, `examples` holds every example with its answer, and `confusion` one table for each
    kind of record that has labels.
    """

    metrics: dict[str, Measure]
    examples: list[dict[str, Any]]
    config: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Measure] = field(default_factory=dict)
    confusion: dict[str, Confusion] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """How records of one kind are asked and scored. What follows the scorer is for the base.

    `check` says what is wrong with fields that only the scorer reads, None for nothing; the kind's own has passed.
    """

    kind: Kind
    scorer: Scorer
    prompts: tuple[Prompt, ...]
    max_tokens: int
    repetition_penalty: float = 1.0
    check: Callable[[Record], str | None] = lambda record: None

    @property
    def all_prompts(self) -> tuple[Prompt, ...]:
        """Those of the base, then those an adapter is asked with: plain for its one task, whole for many tasks."""
        plain, whole = self.kind.forms[0], self.kind.instructions[0]
        tuned = (Prompt("plain", "tuned", ask(plain)), Prompt("instruction", "tuned", ask(whole)))
        return (*self.prompts, *tuned)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Those in which these records can be asked."""
        return tuple(dict.fromkeys(prompt.mode for prompt in self.all_prompts))

    @property
    def decoding(self) -> Decoding:
        """How the base is asked; an adapter is asked with the decoding of its card."""
        return Decoding(temperature=0, max_tokens=self.max_tokens, repetition_penalty=self.repetition_penalty)

    def prompt(self, mode: Mode, name: str | None) -> Prompt:
        """The named prompt, or the first of the mode. Raises EvaluationError where there is none."""
        fitting = [prompt for prompt in self.all_prompts if prompt.mode == mode]
        for prompt in fitting:
            if name in (None, prompt.name):
                return prompt
        if not fitting:
            raise EvaluationError(
                f"{self.kind.name} records are not asked in mode {mode}; allowed: {', '.join(self.modes)}"
            )
        known = ", ".join(prompt.name for prompt in fitting)
        raise EvaluationError(f"no prompt {name!r} for {self.kind.name} in mode {mode}; allowed: {known}")


@dataclass(frozen=True)
class Task:
    """A task whose examples are asked one by one."""

    trained: trained.Task
    measured: tuple[Measured, ...]

    @property
    def name(self) -> str:
        return self.trained.name

    def load(self, data: str | None) -> list[Item]:
        """Records of a file or hub dataset, each with its kind; the project's own set for None. Raises DataError."""
        items = read_items([data or str(DATA / f"{self.name}.jsonl")], self.trained, split="test")
        for item in items:
            if (fault := self.of(item.kind).check(item.record)) is not None:
                raise DataError(f"{item.where}: {fault}")
        return items

    def of(self, kind: Kind) -> Measured:
        return next(measured for measured in self.measured if measured.kind is kind)


def ask(form: Form, shots: Shots = (), system: str | None = None) -> Callable[[Record], tuple[Message, ...]]:
    """Messages that put a record into `form`, after `shots` worked examples as earlier turns."""

    def messages(record: Record) -> tuple[Message, ...]:
        turns = [] if system is None else [Message(role="system", content=system)]
        for shot, answer in shots:
            turns += [Message(role="user", content=form(shot)), Message(role="assistant", content=answer)]
        return (*turns, Message(role="user", content=form(record)))

    return messages


def ask_in_one_message(intro: str, form: Form, shots: Shots) -> Callable[[Record], tuple[Message, ...]]:
    """The worked examples as a list that the record to answer continues."""

    def messages(record: Record) -> tuple[Message, ...]:
        worked = "".join(f"{form(shot)} {answer}\n\n" for shot, answer in shots)
        return (Message(role="user", content=f"{intro}\n\n{worked}{form(record)}"),)

    return messages
