"""The SQL of collections and documents. Each function works inside its caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from assistant.database.tables import documents as tables
from assistant.errors import InvalidRequest, NotFound
from assistant.retrieval.corpus_queries import count_change
from assistant.retrieval.records import Added, Collection, Document

_COLLECTIONS, _DOCUMENTS, _PASSAGES = tables.collections, tables.documents, tables.passages

_COUNT = select(func.count()).where(_PASSAGES.c.document_id == _DOCUMENTS.c.id).scalar_subquery()

_DESCRIBED: Select[Any] = select(
    _DOCUMENTS.c.id,
    _DOCUMENTS.c.collection_id,
    _DOCUMENTS.c.name,
    _DOCUMENTS.c.media_type,
    _DOCUMENTS.c.digest,
    _DOCUMENTS.c.size,
    _COUNT.label("passages"),
    _DOCUMENTS.c.pages,
    _DOCUMENTS.c.added_at,
)


# Collections ------------------------------------------------------------------------------------


def collections(connection: Connection) -> list[Collection]:
    query = (
        select(_COLLECTIONS, func.count(_DOCUMENTS.c.id).label("documents"))
        .outerjoin(_DOCUMENTS)
        .group_by(_COLLECTIONS.c.id)
        .order_by(_COLLECTIONS.c.created_at, _COLLECTIONS.c.id)
    )
    return [Collection(**row._mapping) for row in connection.execute(query)]


def check_collection(connection: Connection, collection_id: str) -> None:
    if connection.scalar(select(_COLLECTIONS.c.id).where(_COLLECTIONS.c.id == collection_id)) is None:
        raise NotFound(f"no collection {collection_id!r}")


def add_collection(connection: Connection, collection: Collection) -> None:
    values = {"id": collection.id, "name": collection.name, "created_at": collection.created_at}
    connection.execute(insert(_COLLECTIONS).values(values))


def rename_collection(connection: Connection, collection_id: str, name: str) -> None:
    check_collection(connection, collection_id)
    connection.execute(update(_COLLECTIONS).where(_COLLECTIONS.c.id == collection_id).values(name=name))


def remove_collection(connection: Connection, collection_id: str) -> None:
    count_change(connection)
    check_collection(connection, collection_id)
    connection.execute(delete(_COLLECTIONS).where(_COLLECTIONS.c.id == collection_id))


@contextmanager
def name_of_its_own(name: str) -> Iterator[None]:
    """Around a change that gives a collection this name. Raises InvalidRequest where another has it."""
    try:
        yield
    except IntegrityError as error:
        raise InvalidRequest(f"there is a collection {name!r} already; allowed: a name of its own") from error


# Documents --------------------------------------------------------------------------------------


def documents(
    connection: Connection, collection_id: str | None, name: str, limit: int | None, offset: int
) -> list[Document]:
    # Within a collection names are unique and indexed: then only the rows that are asked for are looked at.
    ordered = _DESCRIBED.order_by(_DOCUMENTS.c.name, _DOCUMENTS.c.added_at, _DOCUMENTS.c.id)
    query = _some(connection, ordered, collection_id, name).limit(limit).offset(offset)
    return [_document(row) for row in connection.execute(query)]


def count_documents(connection: Connection, collection_id: str | None, name: str) -> int:
    counted = select(func.count()).select_from(_DOCUMENTS)
    return int(connection.scalar(_some(connection, counted, collection_id, name)) or 0)


def _some(connection: Connection, query: Select[Any], collection_id: str | None, name: str) -> Select[Any]:
    """Of one collection, where one is given, and with `name` within their own, whatever the case."""
    if collection_id is not None:
        check_collection(connection, collection_id)
        query = query.where(_DOCUMENTS.c.collection_id == collection_id)
    return query.where(_DOCUMENTS.c.name.icontains(name, autoescape=True)) if name else query


def document(connection: Connection, document_id: str) -> Document:
    row = connection.execute(_DESCRIBED.where(_DOCUMENTS.c.id == document_id)).one_or_none()
    if row is None:
        raise NotFound(f"no document {document_id!r}")
    return _document(row)


def document_named(connection: Connection, collection_id: str, name: str) -> Document | None:
    query = _DESCRIBED.where(_DOCUMENTS.c.collection_id == collection_id, _DOCUMENTS.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else _document(row)


def text(connection: Connection, document_id: str) -> str:
    found = connection.scalar(select(_DOCUMENTS.c.text).where(_DOCUMENTS.c.id == document_id))
    if found is None:
        raise NotFound(f"no document {document_id!r}")
    return str(found)


def keep_document(connection: Connection, document: dict[str, Any], rows: list[dict[str, Any]]) -> Added:
    """Write a document with its passages over what has its name, if anything has."""
    count_change(connection)
    check_collection(connection, document["collection_id"])
    old = document_named(connection, document["collection_id"], document["name"])
    if old is not None and old.digest == document["digest"]:
        return Added(old, "unchanged")  # someone else has added it meanwhile
    document_id = old.id if old else uuid.uuid4().hex
    if old is None:
        connection.execute(insert(_DOCUMENTS).values(id=document_id, **document))
    else:
        connection.execute(delete(_PASSAGES).where(_PASSAGES.c.document_id == document_id))
        connection.execute(update(_DOCUMENTS).where(_DOCUMENTS.c.id == document_id).values(**document))
    connection.execute(insert(_PASSAGES), [{"document_id": document_id, **row} for row in rows])
    kept = connection.execute(_DESCRIBED.where(_DOCUMENTS.c.id == document_id)).one()
    return Added(_document(kept), "replaced" if old else "added")


def remove_document(connection: Connection, document_id: str) -> None:
    count_change(connection)
    if not connection.execute(delete(_DOCUMENTS).where(_DOCUMENTS.c.id == document_id)).rowcount:
        raise NotFound(f"no document {document_id!r}")


def _document(row: Row[Any]) -> Document:
    fields = dict(row._mapping)
    return Document(**{**fields, "pages": len(fields["pages"])})
