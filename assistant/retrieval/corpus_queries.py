"""The SQL of passages: what is searched, and whether it has changed. Each function works inside its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, bindparam, func, select, update

from assistant.database.tables.documents import documents, library_state, passages
from assistant.errors import NotFound
from assistant.messages import Passage
from assistant.retrieval.records import Corpus

ROWS = 10_000
"""Passages read from the database at once."""

_QUOTED: Select[Any] = select(
    passages.c.id,
    passages.c.document_id,
    documents.c.name.label("document"),
    passages.c.start,
    passages.c.end,
    passages.c.text,
    passages.c.page,
    passages.c.heading,
).join(documents)


def searched(heading: str, text: str) -> str:
    """What a passage is found by: the headings above it belong to what it says."""
    return f"{heading}\n\n{text}" if heading else text


def version(connection: Connection) -> tuple[int, int]:
    highest = select(func.max(passages.c.id)).scalar_subquery()
    changes, passage_id = connection.execute(select(library_state.c.changes, highest)).one()
    return changes, passage_id or 0


def count_change(connection: Connection) -> None:
    connection.execute(update(library_state).values(changes=library_state.c.changes + 1))


def corpus(connection: Connection) -> Corpus:
    query = (
        select(passages.c.id, documents.c.collection_id, passages.c.heading, passages.c.text, passages.c.vector)
        .join(documents)
        .order_by(passages.c.id)
    )
    ids: list[int] = []
    places: list[str] = []
    texts: list[str] = []
    vectors = bytearray()
    read_at = version(connection)  # before the passages: it may be older than they are, never newer
    for row in connection.execute(query).yield_per(ROWS):
        ids.append(row.id)
        places.append(row.collection_id)
        texts.append(searched(row.heading, row.text))
        vectors += row.vector
    return Corpus(
        read_at,
        np.array(ids, dtype=np.int64),
        places,
        texts,
        np.frombuffer(vectors, dtype="<f4").reshape(len(ids), -1 if ids else 0),
    )


def passages_by_id(connection: Connection, ids: Sequence[int]) -> dict[int, Passage]:
    rows = connection.execute(_QUOTED.where(passages.c.id.in_(ids)))
    return {row.id: Passage(**row._mapping) for row in rows}


def outline(connection: Connection, document_id: str) -> list[Passage]:
    query = _QUOTED.where(documents.c.id == document_id).order_by(passages.c.start, passages.c.id)
    found = [Passage(**row._mapping) for row in connection.execute(query)]
    if not found:  # a document without passages is not taken in
        raise NotFound(f"no document {document_id!r}")
    return found


def embedded_by_another(connection: Connection, embedder: str) -> Sequence[str]:
    """Ids of the documents whose vectors another embedder made."""
    return connection.scalars(select(documents.c.id).where(documents.c.embedder != embedder)).all()


def searched_of(connection: Connection, document_id: str) -> dict[int, str]:
    """Ids of a document's passages, and what each is found by."""
    query = select(passages.c.id, passages.c.heading, passages.c.text).where(passages.c.document_id == document_id)
    return {row.id: searched(row.heading, row.text) for row in connection.execute(query)}


def set_vectors(
    connection: Connection, document_id: str, ids: Sequence[int], vectors: NDArray[np.float32], embedder: str
) -> None:
    count_change(connection)
    changes = [{"of": id, "to": vector.tobytes()} for id, vector in zip(ids, vectors, strict=True)]
    # One replaced meanwhile has other passages, whose vectors are new already.
    connection.execute(update(passages).where(passages.c.id == bindparam("of")).values(vector=bindparam("to")), changes)
    connection.execute(update(documents).where(documents.c.id == document_id).values(embedder=embedder))
