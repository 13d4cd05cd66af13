"""Examples → rows of tokens. Common first tokens are computed once; no row holds padding.

A row holds one or more trees: a trunk of tokens that several examples share, and a branch for the
rest of each. A branch sees its trunk and itself, at the positions it would have alone, so a row
gives the same loss as its examples one by one, at a fraction of the tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from assistant.training.data import Example

IGNORED = -100
"""The label of a token that is not to be predicted."""


@dataclass(frozen=True)
class Tree:
    """Examples with `trunk` first tokens in common; always fewer than the shortest prompt has."""

    trunk: int
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return self.trunk + sum(len(example) - self.trunk for example in self.examples)


def common_tokens(examples: Sequence[Example]) -> int:
    """How many first tokens all prompts share, leaving each at least one token of its own."""
    first = min(example.prompt for example in examples)
    last = max(example.prompt for example in examples)
    limit = min(len(example.prompt) for example in examples) - 1
    shared = 0
    while shared < limit and first[shared] == last[shared]:
        shared += 1
    return shared


def plan_rows(examples: Sequence[Example], row_tokens: int, seed: int) -> list[list[Tree]]:
    """Spread examples over rows of at most `row_tokens` tokens; a longer example has a row of its own."""
    draw = random.Random(seed)
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.group, []).append(example)
    trees = []
    for group in groups.values():
        draw.shuffle(group)
        members: list[Example] = []
        for example in group:
            if members and len(Tree(common_tokens([*members, example]), (*members, example))) > row_tokens:
                trees.append(Tree(common_tokens(members), tuple(members)))
                members = []
            members.append(example)
        trees.append(Tree(common_tokens(members), tuple(members)))
    draw.shuffle(trees)
    rows: list[list[Tree]] = []
    room = 0
    for tree in trees:
        if len(tree) > room:
            rows.append([])
            room = row_tokens
        rows[-1].append(tree)
        room -= len(tree)
    return rows


def pack(row: Sequence[Tree], weights: Mapping[str, float] | None = None) -> dict[str, torch.Tensor]:
    """One row of T tokens as a batch of one; `visible` says what its tokens see.

    Args:
        weights: by kind, how much its answers count; 1 for others.

    Returns input_ids, position_ids, labels, and the numbers of trunks and branches, all (1, T); with `weights` also
    these, (1, T).
    """
    ids: list[int] = []
    positions: list[int] = []
    labels: list[int] = []
    trunks: list[int] = []
    branches: list[int] = []
    scales: list[float] = []

    def add(tokens: Sequence[int], start: int, answer: int, trunk: int, branch: int, kind: str = "") -> None:
        ids.extend(tokens)
        positions.extend(range(start, start + len(tokens)))
        labels.extend([IGNORED] * (len(tokens) - answer) + list(tokens[len(tokens) - answer :]))
        trunks.extend([trunk] * len(tokens))
        branches.extend([branch] * len(tokens))
        scales.extend([(weights or {}).get(kind, 1.0)] * len(tokens))

    count = 0
    for number, tree in enumerate(row):
        add(tree.examples[0].prompt[: tree.trunk], 0, 0, number, 0)
        for example in tree.examples:
            count += 1
            own = (*example.prompt[tree.trunk :], *example.answer)
            add(own, tree.trunk, len(example.answer), number, count, example.kind)
    batch = {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "labels": torch.tensor([labels]),
        "trunks": torch.tensor([trunks]),
        "branches": torch.tensor([branches]),
    }
    return batch if weights is None else {**batch, "weights": torch.tensor([scales])}


def stack(rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Packed rows as one batch (N, T), the shorter ones padded on the right with tokens of a trunk of their own."""
    blank = {"labels": IGNORED, "trunks": -1, "branches": -1}
    width = max(row["input_ids"].shape[1] for row in rows)

    def padded(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=blank.get(name, 0))

    return {name: torch.cat([padded(name, row[name]) for row in rows]) for name in rows[0]}


def visible(trunks: torch.Tensor, branches: torch.Tensor) -> torch.Tensor:
    """(N, 1, T, T), true where the query (third axis) may see the key (fourth): its trunk and its own branch, up to
    itself. Both arguments are (N, T), a trunk's own tokens being branch 0."""
    same_trunk = trunks[:, :, None] == trunks[:, None, :]
    same_branch = (branches[:, :, None] == branches[:, None, :]) | (branches[:, None, :] == 0)
    return (same_trunk & same_branch).tril()[:, None]


def batches(examples: Sequence[Example], row_tokens: int, seed: int) -> Iterator[list[Example]]:
    """Examples of like length together, at most `row_tokens` tokens with padding; for soft prompts.

    PEFT puts virtual tokens before every row, so here a row is one example.
    """
    ordered = sorted(examples, key=lambda example: (len(example), example.prompt))
    parts: list[list[Example]] = [[]]
    for example in ordered:
        if parts[-1] and len(example) * (len(parts[-1]) + 1) > row_tokens:
            parts.append([])
        parts[-1].append(example)
    random.Random(seed).shuffle(parts)
    yield from parts


def pad(
    examples: Sequence[Example], pad_id: int, weights: Mapping[str, float] | None = None, kinds: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    """N examples as rows padded on the right to T: input_ids, attention_mask, labels of shape (N, T).

    With `weights`, by kind, also weights (N, T); with `kinds` also task_ids (N,), each the number of its kind.
    """
    width = max(len(example) for example in examples)
    rows = {"input_ids": [], "attention_mask": [], "labels": []}  # type: dict[str, list[list[int]]]
    for example in examples:
        gap = width - len(example)
        rows["input_ids"].append([*example.prompt, *example.answer, *[pad_id] * gap])
        rows["attention_mask"].append([1] * len(example) + [0] * gap)
        rows["labels"].append([*[IGNORED] * len(example.prompt), *example.answer, *[IGNORED] * gap])
    batch = {name: torch.tensor(values) for name, values in rows.items()}
    if weights is not None:
        batch["weights"] = torch.tensor([[weights.get(example.kind, 1.0)] * width for example in examples])
    if kinds:
        batch["task_ids"] = torch.tensor([kinds.index(example.kind) for example in examples])
    return batch
