"""Reads soft prompts: virtual tokens, as embeddings or as keys and values."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from assistant.adapter_pool.base_shape import BaseShape
from assistant.adapter_pool.weights import AdapterWeights
from assistant.errors import AdapterBroken

TABLE, TASK_COLUMNS, TASK_ROWS = "prompt_embeddings", "prefix_task_cols", "prefix_task_rows"
TASK_ID = "task_id"
"""Ours, in a multitask prompt's config: which of its tasks this folder serves. PEFT leaves it to the caller."""


def read_prompt(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """Prompt tuning (arXiv:2104.08691) and p-tuning (arXiv:2103.10385): PEFT saves the finished embeddings of both."""
    _check_names(tensors, TABLE)
    table = _table(config, tensors[TABLE], base.hidden)
    return AdapterWeights(virtual=len(table), embeddings=base.keep(table))


def read_multitask_prompt(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """Multitask prompt tuning (arXiv:2303.02861): the shared prompt ⊙ (columns @ rows) of one task.

    PEFT saves these factors for all tasks. A file of one task needs no choice; of several, the config must make it.
    The config, not the card: it is part of what identifies a revision.
    """
    _check_names(tensors, TABLE, TASK_COLUMNS, TASK_ROWS)
    table, columns, rows = _table(config, tensors[TABLE], base.hidden), tensors[TASK_COLUMNS], tensors[TASK_ROWS]
    tasks, ranks = config.get("num_tasks"), config.get("num_ranks")
    if tuple(columns.shape) != (tasks, len(table), ranks) or tuple(rows.shape) != (tasks, ranks, base.hidden):
        raise AdapterBroken(
            f"{TASK_COLUMNS} is {tuple(columns.shape)} and {TASK_ROWS} {tuple(rows.shape)}; config and base need "
            f"({tasks}, {len(table)}, {ranks}) and ({tasks}, {ranks}, {base.hidden})"
        )
    task = config.get(TASK_ID, 0 if len(columns) == 1 else None)
    if not isinstance(task, int) or isinstance(task, bool) or not 0 <= task < len(columns):
        raise AdapterBroken(
            f"the prompt was trained for {len(columns)} tasks and its config says {TASK_ID}={task!r}; "
            f"allowed: {', '.join(map(str, range(len(columns))))}"
        )
    folded = table.float() * (columns[task].float() @ rows[task].float())
    return AdapterWeights(virtual=len(folded), embeddings=base.keep(folded))


def read_prefix(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseShape) -> AdapterWeights:
    """Prefix tuning (arXiv:2101.00190)."""
    _check_names(tensors, TABLE)
    layers, (heads, dim) = len(base.kv), base.kv[0]
    table = _table(config, tensors[TABLE], layers * 2 * heads * dim)
    # PEFT's layout: (virtual, layers × {key, value}, kv heads, head dimension).
    parts = base.keep(table).view(len(table), layers * 2, heads, dim).permute(1, 2, 0, 3)
    return AdapterWeights(
        virtual=len(table),
        keys=[part.contiguous() for part in parts[0::2]],
        values=[part.contiguous() for part in parts[1::2]],
    )


def _check_names(tensors: dict[str, Tensor], *names: str) -> None:
    if tensors.keys() != set(names):
        raise AdapterBroken(
            f"a soft prompt of this type holds {', '.join(map(repr, names))}; found {', '.join(sorted(tensors))}"
        )


def _table(config: dict[str, Any], table: Tensor, width: int) -> Tensor:
    virtual = config.get("num_virtual_tokens")
    if table.ndim != 2 or table.shape[0] != virtual or table.shape[1] != width:
        raise AdapterBroken(f"{TABLE} is {tuple(table.shape)}; config and base need ({virtual}, {width})")
    return table
