"""Adapters over HTTP: vLLM's load and unload, and upload, list, pin and delete of our own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from assistant.adapter_pool.revisions import Revision
from assistant.api.schema import LoadBody, PinBody, RevertBody, UnloadBody
from assistant.api.upload import received
from assistant.catalog import check_name
from assistant.errors import AdapterConflict, InvalidRequest, UnknownAdapter
from assistant.service import AdapterStatus, ChatService


def adapters_router(service: ChatService, max_upload_bytes: int) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Adapters"])

    @router.post("/load_lora_adapter")
    async def load(body: LoadBody) -> PlainTextResponse:
        source = Path(body.lora_path) if body.lora_path is not None else None
        if source is not None and not await asyncio.to_thread(is_own_folder, body.lora_name, source):
            await take_in(body.lora_name, source, body.load_inplace)
        await service.load_adapter(body.lora_name)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    @router.post("/unload_lora_adapter")
    async def unload(body: UnloadBody) -> PlainTextResponse:
        await service.unload_adapter(body.lora_name)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    @router.get("/adapters")
    async def listing() -> dict[str, Any]:
        statuses = await asyncio.to_thread(service.adapters)
        return {"object": "list", "data": [status_object(status) for status in statuses]}

    @router.post("/adapters", status_code=201)
    async def upload(request: Request) -> dict[str, Any]:
        async with received(request, max_upload_bytes) as (file, name):
            adapter = await service.upload_adapter(file, name)
        return await one(adapter.name)

    @router.post("/adapters/{name}/pin")
    async def pin(name: str, body: PinBody) -> dict[str, Any]:
        await service.pin_adapter(name, body.pinned)
        return await one(name)

    @router.get("/adapters/{name}/revisions")
    async def revisions(name: str) -> dict[str, Any]:
        return {"object": "list", "data": [revision_object(one) for one in await service.revisions(name)]}

    @router.post("/adapters/{name}/revert")
    async def revert(name: str, body: RevertBody) -> dict[str, Any]:
        await service.revert_adapter(name, body.digest)
        return await one(name)

    @router.delete("/adapters/{name}")
    async def delete(name: str) -> dict[str, Any]:
        await service.delete_adapter(name)
        return {"id": name, "object": "adapter", "deleted": True}

    def is_own_folder(name: str, source: Path) -> bool:
        check_name(name)
        return source.resolve() == (service.catalog.folder / name).resolve()

    async def take_in(name: str, source: Path, replaces: bool) -> None:
        if not await asyncio.to_thread(source.exists):
            raise InvalidRequest(
                f"lora_path {str(source)!r} is not there; allowed: a folder or zip on the server, nothing is downloaded"
            )
        if not replaces and await asyncio.to_thread((service.catalog.folder / name).exists):
            raise AdapterConflict(f"adapter {name!r} exists already; send load_inplace: true to replace it")
        await service.upload_adapter(source, name)

    async def one(name: str) -> dict[str, Any]:
        for status in await asyncio.to_thread(service.adapters):
            if status.adapter.name == name:
                return status_object(status)
        raise UnknownAdapter(f"adapter {name!r} was deleted meanwhile")

    return router


def revision_object(revision: Revision) -> dict[str, Any]:
    adapter = revision.adapter
    return {
        "object": "adapter.revision",
        "digest": adapter.digest,
        "replaced_at": revision.replaced_at.isoformat(),
        "type": adapter.type,
        "rank": adapter.rank,
        "bytes": adapter.nbytes,
        "description": adapter.card.description,
        "scores": [score.model_dump(mode="json") for score in adapter.card.scores],
        "gate": adapter.card.gate.model_dump(mode="json") if adapter.card.gate else None,
    }


def status_object(status: AdapterStatus) -> dict[str, Any]:
    adapter, residency = status.adapter, status.residency
    return {
        "id": adapter.name,
        "object": "adapter",
        "state": status.state,
        "type": adapter.type,
        "rank": adapter.rank,
        "bytes": adapter.nbytes,
        "digest": adapter.digest or None,
        "task": adapter.card.task,
        "description": adapter.card.description,
        "scores": [score.model_dump(mode="json") for score in adapter.card.scores],
        "gate": adapter.card.gate.model_dump(mode="json") if adapter.card.gate else None,
        "pinned": residency.pinned if residency else False,
        "leases": residency.leases if residency else 0,
        "resident_bytes": residency.nbytes if residency else 0,
        "error": adapter.error or (residency.error if residency else None),
    }
