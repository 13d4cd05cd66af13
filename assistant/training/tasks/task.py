"""A task: what an adapter is trained for, the kinds of records it learns from, and what its card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assistant.messages import PromptTemplate

Record = Mapping[str, Any]
Form = Callable[[Record], str]


@dataclass(frozen=True)
class Kind:
    """One kind of record: how it becomes the text a user would type, and the answer wanted.

    `forms` are ways users put the request to an adapter that knows its task; the first is the plain one, used
    in measurements and for `plain_share` of the training examples. `instructions` say the whole task, for a
    model that serves many. `answers` takes all records at once, since an answer may depend on the others.
    `group` names what neighbours have in common: examples of one group share their first tokens, and training
    computes those once. `source` names what a validation part must not share with the rest, where that is more than
    the group. `label` is the class of a record where there is one.
    """

    name: str
    fields: tuple[str, ...]
    check: Callable[[Record], str | None]
    forms: tuple[Form, ...]
    instructions: tuple[Form, ...]
    answers: Callable[[Sequence[Record]], list[str]]
    group: Callable[[Record], str] = lambda record: ""
    source: Callable[[Record], str] | None = None
    label: Callable[[Record], str] | None = None
    plain_share: float = 0.6

    def instructed(self) -> Kind:
        """The same records, put as whole instructions."""
        return replace(self, forms=self.instructions, plain_share=0.4)


@dataclass(frozen=True)
class Task:
    """What one adapter is for. Where it has several kinds of records, their fields tell them apart.

    `card_examples` are what Auto compares messages with; the first is offered to newcomers, so it is one that the adapter
    answers well.
    """

    name: str
    description: str
    kinds: tuple[Kind, ...]
    template: PromptTemplate | None
    card_examples: tuple[str, ...]
    decoding: dict[str, Any] = field(default_factory=dict)
    soft_prompt_text: str = ""

    def kind_of(self, record: Record) -> Kind | None:
        """The first kind whose fields the record has."""
        return next((kind for kind in self.kinds if all(name in record for name in kind.fields)), None)

    def kind(self, name: str) -> Kind | None:
        return next((kind for kind in self.kinds if kind.name == name), None)


def each(answer: Callable[[Record], str]) -> Callable[[Sequence[Record]], list[str]]:
    """Answers that depend on their own record only."""
    return lambda records: [answer(record) for record in records]


def words_missing(record: Record, *names: str) -> str | None:
    """What is wrong with the first of these fields that is no text with words in it."""
    for name in names:
        if not isinstance(record[name], str) or not record[name].strip():
            return f"{name} is {record[name]!r}; allowed: words"
    return None


def texts_missing(record: Record, name: str) -> str | None:
    """What is wrong with a field that should be a list of texts."""
    given = record[name]
    if not isinstance(given, list) or not given or not all(isinstance(text, str) and text.strip() for text in given):
        return f"{name} is {given!r}; allowed: a list of one or more texts"
    return None


def label_outside(record: Record, labels: Sequence[str]) -> str | None:
    if record["label"] not in labels:
        return f"label is {record['label']!r}; allowed: {', '.join(labels)}"
    return None
