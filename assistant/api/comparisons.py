"""Comparisons over HTTP: one question in several columns, and sets of questions in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from starlette.datastructures import UploadFile

from assistant.api.connection import EventStream, Json, WholeAnswer
from assistant.api.owner import Owner
from assistant.api.upload import bounded_form
from assistant.background import in_background
from assistant.comparison.batch import Batches
from assistant.comparison.comparator import Comparator
from assistant.comparison.events import ComparisonDone, ComparisonStarted
from assistant.comparison.questions import Question, read_questions
from assistant.comparison.request import AskedReferences, ComparisonRequest, Setup
from assistant.comparison.results import as_object, averages, summary, table, to_csv, to_json_lines
from assistant.errors import InvalidRequest
from assistant.feedback.comparison_records import Batch
from assistant.messages import Frozen

MOST_LISTED = 100
QUESTION_FILE_BYTES = 8 * 1024 * 1024
ROWS_FORM = "allowed: a file 'file' (CSV or JSON lines), a text 'setup' (JSON), and a text 'name'"


class ComparisonBody(ComparisonRequest):
    references: AskedReferences = ()
    stream: bool = False

    def request(self) -> ComparisonRequest:
        return ComparisonRequest.model_validate({k: v for k, v in self.record().items() if k != "stream"})


class RowBody(Frozen):
    question: str
    references: AskedReferences = ()


class BatchBody(Setup):
    name: str = ""
    rows: Annotated[tuple[RowBody, ...], Field(min_length=1, max_length=5000)]

    def setup(self) -> Setup:
        return Setup.model_validate({k: v for k, v in self.record().items() if k not in ("name", "rows")})

    def questions(self) -> list[Question]:
        return [
            Question(number, row.question, row.references, None if row.question.strip() else "the question is empty")
            for number, row in enumerate(self.rows, 1)
        ]


class RewardsBody(Frozen):
    reward_by: str


Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]


def comparisons_router(comparator: Comparator, batches: Batches) -> APIRouter:
    router = APIRouter(prefix="/v1/comparisons", tags=["Comparisons"])
    store, kept = comparator.store, batches.store

    @router.post("")
    async def compare(body: ComparisonBody, owner: Owner) -> Response:
        if body.stream:
            return EventStream(chunks(body.request(), owner))
        return WholeAnswer(lambda: whole(body.request(), owner))

    @router.get("")
    async def listing(owner: Owner, limit: Limit = MOST_LISTED) -> Json:
        found = await asyncio.to_thread(store.comparisons, owner, limit)
        return {"object": "list", "data": [summary(one) for one in found]}

    @router.post("/batches", status_code=201)
    async def start_batch(request: Request, owner: Owner) -> Json:
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            name, questions, setup = await uploaded(request)
        else:
            body = validated(BatchBody.model_validate_json, await bounded_body(request))
            name, questions, setup = body.name, body.questions(), body.setup()
        batch_id = await batches.start_batch(owner, name, questions, setup)
        return batch_object(await asyncio.to_thread(kept.batch, batch_id, owner))

    @router.get("/batches")
    async def list_batches(owner: Owner, limit: Limit = MOST_LISTED) -> Json:
        found = await asyncio.to_thread(kept.batches, owner, limit)
        return {"object": "list", "data": [batch_object(one) for one in found]}

    @router.get("/batches/{batch_id}")
    async def show_batch(batch_id: str, owner: Owner) -> Json:
        return batch_object(await asyncio.to_thread(kept.batch, batch_id, owner))

    @router.get("/batches/{batch_id}/averages")
    async def batch_averages(batch_id: str, owner: Owner) -> Json:
        rows = await in_background(lambda: table(kept.rows(batch_id, owner)))
        return {"object": "list", "data": averages(rows)}

    @router.get("/batches/{batch_id}/results.csv")
    async def results_csv(batch_id: str, owner: Owner) -> Response:
        text = await in_background(lambda: to_csv(table(kept.rows(batch_id, owner))))
        return download(text, "text/csv; charset=utf-8", f"{batch_id}.csv")

    @router.get("/batches/{batch_id}/results.jsonl")
    async def results_jsonl(batch_id: str, owner: Owner) -> Response:
        text = await in_background(lambda: to_json_lines(kept.rows(batch_id, owner)))
        return download(text, "application/jsonl", f"{batch_id}.jsonl")

    @router.post("/batches/{batch_id}/cancel")
    async def cancel_batch(batch_id: str, owner: Owner) -> Json:
        await batches.cancel(batch_id, owner)
        return batch_object(await asyncio.to_thread(kept.batch, batch_id, owner))

    @router.post("/batches/{batch_id}/reveal")
    async def reveal_batch(batch_id: str, owner: Owner) -> Json:
        await asyncio.to_thread(kept.reveal, batch_id, owner)
        return batch_object(await asyncio.to_thread(kept.batch, batch_id, owner))

    @router.delete("/batches/{batch_id}")
    async def delete_batch(batch_id: str, owner: Owner) -> Json:
        await batches.delete(batch_id, owner)
        return {"id": batch_id, "object": "comparison.batch", "deleted": True}

    @router.get("/{comparison_id}")
    async def show(comparison_id: str, owner: Owner) -> Json:
        return await kept_object(comparison_id, owner)

    @router.post("/{comparison_id}/reveal")
    async def reveal(comparison_id: str, owner: Owner) -> Json:
        return await asyncio.to_thread(lambda: as_object(store.reveal(comparison_id, owner)))

    @router.post("/{comparison_id}/rewards")
    async def reward(comparison_id: str, body: RewardsBody, owner: Owner) -> Json:
        return await asyncio.to_thread(as_object, await comparator.judge(comparison_id, owner, body.reward_by))

    @router.delete("/{comparison_id}")
    async def delete(comparison_id: str, owner: Owner) -> Json:
        await asyncio.to_thread(store.delete, comparison_id, owner)
        return {"id": comparison_id, "object": "comparison", "deleted": True}

    async def kept_object(comparison_id: str, owner: str) -> Json:
        return await asyncio.to_thread(lambda: as_object(store.comparison(comparison_id, owner)))

    async def whole(request: ComparisonRequest, owner: str) -> Json:
        comparison_id = ""
        async with aclosing(comparator.run(request, owner)) as events:
            async for event in events:
                if isinstance(event, ComparisonStarted):
                    comparison_id = event.id
        return await kept_object(comparison_id, owner)

    async def chunks(request: ComparisonRequest, owner: str) -> AsyncGenerator[Json, None]:
        async with aclosing(comparator.run(request, owner)) as events:
            async for event in events:
                if isinstance(event, ComparisonDone):
                    yield {
                        "kind": event.kind,
                        "id": event.id,
                        "comparison": await kept_object(event.id, owner),
                    }
                else:
                    yield event.model_dump(mode="json")

    return router


async def uploaded(request: Request) -> tuple[str, list[Question], Setup]:
    """Name, questions and setup of a form. Raises InvalidRequest or DataError."""
    form = await bounded_form(request, QUESTION_FILE_BYTES, 2, InvalidRequest)
    try:
        file, setup, name = form.get("file"), form.get("setup"), form.get("name", "")
        extra = [key for key in form if key not in ("file", "setup", "name")]
        if extra or not isinstance(file, UploadFile) or not isinstance(setup, str) or not isinstance(name, str):
            wrong = f"unknown {', '.join(map(repr, extra))}; " if extra else ""
            raise InvalidRequest(f"{wrong}{ROWS_FORM}")
        title = name or file.filename or ""
        questions = await asyncio.to_thread(read_questions, await file.read(), file.filename or "")
        return title, questions, validated(Setup.model_validate_json, setup)
    finally:
        await form.close()


async def bounded_body(request: Request) -> bytes:
    """Raises InvalidRequest where there is more than a set of questions may hold."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > QUESTION_FILE_BYTES:
            raise InvalidRequest(f"the body is larger than {QUESTION_FILE_BYTES:,} bytes")
    return bytes(body)


def validated(read: Callable[[Any], Any], data: str | bytes) -> Any:
    """What is read, its errors told as those of a body."""
    try:
        return read(data)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


def batch_object(batch: Batch) -> Json:
    return {
        "id": batch.id,
        "object": "comparison.batch",
        "name": batch.name,
        "state": batch.state,
        "created_at": batch.created_at.isoformat(),
        "finished_at": batch.finished_at.isoformat() if batch.finished_at else None,
        "setup": batch.template,
        "rows": batch.rows,
        "done": batch.done,
        "failed": batch.failed,
    }


def download(text: str, media_type: str, name: str) -> Response:
    return Response(text, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
