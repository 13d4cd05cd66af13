"""For those who watch the server: is it alive, is it ready, what has it done."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from assistant.api.metrics import Metrics
from assistant.service import ChatService


def health_router(service: ChatService) -> APIRouter:
    router = APIRouter(tags=["Health"])
    metrics = Metrics(service.catalog, service.backend)
    service.listeners.append(metrics.hear)

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def ready(response: Response) -> dict[str, Any]:
        if not service.is_ready or service.has_failed:
            response.status_code = 503
            return {"status": "failed" if service.has_failed else "not ready"}
        backend = service.backend
        return {"status": "ready", "base": backend.base_name, "base_digest": backend.base_digest}

    @router.get("/metrics")
    async def measured() -> Response:
        return Response(await asyncio.to_thread(metrics.text), media_type=CONTENT_TYPE_LATEST)

    return router
