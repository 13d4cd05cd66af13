"""Errors as OpenAI's clients expect them: `{"error": {"message", "type", "param", "code"}}` and a true status."""

from __future__ import annotations

import reprlib
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from assistant.errors import QueueFull, SwapboardError, UnknownAdapter
from assistant.messages import Failed

OUR_PATHS = ("/v1/", "/healthz", "/readyz", "/metrics")

INTERNAL = "an internal error; the server's log says more"

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


class TurnFailed(Exception):
    """A turn ended in `Failed`, told as an error of the request."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


def error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    if status == 429:
        kind = "rate_limit_error"
    elif status < 500:
        kind = "invalid_request_error"
    else:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def body_of(error: SwapboardError | TurnFailed) -> dict[str, Any]:
    if isinstance(error, TurnFailed):
        failed = error.failed
        return error_body(failed.status, failed.code, failed.message, _param(failed.code))
    return error_body(error.status, error.code, str(error), _param(error.code))


def _param(code: str) -> str | None:
    return "model" if code == UnknownAdapter.code else None


def validation_body(error: RequestValidationError) -> dict[str, Any]:
    """The first thing wrong with a request: which field, what it was, what is allowed."""
    first = error.errors()[0]
    context = first.get("ctx", {})
    if first["type"] == "json_invalid":
        return error_body(400, "invalid_json", f"the body is no JSON: {context.get('error', first['msg'])}")
    steps = [str(step) for step in first["loc"][1:]]  # behind the part of the request: body, query or path
    steps += [context["field"]] if "field" in context else []
    param = ".".join(steps) or None
    message = str(context["error"]) if first["type"] == "value_error" else first["msg"]
    if first["type"] != "missing" and "field" not in context:
        message += f" (got {_repr.repr(first.get('input'))})"
    return error_body(400, "invalid_request", f"{param}: {message}" if param else message, param)


def install_error_handlers(app: FastAPI) -> None:
    """Paths that are not the API's keep the framework's own error pages."""

    @app.exception_handler(SwapboardError)
    async def tell_error(request: Request, error: SwapboardError) -> Response:
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, QueueFull) else None
        return JSONResponse(body_of(error), error.status, headers)

    @app.exception_handler(TurnFailed)
    async def tell_failed_turn(request: Request, error: TurnFailed) -> Response:
        retry_after = error.failed.retry_after
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
        return JSONResponse(body_of(error), error.failed.status, headers)

    @app.exception_handler(RequestValidationError)
    async def tell_invalid_request(request: Request, error: RequestValidationError) -> Response:
        if not is_ours(request):
            return await request_validation_exception_handler(request, error)
        return JSONResponse(validation_body(error), 400)

    @app.exception_handler(HTTPException)
    async def tell_http_error(request: Request, error: HTTPException) -> Response:
        if not is_ours(request):
            return await http_exception_handler(request, error)
        message = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(error_body(error.status_code, "http_error", message), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def tell_internal_error(request: Request, error: Exception) -> Response:
        # The server logs the error itself; what it says may name paths that are nobody else's business.
        if not is_ours(request):
            return PlainTextResponse("Internal Server Error", 500)
        return JSONResponse(error_body(500, SwapboardError.code, INTERNAL), 500)


def is_ours(request: Request) -> bool:
    return request.url.path.startswith(OUR_PATHS)
