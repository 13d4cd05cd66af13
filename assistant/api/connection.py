"""Answers that are computed only for as long as the client is there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from assistant.api.errors import INTERNAL, TurnFailed, body_of, error_body
from assistant.errors import SwapboardError

log = logging.getLogger(__name__)

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"


class WholeAnswer(Response):
    """JSON that takes a while to compute. What `compute` raises becomes the answer's error."""

    def __init__(self, compute: Callable[[], Awaitable[Json]]) -> None:
        super().__init__()
        self.compute = compute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def respond() -> None:
            await JSONResponse(await self.compute())(scope, receive, send)

        await while_connected(receive, respond())


class EventStream(Response):
    """Server-sent events, each sent as soon as it is there.

    The status is sent with the first chunk, so an error before it still gets a status of its own.
    An error after it is sent as an event, and the stream ends without `[DONE]`.
    """

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[Json, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._respond(send))

    async def _respond(self, send: Send) -> None:
        async with aclosing(self.chunks) as chunks:
            first = await anext(chunks)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _write(send, line(first))
            try:
                async for chunk in chunks:
                    await _write(send, line(chunk))
                end = DONE
            except (SwapboardError, TurnFailed) as error:
                end = line(body_of(error))
            except Exception:
                # The 200 is out already: all that is left is to say so, to the client and in the log.
                log.exception("a stream broke off")
                end = line(error_body(500, SwapboardError.code, INTERNAL))
            await _write(send, end)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def line(chunk: Json) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


async def _write(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`; when the client leaves first, cancel it and wait until it has let go of everything."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_leave(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _leave(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
