"""A real server on a free loopback port, and the real client."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
import uvicorn
from fastapi import FastAPI

from assistant.api.openai import install
from assistant.catalog import Adapter
from assistant.service import ChatService
from tests.fakes import EchoBackend, FolderIntake, fake_service, write_adapter

MAX_UPLOAD = 100_000


class ZipIntake(FolderIntake):
    """Takes folders and zips; remembers what it was handed and whether it could read it."""

    def __init__(self, catalog) -> None:
        super().__init__(catalog)
        self.handed: list[Path] = []

    def admit(self, source: Path, name: str | None = None) -> Adapter:
        self.handed.append(source)
        if name is not None:
            shutil.rmtree(self.catalog.folder / name, ignore_errors=True)
        if source.is_dir():
            return super().admit(source, name)
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(source) as archive:
            archive.extractall(folder)
            return super().admit(Path(folder), name)


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(5)
            server.force_exit = True  # a request that does not end shall fail its test, not hang all of them
            thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    adapters = tmp_path / "adapters"
    write_adapter(adapters / "mood", decoding={"temperature": 0, "max_tokens": 3})
    write_adapter(adapters / "sums", fill=0.25)
    return adapters


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., tuple[str, ChatService]]]:
    """Start a server over fakes; returns its address and its service."""
    with contextlib.ExitStack() as stack:

        def start(backend: EchoBackend | None = None) -> tuple[str, ChatService]:
            app, service = build(folder, backend)
            return stack.enter_context(serving(app)), service

        yield start


def build(folder: Path, backend: EchoBackend | None = None) -> tuple[FastAPI, ChatService]:
    """The API over fakes, with a page beside it that is not the API's."""
    service = fake_service(folder, backend)
    service.intake = ZipIntake(service.catalog)
    app = FastAPI()
    install(app, service, MAX_UPLOAD)

    @app.get("/page/{number}")
    async def page(number: int) -> int:
        return 1 // number

    return app, service


@pytest.fixture
def connect(serve) -> Iterator[Callable[..., openai.OpenAI]]:
    """Start a server and give a client of it; its service is the client's `service`."""
    with contextlib.ExitStack() as stack:

        def start(backend: EchoBackend | None = None) -> openai.OpenAI:
            url, service = serve(backend)
            client = stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0))
            client.service = service
            client.url = url
            return client

        yield start


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
