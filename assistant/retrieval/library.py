"""The users' documents, kept: collections, documents, and the passages that are searched.

A document is in the database as a whole or not at all: its row, its passages and their vectors are written in one
transaction, after everything slow has been done.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assistant.database.connection import Database
from assistant.database.tables.documents import FIRST_COLLECTION
from assistant.errors import DocumentRejected, InvalidRequest
from assistant.messages import Passage
from assistant.retrieval import corpus_queries, queries
from assistant.retrieval.chunking import Chunk, CountTokens, chunks
from assistant.retrieval.corpus_queries import searched
from assistant.retrieval.readers import registry
from assistant.retrieval.records import Added, Collection, Corpus, Document

log = logging.getLogger(__name__)

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

MAX_BYTES = 32 * 1024 * 1024
LONGEST_NAME = 255
BATCH = 8
"""Passages embedded at once; more are no faster, and a search would wait longer for its turn."""


class Library:
    """Thread-safe. Every method raises StoreUnavailable where the database does not answer; then nothing was saved.

    `embed` gives vectors of unit norm, `embedder` names what it is: vectors of another one are made anew before they
    are searched. `count_tokens` is the base's. Files of more than `max_bytes` are not taken.
    """

    def __init__(
        self,
        database: Database,
        embed: Embed,
        count_tokens: CountTokens,
        embedder: str = "",
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._database = database
        self._embed = embed
        self._count_tokens = count_tokens
        self._embedder = embedder
        self.max_bytes = max_bytes

    # Collections --------------------------------------------------------------------------------

    def collections(self) -> list[Collection]:
        """All of them, oldest first. The first one, "Documents", is there from the start."""
        with self._database.reading() as connection:
            return queries.collections(connection)

    def check_collection(self, collection_id: str) -> None:
        """Raises NotFound."""
        with self._database.reading() as connection:
            queries.check_collection(connection, collection_id)

    def create_collection(self, name: str) -> Collection:
        """Raises InvalidRequest for an empty name, one that is too long, or one there is already."""
        created = Collection(uuid.uuid4().hex, _collection_name(name), 0, datetime.now(UTC))
        with queries.name_of_its_own(created.name), self._database.writing() as connection:
            queries.add_collection(connection, created)
        return created

    def rename_collection(self, collection_id: str, name: str) -> None:
        """Raises NotFound; InvalidRequest as `create_collection` does."""
        name = _collection_name(name)
        with queries.name_of_its_own(name), self._database.writing() as connection:
            queries.rename_collection(connection, collection_id, name)

    def delete_collection(self, collection_id: str) -> None:
        """With all its documents. Raises NotFound; InvalidRequest for the first one, which stays."""
        if collection_id == FIRST_COLLECTION:
            raise InvalidRequest("the first collection stays; allowed: delete its documents, rename it")
        with self._database.writing() as connection:
            queries.remove_collection(connection, collection_id)

    # Documents ----------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        data: bytes,
        collection_id: str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Added:
        """Take a file in, into the first collection where none is named.

        The same content under the name it has already changes nothing, unless the readers make something else of it
        by now; other content takes its place, under the same id. `progress` is told the share that is done, in [0, 1]; 1 once it is kept.

        Raises:
            DocumentRejected: it cannot be read, is too large, or holds no text; names it and the reason.
            NotFound: no such collection.
        """
        name, collection_id = name.strip(), collection_id or FIRST_COLLECTION
        report = progress or (lambda _: None)
        if not _is_name(name):
            raise DocumentRejected(f"file name {name!r}; allowed: 1 to {LONGEST_NAME} printable characters")
        self.check_size(name, len(data))
        digest = registry.fingerprint(data)
        with self._database.reading() as connection:
            queries.check_collection(connection, collection_id)
            old = queries.document_named(connection, collection_id, name)
        if old is not None and old.digest == digest:
            report(1.0)
            return Added(old, "unchanged")
        format, content = registry.read(name, data)
        found = list(chunks(content, self._count_tokens))
        vectors = self._vectors([searched(chunk.heading, chunk.text) for chunk in found], report)
        document = {
            "collection_id": collection_id,
            "name": name,
            "media_type": format.media_type,
            "digest": digest,
            "size": len(data),
            "text": content.text,
            "pages": list(content.pages),
            "embedder": self._embedder,
            "added_at": datetime.now(UTC),
        }
        rows = [_passage(chunk, vector) for chunk, vector in zip(found, vectors, strict=True)]
        with self._database.writing() as connection:
            added = queries.keep_document(connection, document, rows)
        report(1.0)
        return added

    def check_size(self, name: str, size: int) -> None:
        """Raises DocumentRejected for a file of so many bytes, which need not be read then."""
        if size > self.max_bytes:
            raise DocumentRejected(f"{name}: {size:,} bytes; allowed: up to {self.max_bytes:,}")

    def documents(
        self, collection_id: str | None = None, name: str = "", limit: int | None = None, offset: int = 0
    ) -> list[Document]:
        """By name; of one collection or of all. Raises NotFound for the collection.

        Args:
            name: only those that have it within their own name, whatever the case (in SQLite, of A to Z); "" for all.
            limit: so many at most, after the first `offset`; None for all.
        """
        with self._database.reading() as connection:
            return queries.documents(connection, collection_id, name, limit, offset)

    def count(self, collection_id: str | None = None, name: str = "") -> int:
        """How many `documents` gives without a limit. Raises NotFound for the collection."""
        with self._database.reading() as connection:
            return queries.count_documents(connection, collection_id, name)

    def document(self, document_id: str) -> Document:
        """Raises NotFound."""
        with self._database.reading() as connection:
            return queries.document(connection, document_id)

    def text(self, document_id: str) -> str:
        """What was read of it: passages are pieces of this text. Raises NotFound."""
        with self._database.reading() as connection:
            return queries.text(connection, document_id)

    def outline(self, document_id: str) -> list[Passage]:
        """Its passages in their order in the text. Raises NotFound."""
        with self._database.reading() as connection:
            return corpus_queries.outline(connection, document_id)

    def delete(self, document_id: str) -> None:
        """With its passages. Raises NotFound."""
        with self._database.writing() as connection:
            queries.remove_document(connection, document_id)

    # What is searched ---------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, int]:
        """How often what is searched has changed, and the highest id of a passage: another pair after each change."""
        with self._database.reading() as connection:
            return corpus_queries.version(connection)

    def corpus(self) -> Corpus:
        """All passages of all collections. Those whose vectors another embedder made are embedded anew before."""
        self._embed_anew()
        with self._database.reading() as connection:
            return corpus_queries.corpus(connection)

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """In the order asked for; those that are no longer there are left out."""
        wanted = [int(id) for id in ids]
        with self._database.reading() as connection:
            found = corpus_queries.passages_by_id(connection, wanted)
        return [found[id] for id in wanted if id in found]

    def _embed_anew(self) -> None:
        with self._database.reading() as connection:
            stale = corpus_queries.embedded_by_another(connection, self._embedder)
        if stale:
            log.warning("another embedder made the vectors of %d documents: they are embedded anew", len(stale))
        for document_id in stale:
            with self._database.reading() as connection:
                texts = corpus_queries.searched_of(connection, document_id)
            if not texts:
                continue
            vectors = self._vectors(list(texts.values()), lambda _: None)
            with self._database.writing() as connection:
                corpus_queries.set_vectors(connection, document_id, list(texts), vectors, self._embedder)

    def _vectors(self, texts: Sequence[str], report: Callable[[float], None]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(texts), BATCH):
            report(start / len(texts))
            parts.append(self._embed(texts[start : start + BATCH]))
        return np.concatenate(parts).astype("<f4")


def _passage(chunk: Chunk, vector: NDArray[np.float32]) -> dict[str, Any]:
    """The row of a passage."""
    return {
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
        "heading": chunk.heading,
        "text": chunk.text,
        "tokens": chunk.tokens,
        "vector": vector.tobytes(),
    }


def _collection_name(name: str) -> str:
    if not _is_name(name.strip()):
        raise InvalidRequest(f"collection name {name!r}; allowed: 1 to {LONGEST_NAME} printable characters")
    return name.strip()


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()
