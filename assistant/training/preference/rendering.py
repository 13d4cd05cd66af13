"""Rows → token ids, rendered as the server renders them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from assistant.errors import DataError
from assistant.messages import Message, PromptTemplate
from assistant.prompt import Prompter
from assistant.training.preference.data import Asked, Opinion, Pair, Prompt


@dataclass(frozen=True)
class PairIds:
    """Token ids of a prompt and of two answers to it, end-of-turn token included."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    weight: float = 1.0

    @property
    def longest(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    def __len__(self) -> int:
        """Tokens computed: both rows, padded to each other."""
        return 2 * self.longest


@dataclass(frozen=True)
class OpinionIds:
    """Token ids of a prompt and of one answer to it, end-of-turn token included."""

    prompt: list[int]
    completion: list[int]
    label: bool

    @property
    def longest(self) -> int:
        return len(self)

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True)
class PromptIds:
    """A prompt as the server would put it, and the conversation it came from."""

    text: str
    conversation: Prompt
    ids: list[int]

    @property
    def longest(self) -> int:
        return len(self.ids)


class Rendered(Protocol):
    @property
    def longest(self) -> int: ...


A = TypeVar("A", bound=Asked)
IDS = TypeVar("IDS", bound=Rendered)


class Rendering:
    """Renders rows for one base and one adapter's template."""

    def __init__(self, prompter: Prompter, template: PromptTemplate | None) -> None:
        self.prompter = prompter
        self.template = template

    def pair(self, row: Pair) -> PairIds:
        prompt, chosen = self._example(row.prompt, row.chosen)
        return PairIds(prompt, chosen, self._example(row.prompt, row.rejected)[1], row.weight)

    def opinion(self, row: Opinion) -> OpinionIds:
        return OpinionIds(*self._example(row.prompt, row.completion), row.label)

    def prompt(self, row: Asked) -> PromptIds:
        text = self.prompter.write(row.prompt, self.template)
        return PromptIds(text, row.prompt, self.prompter.encode(text))

    def _example(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        return self.prompter.render_example([*prompt, Message(role="assistant", content=answer)], self.template)


def render_all(rows: Sequence[A], render: Callable[[A], IDS], max_tokens: int) -> tuple[list[IDS], list[str]]:
    """All rows as ids, and file and line of those longer than `max_tokens`. Raises DataError where none is left."""
    kept, skipped = [], []
    for row in rows:
        ids = render(row)
        if ids.longest > max_tokens:
            skipped.append(f"{row.where} ({ids.longest} tokens)")
        else:
            kept.append(ids)
    if not kept:
        raise DataError(f"all {len(rows)} rows are longer than {max_tokens} tokens; raise --max-tokens")
    return kept, skipped
