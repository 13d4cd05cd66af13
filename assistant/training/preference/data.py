"""Preference files → prompts with judged answers. What is wrong in a file is named with its line.

Read are TRL's preference rows (prompt, chosen, rejected; or whole conversations in chosen and rejected), TRL's
unpaired rows (prompt, completion, label), both with what the project's own export adds (weight, votes), PandaLM's (prompt, response_a, response_b, annotators), HH-RLHF's
dialogues (chosen, rejected as one text each), and for what needs no answers rows with a prompt alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from assistant.errors import DataError
from assistant.messages import Message
from assistant.training.data import json_lines, sample
from assistant.training.preference.forms import LeftOut, dialogue, judged_by_most, only_answer, turns

Record = Mapping[str, Any]
Prompt = tuple[Message, ...]

PARTS = {"train": range(6), "judge": range(6, 8), "test": range(8, 10)}
"""Tenths of all prompts, by a hash of the prompt: any two files, seeds and commands agree on them."""


@dataclass(frozen=True)
class Asked:
    """A prompt; it ends with the user's message. `where` is its file and line."""

    prompt: Prompt
    where: str

    @property
    def source(self) -> str:
        """What rows of one prompt, or of one conversation, have in common: the first thing the user said."""
        first = next(message.content for message in self.prompt if message.role == "user")
        return " ".join(first.casefold().split())

    @property
    def part(self) -> str:
        tenth = hashlib.sha256(self.source.encode()).digest()[0] % 10
        return next(name for name, tenths in PARTS.items() if tenth in tenths)


@dataclass(frozen=True)
class Pair(Asked):
    """Of two answers, which was preferred. `weight` is what the pair counts for beside others: the project's own export
    gives every ranking the same, however many pairs it makes."""

    chosen: str
    rejected: str
    weight: float = 1.0


@dataclass(frozen=True)
class Opinion(Asked):
    """An answer that was found good or bad, by so many `votes`."""

    completion: str
    label: bool
    votes: int = 1


Row = Asked | Pair | Opinion
R = TypeVar("R", bound=Asked)


@dataclass(frozen=True)
class Rows:
    """What sources hold. `left_out` names rows that say nothing: file, line and reason."""

    rows: list[Row]
    left_out: list[str]


def read_rows(sources: Sequence[str]) -> Rows:
    """All rows of JSON lines files.

    Args:
        sources: `PATH[@train|@judge|@test][#N]`; after `@` the tenths of the prompts that are read, see `PARTS`, after
            `#` how many of the rows are drawn.

    Raises:
        DataError: a file is absent or empty, or a line is of no known form; names file and line.
    """
    rows: list[Row] = []
    left_out: list[str] = []
    for source in sources:
        place, _, count = source.partition("#")
        if count and not (count.isdecimal() and int(count)):
            raise DataError(f"{source}: {count!r} is no number of rows; allowed after '#': whole numbers from 1")
        path, at, part = place.rpartition("@")
        if not at or part not in PARTS:
            path, part = place, ""
        found: list[Row] = []
        for where, record in json_lines(Path(path)):
            try:
                row = _read(where, record)
            except LeftOut as reason:
                left_out.append(f"{where}: {reason}")
                continue
            if part in ("", row.part):
                found.append(row)
        if not found:
            raise DataError(f"{source}: holds no row to learn from; allowed: {_allowed()}")
        rows += sample(found, int(count) if count else None, seed=0)
    return Rows(rows, left_out)


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Raises DataError where a row holds no two answers."""
    return [_checked(row, Pair, "prompt, chosen and rejected") for row in rows]


def opinions(rows: Sequence[Row]) -> list[Opinion]:
    """Single answers, each as often as it has votes; a pair becomes a good one and a bad one.

    Raises:
        DataError: a row holds no answer.
    """
    single: list[Opinion] = []
    for row in rows:
        if isinstance(row, Pair):
            single += [Opinion(row.prompt, row.where, row.chosen, True)]
            single += [Opinion(row.prompt, row.where, row.rejected, False)]
        else:
            opinion = _checked(row, Opinion, "prompt, completion and label")
            single += [opinion] * opinion.votes
    return single


def prompts(rows: Sequence[Row]) -> list[Asked]:
    """Every prompt once, whatever is known of its answers."""
    return list({row.prompt: Asked(row.prompt, row.where) for row in rows}.values())


def _checked(row: Row, kind: type[R], fields: str) -> R:
    if not isinstance(row, kind):
        raise DataError(f"{row.where}: no {kind.__name__.lower()}; what this recipe reads has {fields}")
    return row


def _read(where: str, record: Record) -> Row:
    for fields, reader in FORMS.items():
        if record.keys() >= set(fields):
            return reader(where, record)
    raise DataError(f"{where}: the fields {', '.join(record)} are of no known form; allowed: {_allowed()}")


def _pair(where: str, record: Record) -> Pair:
    prompt = turns(where, "prompt", record["prompt"])
    weight = record.get("weight", 1.0)
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < math.inf:
        raise DataError(f"{where}: weight is {weight!r}; allowed: a finite number above 0")
    pair = _two(where, prompt, *(only_answer(where, name, record[name]) for name in ("chosen", "rejected")))
    return replace(pair, weight=float(weight))


def _dialogues(where: str, record: Record) -> Pair:
    first, second = (dialogue(where, name, record[name]) for name in ("chosen", "rejected"))
    if first[:-1] != second[:-1]:
        raise LeftOut("the two conversations differ before their last answer")
    return _two(where, first[:-1], first[-1].content, second[-1].content)


def _pandalm(where: str, record: Record) -> Pair:
    prompt = turns(where, "prompt", record["prompt"])
    # Some answers are JSON values of their own, such as true.
    first, second = str(record["response_a"]), str(record["response_b"])
    winner = judged_by_most(where, record["annotators"])
    return _two(where, prompt, *((first, second) if winner == 1 else (second, first)))


def _opinion(where: str, record: Record) -> Opinion:
    label = record["label"]
    if not isinstance(label, bool):
        raise DataError(f"{where}: label is {label!r}; allowed: true, false")
    completion = only_answer(where, "completion", record["completion"])
    if not completion.strip():
        raise LeftOut("the answer is empty")
    votes = record.get("votes", 1)
    if not isinstance(votes, int) or isinstance(votes, bool) or votes < 1:
        raise DataError(f"{where}: votes are {votes!r}; allowed: whole numbers from 1")
    return Opinion(turns(where, "prompt", record["prompt"]), where, completion, label, votes)


def _prompt(where: str, record: Record) -> Asked:
    return Asked(turns(where, "prompt", record["prompt"]), where)


def _two(where: str, prompt: Prompt, chosen: str, rejected: str) -> Pair:
    if chosen.strip() == rejected.strip():
        raise LeftOut("both answers are the same")
    if not chosen.strip() or not rejected.strip():
        raise LeftOut("an answer is empty")
    return Pair(prompt, where, chosen, rejected)


FORMS: dict[tuple[str, ...], Callable[[str, Record], Row]] = {
    ("prompt", "chosen", "rejected"): _pair,
    ("prompt", "response_a", "response_b", "annotators"): _pandalm,
    ("prompt", "completion", "label"): _opinion,
    ("chosen", "rejected"): _dialogues,
    ("prompt",): _prompt,
}
"""By the fields a record has; the first that fits."""


def _allowed() -> str:
    return "; or ".join(", ".join(fields) for fields in FORMS)
