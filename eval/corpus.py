"""Contexts of records as documents of a library, so that the question alone has to find its own."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from assistant.errors import EvaluationError
from assistant.training.data import Item
from eval.tasks.interface import Task

log = logging.getLogger(__name__)


class Adds(Protocol):
    """The library, as far as it is filled."""

    def add(self, name: str, data: bytes, collection_id: str | None = None) -> object: ...


def searching(task: Task, items: Sequence[Item]) -> list[Item]:
    """The records that can be asked in mode rag. How many are left out, and of which kinds, is logged.

    Raises:
        EvaluationError: none can.
    """
    kept = [item for item in items if "rag" in task.of(item.kind).modes]
    left_out = Counter(item.kind for item in items) - Counter(item.kind for item in kept)
    if left_out and not kept:
        # Says in which modes they are asked.
        task.of(next(iter(left_out))).prompt("rag", None)
    if left_out:
        told = ", ".join(f"{count} {kind.name}" for kind, count in left_out.items())
        log.info(
            "mode rag: %d of %d records are asked; left out, as nothing is searched for: %s",
            len(kept),
            len(items),
            told,
        )
    return kept


def contexts(items: Iterable[Item]) -> list[str]:
    """Every distinct context of the records, in their order.

    Raises:
        EvaluationError: a record has none.
    """
    found: dict[str, None] = {}
    for item in items:
        if "context" not in item.record:
            raise EvaluationError(f"{item.where}: a {item.kind.name} record has no context to search for")
        found[item.record["context"]] = None
    return list(found)


async def load_corpus(library: Adds, texts: Sequence[str], collection_id: str | None = None) -> None:
    """Add each text as a document of its own, `context-1.txt` and so on, as a user would upload it.

    Raises:
        EvaluationError: there are no texts.
        DocumentRejected: a text has no words.
    """
    if not texts:
        raise EvaluationError("no contexts to load; a search over nothing has no score")
    for number, text in enumerate(texts, start=1):
        await asyncio.to_thread(library.add, f"context-{number}.txt", text.encode(), collection_id)
        if number % 200 == 0:
            log.info("%d of %d contexts loaded", number, len(texts))
