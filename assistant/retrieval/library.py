"""The users' documents, kept: collections, documents, and the passages that are searched.

A document is in the database as a whole or not at all: its row, its passages and their vectors are written in one
transaction, after everything slow has been done.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from assistant.database.connection import Database
from assistant.database.tables.documents import FIRST_COLLECTION, collections, documents, library_state, passages
from assistant.errors import DocumentRejected, InvalidRequest, NotFound
from assistant.messages import Passage
from assistant.retrieval.chunking import CountTokens, chunks
from assistant.retrieval.readers import registry

log = logging.getLogger(__name__)

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

MAX_BYTES = 32 * 1024 * 1024
LONGEST_NAME = 255
BATCH = 8
"""Passages embedded at once; more are no faster, and a search would wait longer for its turn."""
ROWS = 10_000
"""Passages read from the database at once."""


@dataclass(frozen=True)
class Collection:
    id: str
    name: str
    documents: int
    created_at: datetime


@dataclass(frozen=True)
class Document:
    """`digest` is the SHA-256 of the file, `size` its bytes; `passages` and `pages` count them."""

    id: str
    collection_id: str
    name: str
    media_type: str
    digest: str
    size: int
    passages: int
    pages: int
    added_at: datetime


@dataclass(frozen=True)
class Added:
    document: Document
    outcome: Literal["added", "unchanged", "replaced"]


@dataclass(frozen=True)
class Corpus:
    """Everything that is searched, in the order of ids. `texts` are the passages with the headings above them, as
    they were embedded; `collections` are their collections' ids; `vectors` are of unit norm, (passages, dimensions).
    """

    version: tuple[int, int]
    ids: NDArray[np.int64]
    collections: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]


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
        query = (
            select(collections, func.count(documents.c.id).label("documents"))
            .outerjoin(documents)
            .group_by(collections.c.id)
            .order_by(collections.c.created_at, collections.c.id)
        )
        with self._database.reading() as connection:
            return [Collection(**row._mapping) for row in connection.execute(query)]

    def create_collection(self, name: str) -> Collection:
        """Raises InvalidRequest for an empty name, one that is too long, or one there is already."""
        created = Collection(uuid.uuid4().hex, name.strip(), 0, datetime.now(UTC))
        with _name_of_its_own(name), self._database.writing() as connection:
            connection.execute(
                insert(collections).values(id=created.id, name=created.name, created_at=created.created_at)
            )
        return created

    def rename_collection(self, collection_id: str, name: str) -> None:
        """Raises NotFound; InvalidRequest as `create_collection` does."""
        with _name_of_its_own(name), self._database.writing() as connection:
            _check_collection(connection, collection_id)
            connection.execute(update(collections).where(collections.c.id == collection_id).values(name=name.strip()))

    def delete_collection(self, collection_id: str) -> None:
        """With all its documents. Raises NotFound; InvalidRequest for the first one, which stays."""
        if collection_id == FIRST_COLLECTION:
            raise InvalidRequest("the first collection stays; allowed: delete its documents, rename it")
        with self._database.writing() as connection:
            _count_change(connection)
            _check_collection(connection, collection_id)
            connection.execute(delete(collections).where(collections.c.id == collection_id))

    # Documents ----------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        data: bytes,
        collection_id: str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Added:
        """Take a file in, into the first collection where none is named.

        The same content under the name it has already changes nothing; other content takes its place, under the
        same id. `progress` is told the share that is done, in [0, 1]; 1 once it is kept.

        Raises:
            DocumentRejected: it cannot be read, is too large, or holds no text; names it and the reason.
            NotFound: no such collection.
        """
        name, collection_id = name.strip(), collection_id or FIRST_COLLECTION
        report = progress or (lambda _: None)
        if not _is_name(name):
            raise DocumentRejected(f"file name {name!r}; allowed: 1 to {LONGEST_NAME} printable characters")
        self.check_size(name, len(data))
        digest = hashlib.sha256(data).hexdigest()
        with self._database.reading() as connection:
            _check_collection(connection, collection_id)
            old = _named(connection, collection_id, name)
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
        rows = [
            {
                "start": chunk.start,
                "end": chunk.end,
                "page": chunk.page,
                "heading": chunk.heading,
                "text": chunk.text,
                "tokens": chunk.tokens,
                "vector": vector.tobytes(),
            }
            for chunk, vector in zip(found, vectors, strict=True)
        ]
        with self._database.writing() as connection:
            added = _keep(connection, document, rows)
        report(1.0)
        return added

    def check_size(self, name: str, size: int) -> None:
        """Raises DocumentRejected for a file of so many bytes, which need not be read then."""
        if size > self.max_bytes:
            raise DocumentRejected(f"{name}: {size:,} bytes; allowed: up to {self.max_bytes:,}")

    def documents(self, collection_id: str | None = None) -> list[Document]:
        """By name; of one collection or of all. Raises NotFound for the collection."""
        query = _DOCUMENTS.order_by(documents.c.name, documents.c.added_at)
        with self._database.reading() as connection:
            if collection_id is not None:
                _check_collection(connection, collection_id)
                query = query.where(documents.c.collection_id == collection_id)
            return [_document(row) for row in connection.execute(query)]

    def document(self, document_id: str) -> Document:
        """Raises NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(_DOCUMENTS.where(documents.c.id == document_id)).one_or_none()
        if row is None:
            raise NotFound(f"no document {document_id!r}")
        return _document(row)

    def text(self, document_id: str) -> str:
        """What was read of it: passages are pieces of this text. Raises NotFound."""
        with self._database.reading() as connection:
            text = connection.scalar(select(documents.c.text).where(documents.c.id == document_id))
        if text is None:
            raise NotFound(f"no document {document_id!r}")
        return str(text)

    def outline(self, document_id: str) -> list[Passage]:
        """Its passages in their order in the text. Raises NotFound."""
        query = _PASSAGES.where(documents.c.id == document_id).order_by(passages.c.start, passages.c.id)
        with self._database.reading() as connection:
            found = [Passage(**row._mapping) for row in connection.execute(query)]
        if not found:  # a document without passages is not taken in
            raise NotFound(f"no document {document_id!r}")
        return found

    def delete(self, document_id: str) -> None:
        """With its passages. Raises NotFound."""
        with self._database.writing() as connection:
            _count_change(connection)
            if not connection.execute(delete(documents).where(documents.c.id == document_id)).rowcount:
                raise NotFound(f"no document {document_id!r}")

    # What is searched ---------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, int]:
        """How often what is searched has changed, and the highest id of a passage: another pair after each change."""
        with self._database.reading() as connection:
            return _version(connection)

    def corpus(self) -> Corpus:
        """All passages of all collections. Those whose vectors another embedder made are embedded anew before."""
        self._embed_anew()
        query = (
            select(passages.c.id, documents.c.collection_id, passages.c.heading, passages.c.text, passages.c.vector)
            .join(documents)
            .order_by(passages.c.id)
        )
        ids: list[int] = []
        places: list[str] = []
        texts: list[str] = []
        vectors = bytearray()
        with self._database.reading() as connection:
            version = _version(connection)  # before the passages: it may be older than they are, never newer
            for row in connection.execute(query).yield_per(ROWS):
                ids.append(row.id)
                places.append(row.collection_id)
                texts.append(searched(row.heading, row.text))
                vectors += row.vector
        return Corpus(
            version,
            np.array(ids, dtype=np.int64),
            places,
            texts,
            np.frombuffer(vectors, dtype="<f4").reshape(len(ids), -1 if ids else 0),
        )

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """In the order asked for; those that are no longer there are left out."""
        wanted = [int(id) for id in ids]
        with self._database.reading() as connection:
            rows = connection.execute(_PASSAGES.where(passages.c.id.in_(wanted)))
            found = {row.id: Passage(**row._mapping) for row in rows}
        return [found[id] for id in wanted if id in found]

    def _vectors(self, texts: Sequence[str], report: Callable[[float], None]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(texts), BATCH):
            report(start / len(texts))
            parts.append(self._embed(texts[start : start + BATCH]))
        return np.concatenate(parts).astype("<f4")

    def _embed_anew(self) -> None:
        for document_id in self._stale():
            query = select(passages.c.id, passages.c.heading, passages.c.text)
            with self._database.reading() as connection:
                rows = connection.execute(query.where(passages.c.document_id == document_id)).all()
            if not rows:
                continue
            vectors = self._vectors([searched(row.heading, row.text) for row in rows], lambda _: None)
            changes = [{"of": row.id, "to": vector.tobytes()} for row, vector in zip(rows, vectors, strict=True)]
            set_vector = update(passages).where(passages.c.id == bindparam("of")).values(vector=bindparam("to"))
            with self._database.writing() as connection:
                _count_change(connection)
                # One replaced meanwhile has other passages, whose vectors are new already.
                connection.execute(set_vector, changes)
                connection.execute(
                    update(documents).where(documents.c.id == document_id).values(embedder=self._embedder)
                )

    def _stale(self) -> Sequence[str]:
        with self._database.reading() as connection:
            stale = select(documents.c.id).where(documents.c.embedder != self._embedder)
            found = connection.scalars(stale).all()
        if found:
            log.warning("another embedder made the vectors of %d documents: they are embedded anew", len(found))
        return found


def searched(heading: str, text: str) -> str:
    """What a passage is found by: the headings above it belong to what it says."""
    return f"{heading}\n\n{text}" if heading else text


_COUNT = select(func.count()).where(passages.c.document_id == documents.c.id).scalar_subquery()

_DOCUMENTS: Select[Any] = select(
    documents.c.id,
    documents.c.collection_id,
    documents.c.name,
    documents.c.media_type,
    documents.c.digest,
    documents.c.size,
    _COUNT.label("passages"),
    documents.c.pages,
    documents.c.added_at,
)

_PASSAGES: Select[Any] = select(
    passages.c.id,
    passages.c.document_id,
    documents.c.name.label("document"),
    passages.c.start,
    passages.c.end,
    passages.c.text,
    passages.c.page,
    passages.c.heading,
).join(documents)


def _document(row: Row[Any]) -> Document:
    fields = dict(row._mapping)
    return Document(**{**fields, "pages": len(fields["pages"])})


def _named(connection: Connection, collection_id: str, name: str) -> Document | None:
    query = _DOCUMENTS.where(documents.c.collection_id == collection_id, documents.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else _document(row)


def _keep(connection: Connection, document: dict[str, Any], rows: list[dict[str, Any]]) -> Added:
    """Write a document with its passages over what has its name, if anything has."""
    _count_change(connection)
    _check_collection(connection, document["collection_id"])
    old = _named(connection, document["collection_id"], document["name"])
    if old is not None and old.digest == document["digest"]:
        return Added(old, "unchanged")  # someone else has added it meanwhile
    document_id = old.id if old else uuid.uuid4().hex
    if old is None:
        connection.execute(insert(documents).values(id=document_id, **document))
    else:
        connection.execute(delete(passages).where(passages.c.document_id == document_id))
        connection.execute(update(documents).where(documents.c.id == document_id).values(**document))
    connection.execute(insert(passages), [{"document_id": document_id, **row} for row in rows])
    kept = connection.execute(_DOCUMENTS.where(documents.c.id == document_id)).one()
    return Added(_document(kept), "replaced" if old else "added")


def _version(connection: Connection) -> tuple[int, int]:
    highest = select(func.max(passages.c.id)).scalar_subquery()
    changes, passage_id = connection.execute(select(library_state.c.changes, highest)).one()
    return changes, passage_id or 0


def _count_change(connection: Connection) -> None:
    connection.execute(update(library_state).values(changes=library_state.c.changes + 1))


def _check_collection(connection: Connection, collection_id: str) -> None:
    if connection.scalar(select(collections.c.id).where(collections.c.id == collection_id)) is None:
        raise NotFound(f"no collection {collection_id!r}")


@contextmanager
def _name_of_its_own(name: str) -> Iterator[None]:
    """Around a change that gives a collection this name."""
    if not _is_name(name.strip()):
        raise InvalidRequest(f"collection name {name!r}; allowed: 1 to {LONGEST_NAME} printable characters")
    try:
        yield
    except IntegrityError as error:
        raise InvalidRequest(f"there is a collection {name.strip()!r} already; allowed: a name of its own") from error


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()
