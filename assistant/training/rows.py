"""Examples → the batches of one forward pass each, made ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from assistant.training.data import Example
from assistant.training.loss import Batch
from assistant.training.mixture import in_stages
from assistant.training.packing import batches, pack, pad, plan_rows, stack


class Rows(Sequence[Batch]):
    """One row of packed trees each, or for a soft prompt one padded batch: PEFT puts virtual tokens before a row.

    With `difficulty`, one figure per example, the rows go from easy to hard.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        row_tokens: int,
        seed: int,
        pad_id: int | None = None,
        weights: Mapping[str, float] | None = None,
        kinds: Sequence[str] = (),
        difficulty: Sequence[float] | None = None,
    ) -> None:
        """`pad_id` is given where rows are padded, `kinds` where their numbers go with them as task ids."""
        self._pad_id, self._weights, self._kinds = pad_id, weights, kinds
        self.answer_tokens = sum(len(example.answer) for example in examples)
        plan: Any = partial(plan_rows if pad_id is None else batches, row_tokens=row_tokens, seed=seed)
        self._plan: list[Any] = (
            list(plan(examples))
            if difficulty is None
            else in_stages(examples, difficulty, lambda part: list(plan(part)))
        )

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: Any) -> Any:
        part = self._plan[index]
        if self._pad_id is None:
            return pack(part, self._weights)
        return pad(part, self._pad_id, self._weights, self._kinds)

    @property
    def are_packed(self) -> bool:
        return self._pad_id is None

    def batch(self, numbers: Sequence[int]) -> Batch:
        """These rows for one forward pass; several only where rows are packed."""
        return self[numbers[0]] if len(numbers) == 1 else stack([self[number] for number in numbers])

    @property
    def tokens(self) -> int:
        """Tokens computed in one epoch, padding included."""
        if self._pad_id is None:
            return sum(len(tree) for row in self._plan for tree in row)
        return sum(len(part) * max(map(len, part)) for part in self._plan)
