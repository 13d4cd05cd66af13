"""Contexts of records as documents of a library, so that the question alone has to find its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from assistant.errors import EvaluationError
from assistant.training.data import Item

log = logging.getLogger(__name__)


class Adds(Protocol):
    """The library, as far as it is filled."""

    def add(self, name: str, data: bytes, collection_id: str | None = None) -> object: ...


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
