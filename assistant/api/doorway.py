"""What a request to the API passes before anything of it is looked at: whose page sent it, and how long it is.

There are no accounts, and a browser lets any web page send to 127.0.0.1: without this a page that somebody merely has
open could upload adapters and delete documents. Programs say nothing of pages and are let through.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.api.errors import body_of
from assistant.errors import BodyTooLarge, ForeignOrigin, SwapboardError

PREFIX = "/v1/"
HARMLESS = ("GET", "HEAD")
"""A page may send these, too, but it cannot read what comes back. OPTIONS is how a browser asks for permission."""

MOST_BYTES = 8 * 1024 * 1024
"""Of a body: 128 prompts of 8192 token ids each fit."""

FORMS = ("/v1/adapters", "/v1/documents", "/v1/comparisons/batches")
"""Where files come in as multipart forms: those have limits of their own."""

PORTS = {"http": 80, "https": 443}


class Doorway:
    """Refuses, under `/v1`, what the page of another site sends, and bodies of more than `MOST_BYTES`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX) and scope["method"] not in HARMLESS:
            headers = Headers(scope=scope)
            try:
                check_origin(headers)
                if not _is_form(scope["path"], headers):
                    receive = await _whole_body(headers, receive)
            except SwapboardError as error:
                return await JSONResponse(body_of(error), error.status)(scope, receive, send)
        return await self.app(scope, receive, send)


def check_origin(headers: Headers) -> None:
    """Raises ForeignOrigin where a browser says that the page of another site sends the request.

    `Sec-Fetch-Site` is the browser's own judgement; no page can set it. Where it is missing, as in old browsers and
    without TLS, or says "same-site", which other ports are as well, the page's address decides: it must be the one that
    the request was sent to, which a proxy passes on as `X-Forwarded-Host`.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none"):
        return
    if site != "cross-site" and (origin is None or _is_own(origin, headers)):
        return
    raise ForeignOrigin(
        f"the request comes from a page at {origin or 'another site'!r:.100}; allowed: pages of this server, "
        f"{headers.get('host', '')!r:.100}, and programs, which send no Origin"
    )


def _is_own(origin: str, headers: Headers) -> bool:
    try:
        page = urlsplit(origin)
        default = PORTS[page.scheme]
        address = (page.hostname, page.port or default)
        hosts = (headers.get("host", ""), headers.get("x-forwarded-host", "").partition(",")[0])
        sent_to = [urlsplit(f"//{host.strip()}") for host in hosts]
        return any(address == (host.hostname, host.port or default) for host in sent_to if host.hostname)
    except (KeyError, ValueError):  # "null", the origin of a page without one; a port that is no number
        return False


def _is_form(path: str, headers: Headers) -> bool:
    return path in FORMS and headers.get("content-type", "").startswith("multipart/form-data")


async def _whole_body(headers: Headers, receive: Receive) -> Receive:
    """Read the body; what comes back gives it again. Raises BodyTooLarge, without reading the rest."""
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told) > MOST_BYTES:
        raise BodyTooLarge(f"the body has {int(told):,} bytes; allowed: {MOST_BYTES:,}")
    chunks, size, more = list[Message](), 0, True
    while more:
        message = await receive()
        chunks.append(message)
        size += len(message.get("body", b""))
        more = message.get("more_body", False)  # of a client that has left nothing more will come, either
        if size > MOST_BYTES:
            raise BodyTooLarge(f"the body has more than {MOST_BYTES:,} bytes; allowed: {MOST_BYTES:,}")
    chunks.reverse()

    async def again() -> Message:
        return chunks.pop() if chunks else await receive()

    return again
