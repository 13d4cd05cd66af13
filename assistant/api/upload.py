"""An uploaded file, on disk for as long as it is looked at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from assistant.background import in_background
from assistant.errors import AdapterTooLarge, InvalidRequest, SwapboardError

FILE_FIELD = "file"
NAME_FIELD = "name"
FORM_BYTES = 64 * 1024
"""What a form may hold besides the file itself."""


@asynccontextmanager
async def received(request: Request, max_bytes: int) -> AsyncIterator[tuple[Path, str]]:
    """The file of a multipart form, and the name its adapter shall have. Nothing stays on disk afterwards.

    Raises:
        AdapterTooLarge: the body is larger than `max_bytes`; the rest of it is not read.
        InvalidRequest: the body is no such form.
    """
    form = await bounded_form(request, max_bytes, 1, AdapterTooLarge)
    try:
        upload, name = form.get(FILE_FIELD), form.get(NAME_FIELD)
        extra = ", ".join(repr(key) for key in form if key not in (FILE_FIELD, NAME_FIELD))
        if extra or not isinstance(upload, UploadFile) or not isinstance(name, str | None):
            wrong = f"unknown {extra}; " if extra else ""
            raise InvalidRequest(f"{wrong}allowed: a file {FILE_FIELD!r} (a zip) and a text {NAME_FIELD!r}")
        with tempfile.TemporaryDirectory(prefix="swapboard-upload-") as folder:
            path = Path(folder) / "adapter.zip"
            await in_background(_copy, upload.file, path)
            yield path, name or Path(upload.filename or "").stem
    finally:
        await form.close()


async def bounded_form(
    request: Request,
    max_bytes: int,
    max_texts: int,
    too_large: Callable[[str], SwapboardError],
    max_files: int = 1,
) -> FormData:
    """A multipart form with up to so many files and texts; the caller closes it.

    Raises:
        SwapboardError: what `too_large` makes of a body larger than `max_bytes`; the rest of it is not read.
        InvalidRequest: the body is no such form.
    """
    limit = max_bytes + FORM_BYTES

    async def bounded() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise too_large(f"the upload is larger than {max_bytes:,} bytes")
            yield chunk

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequest("the body must be multipart/form-data")
    try:
        return await MultiPartParser(
            request.headers, bounded(), max_files=max_files, max_fields=max_texts, max_part_size=FORM_BYTES
        ).parse()
    except MultiPartException as error:
        raise InvalidRequest(f"the form cannot be read: {error.message}") from error


def _copy(source: BinaryIO, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)
