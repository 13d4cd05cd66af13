"""OpenAI's endpoints: chat, raw text, and the list of models."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Response

from assistant.api.adapters import adapters_router
from assistant.api.answers import Writer
from assistant.api.connection import EventStream, WholeAnswer
from assistant.api.documents import documents_router
from assistant.api.doorway import Doorway
from assistant.api.errors import install_error_handlers
from assistant.api.health import health_router
from assistant.api.schema import ChatBody, CompletionBody
from assistant.api.scores import scores_router
from assistant.catalog import Adapter
from assistant.merge import AT_ONCE
from assistant.messages import AUTO, BASE
from assistant.service import ChatService

FINGERPRINT_LENGTH = 12
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def install(app: FastAPI, service: ChatService, max_upload_bytes: int, *others: APIRouter) -> None:
    """Put the whole API on the app. It takes all of `/v1`; call it before anything is mounted at `/`.

    `others` are routers for what stands beside the service.
    """
    install_error_handlers(app)
    app.add_middleware(Doorway)
    app.include_router(openai_router(service))
    app.include_router(adapters_router(service, max_upload_bytes))
    app.include_router(documents_router(service))
    app.include_router(scores_router(service))
    app.include_router(health_router(service))
    for router in others:
        app.include_router(router)

    # What is mounted at `/` would answer for these with a page of its own.
    @app.api_route("/v1/{path:path}", methods=METHODS, include_in_schema=False)
    async def nothing_else(path: str) -> Response:
        raise HTTPException(404, "no such endpoint or method")


def openai_router(service: ChatService) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    started = int(time.time())

    def fingerprint() -> str:
        return service.backend.base_digest[:FINGERPRINT_LENGTH]

    @router.post("/chat/completions")
    async def chat(body: ChatBody) -> Response:
        request = body.request()
        writer = Writer("chat", body.model, fingerprint())
        if body.stream:
            return EventStream(writer.chunks([service.reply(request)], body.includes_usage))
        return WholeAnswer(lambda: writer.whole([service.reply(request)]))

    @router.post("/completions")
    async def complete(body: CompletionBody) -> Response:
        requests = body.requests()
        at_once = min(AT_ONCE, service.backend.max_batch)
        writer = Writer("text", body.model, fingerprint(), at_once=at_once)
        if body.stream:
            return EventStream(writer.chunks([service.complete(one) for one in requests], body.includes_usage))
        return WholeAnswer(lambda: writer.whole([service.complete(one) for one in requests]))

    @router.get("/models")
    async def models() -> dict[str, Any]:
        adapters = await asyncio.to_thread(service.catalog.adapters)
        usable = [model_of_adapter(adapter) for adapter in adapters if adapter.is_usable]
        return {"object": "list", "data": [*general_models(), *usable]}

    @router.get("/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        for one in general_models():
            if one["id"] == name:
                return one
        return model_of_adapter(await asyncio.to_thread(service.catalog.get, name))

    def general_models() -> list[dict[str, Any]]:
        base = service.backend.base_name
        return [model_object(BASE, root=base, parent=None), model_object(AUTO, root=base, parent=None)]

    def model_of_adapter(adapter: Adapter) -> dict[str, Any]:
        return model_object(adapter.name, root=f"{adapter.folder.name}@{adapter.digest}", parent=BASE)

    def model_object(name: str, root: str, parent: str | None) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": started,
            "owned_by": "swapboard",
            "root": root,
            "parent": parent,
            "max_model_len": service.backend.context_length,
        }

    return router
