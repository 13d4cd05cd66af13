"""The users' documents: collections, their documents, and the passages that are searched."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from assistant.database.tables.common import UtcDateTime, metadata

FIRST_COLLECTION = "0" * 32
"""Its migration makes it, so that there is always a collection to add to."""

library_state = Table(
    "library_state",
    metadata,
    # One row, which whoever changes what is searched counts up first: others wait until that is kept.
    Column("id", Integer, primary_key=True),
    Column("changes", Integer, nullable=False),
)

collections = Table(
    "collections",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("collection_id", String(32), ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("media_type", String(127), nullable=False),
    # SHA-256 of the file as it was given and of the readers' version: the same content is not read twice by one version.
    Column("digest", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    # Where each page begins in the text, for formats that have pages; empty for others.
    Column("pages", JSON, nullable=False),
    # What made the vectors of its passages: those of two embedders cannot be compared.
    Column("embedder", Text, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    # Last, as reading a column behind it takes reading all of it.
    Column("text", Text, nullable=False),
    UniqueConstraint("collection_id", "name", name="uq_documents_name"),
)

passages = Table(
    "passages",
    metadata,
    # Never used twice: one that stands in an old answer means that passage or none.
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("document_id", String(32), ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("page", Integer),
    Column("heading", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("tokens", Integer, nullable=False),
    # float32, little-endian, of unit norm.
    Column("vector", LargeBinary, nullable=False),
    Index("ix_passages_document", "document_id", "start"),
    sqlite_autoincrement=True,
)
