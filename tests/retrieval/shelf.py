"""A stand-in for the library: passages in memory, with the same rules for ids and versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np

from assistant.messages import Passage
from tests.bag_of_words import DIMENSIONS, BagOfWords


@dataclass(frozen=True)
class Stored:
    collection: str
    text: str


class Shelf:
    """Every passage is a document of its own; ids are given in order and never twice."""

    def __init__(self, *texts: str, collection: str = "documents") -> None:
        self.embed = BagOfWords().embed
        self.names = {"documents": "Documents"}
        self.stored: dict[int, Stored] = {}
        self.next_id = 1
        self.corpora = 0
        self.add(*texts, collection=collection)

    def add(self, *texts: str, collection: str = "documents") -> list[int]:
        self.names.setdefault(collection, collection.title())
        ids = list(range(self.next_id, self.next_id + len(texts)))
        self.stored = self.stored | {id: Stored(collection, text) for id, text in zip(ids, texts, strict=True)}
        self.next_id += len(texts)
        return ids

    def remove(self, *ids: int) -> None:
        self.stored = {id: stored for id, stored in self.stored.items() if id not in ids}

    @property
    def version(self) -> tuple[int, int]:
        return max(self.stored, default=0), len(self.stored)

    def corpus(self) -> Any:
        self.corpora += 1
        stored = self.stored
        texts = [each.text for each in stored.values()]
        return SimpleNamespace(
            version=(max(stored, default=0), len(stored)),
            ids=np.asarray(list(stored), dtype=np.int64),
            collections=[each.collection for each in stored.values()],
            texts=texts,
            vectors=self.embed(texts) if texts else np.zeros((0, DIMENSIONS), dtype=np.float32),
        )

    def collections(self) -> list[Any]:
        return [
            SimpleNamespace(id=id, name=name, documents=1, created_at=datetime.now(UTC))
            for id, name in self.names.items()
        ]

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        return [
            Passage(id=id, document_id=f"d{id}", document=f"{id}.txt", start=0, end=len(text), text=text)
            for id in ids
            if id in self.stored
            for text in [self.stored[id].text]
        ]
