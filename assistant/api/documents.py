"""Documents over HTTP: add, list, read, delete; the collections they are in; and search."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.datastructures import FormData, UploadFile

from assistant.api.schema import Body
from assistant.api.upload import FILE_FIELD, bounded_form
from assistant.background import in_background
from assistant.errors import DocumentRejected, InvalidRequest, NotFound
from assistant.messages import Passage, Retrieval
from assistant.retrieval.records import Collection, Document
from assistant.service import ChatService

COLLECTION_FIELD = "collection"
MOST_FILES = 200
"""In one request; together they may be as large as `FULL_FILES` of the largest that are taken."""
FULL_FILES = 16


Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]


class CollectionBody(Body):
    name: str


class SearchBody(Body):
    """`collections` are ids; none stands for all."""

    query: str
    top_k: Annotated[int, Field(ge=1, le=20)] | None = None
    collections: list[str] | None = None

    def retrieval(self) -> Retrieval:
        given = self.model_dump(exclude={"query"}, exclude_none=True)
        return Retrieval(**given)


def documents_router(service: ChatService) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Documents"])

    @router.post("/documents")
    async def add(request: Request) -> dict[str, Any]:
        most = FULL_FILES * service.library.max_bytes
        form = await bounded_form(request, most, 1, InvalidRequest, max_files=MOST_FILES)
        try:
            uploads, collection = _fields(form)
            collection_id = await asyncio.to_thread(check_collection, collection)
            # One after the other: they share one embedder.
            outcomes = [await in_background(take_in, upload, collection_id) for upload in uploads]
        finally:
            await form.close()
        return {"object": "list", "data": outcomes}

    @router.get("/documents")
    async def documents(
        collection: str | None = None, name: str = "", limit: Limit | None = None, offset: Offset = 0
    ) -> dict[str, Any]:
        found = await asyncio.to_thread(service.library.documents, collection, name, limit, offset)
        total = await asyncio.to_thread(service.library.count, collection, name)
        return {"object": "list", "data": [document_object(document) for document in found], "total": total}

    @router.get("/documents/{document_id}")
    async def document(document_id: str) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            library = service.library
            found, outline = library.document(document_id), library.outline(document_id)
            places = [passage.model_dump(include={"id", "start", "end", "page", "heading"}) for passage in outline]
            return {**document_object(found), "text": library.text(document_id), "outline": places}

        return await asyncio.to_thread(read)

    @router.delete("/documents/{document_id}")
    async def delete(document_id: str) -> dict[str, Any]:
        await asyncio.to_thread(service.library.delete, document_id)
        return {"id": document_id, "object": "document", "deleted": True}

    @router.get("/collections")
    async def collections() -> dict[str, Any]:
        found = await asyncio.to_thread(service.library.collections)
        return {"object": "list", "data": [collection_object(one) for one in found]}

    @router.post("/collections", status_code=201)
    async def create(body: CollectionBody) -> dict[str, Any]:
        return collection_object(await asyncio.to_thread(service.library.create_collection, body.name))

    @router.patch("/collections/{collection_id}")
    async def rename(collection_id: str, body: CollectionBody) -> dict[str, Any]:
        await asyncio.to_thread(service.library.rename_collection, collection_id, body.name)
        for one in await asyncio.to_thread(service.library.collections):
            if one.id == collection_id:
                return collection_object(one)
        raise NotFound(f"collection {collection_id!r} was deleted meanwhile")

    @router.delete("/collections/{collection_id}")
    async def delete_collection(collection_id: str) -> dict[str, Any]:
        await asyncio.to_thread(service.library.delete_collection, collection_id)
        return {"id": collection_id, "object": "collection", "deleted": True}

    @router.post("/search")
    async def search(body: SearchBody) -> dict[str, Any]:
        found = await asyncio.to_thread(service.retriever.search, body.query, body.retrieval())
        return {"object": "list", "data": [passage_object(passage) for passage in found]}

    def check_collection(collection: str | None) -> str | None:
        """Before anything is read: with a wrong one, no file would go in."""
        if collection is not None:
            service.library.check_collection(collection)
        return collection

    def take_in(upload: UploadFile, collection_id: str | None) -> dict[str, Any]:
        name = upload.filename or ""
        try:
            service.library.check_size(name, upload.size or 0)
            added = service.library.add(name, upload.file.read(), collection_id)
        except DocumentRejected as error:
            return {"name": name, "outcome": "rejected", "reason": str(error)}
        return {"name": name, "outcome": added.outcome, "document": document_object(added.document)}

    return router


def _fields(form: FormData) -> tuple[list[UploadFile], str | None]:
    uploads = [upload for upload in form.getlist(FILE_FIELD) if isinstance(upload, UploadFile)]
    collection = form.get(COLLECTION_FIELD)
    texts = [value for key, value in form.multi_items() if key == COLLECTION_FIELD and isinstance(value, str)]
    if not uploads or len(form.multi_items()) != len(uploads) + len(texts):
        raise InvalidRequest(f"allowed: one file or more as {FILE_FIELD!r}, and the id of a {COLLECTION_FIELD!r}")
    return uploads, str(collection) if texts else None


def document_object(document: Document) -> dict[str, Any]:
    return {"object": "document", **asdict(document)}


def collection_object(collection: Collection) -> dict[str, Any]:
    return {"object": "collection", **asdict(collection)}


def passage_object(passage: Passage) -> dict[str, Any]:
    return {"object": "passage", **passage.model_dump()}
