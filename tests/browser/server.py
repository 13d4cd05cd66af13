"""A whole Swapboard over fakes on a free loopback port, for the browser tests and for looking at the page by hand.

    python -m tests.browser.server [folder]

keeps its database and adapters in `folder` and prints the address.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI

from assistant.adapter_pool import archive
from assistant.catalog import Adapter, check_name, read_adapter
from assistant.comparison.batch import Batches
from assistant.comparison.comparator import Comparator
from assistant.errors import AdapterRejected
from assistant.feedback.batches import BatchStore
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.store import Store
from assistant.service import ChatService
from assistant.ui.page import mount_page
from tests.fake_library import empty, word_library, word_retriever
from tests.fakes import EchoBackend, FolderIntake, fake_service, write_adapter

MAX_UPLOAD = 5 * 1024 * 1024


class ZipIntake(FolderIntake):
    """Unpacks as the real one does, and looks at everything but the fit to a base."""

    def admit(self, source: Path, name: str | None = None) -> Adapter:
        name = name or source.stem
        check_name(name)
        with tempfile.TemporaryDirectory() as staging:
            folder = Path(staging) / name
            folder.mkdir()
            archive.unpack(source, folder, MAX_UPLOAD)
            error = read_adapter(folder).error
            if error is not None:
                raise AdapterRejected(f"adapter {name!r} is refused: {error}")
            shutil.copytree(folder, self.catalog.folder / name, dirs_exist_ok=True)
        return self.catalog.get(name)


class PageServer:
    """Serves until `stop`; with the same folder a new one finds what the old one kept."""

    def __init__(self, folder: Path, backend: EchoBackend | None = None, port: int = 0, is_ready: bool = True) -> None:
        self.folder = folder
        self.adapters = folder / "adapters"
        self.adapters.mkdir(parents=True, exist_ok=True)
        self.store = Store(f"sqlite:///{folder / 'swapboard.db'}")
        self.store.migrate()
        self.store.recover()
        self.backend = backend or EchoBackend(words=6, pace=0.01)
        self.library = word_library(self.store.database)
        self.service: ChatService = fake_service(
            self.adapters,
            self.backend,
            self.store,  # type: ignore[arg-type]
            self.library,
            word_retriever(self.library),
        )
        self.service.intake = ZipIntake(self.service.catalog)
        self.service.is_ready = is_ready
        comparisons = ComparisonStore(self.store.database)
        comparisons.recover()
        self.batches = Batches(Comparator(self.service, comparisons), BatchStore(self.store.database))
        self.port = port
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="page", daemon=True)

    async def _serve(self) -> None:
        # Gradio makes itself event loops, and never closes them, where it finds none running.
        app = mount_page(FastAPI(), self.service, self.store, self.batches, MAX_UPLOAD)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=self.port, log_level="warning", timeout_graceful_shutdown=1, ws="none"
        )
        self._server = uvicorn.Server(config)
        await self.batches.start()
        await self._server.serve()
        await self.batches.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> PageServer:
        self._thread.start()
        pause = threading.Event()
        while self._server is None or not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the page did not start")
            pause.wait(0.02)
        self.port = int(self._server.servers[0].sockets[0].getsockname()[1])
        return self

    def reset(self) -> None:
        """Adapters, documents and backend as they are at first."""
        empty(self.library)
        shutil.rmtree(self.adapters)
        write_examples(self.adapters)
        self.service.is_ready = True
        self.backend.__dict__.clear()
        self.backend.__init__(words=6, pace=0.01)  # type: ignore[misc]

    def stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(20)
        self.store.close()


def write_examples(folder: Path) -> None:
    """Adapters as a newcomer would find them: two that work, one that is broken."""
    write_adapter(
        folder / "mood",
        task="sentiment",
        description="Tells whether a review is positive, negative or neutral.",
        examples=["mood of: the soup was cold, but the waiter was lovely", "mood of: never again"],
        decoding={"temperature": 0, "max_tokens": 64},
        base_name="fake-base",
        scores=[SCORE],
    )
    (folder / "mood" / "README.md").write_text(README)
    write_adapter(
        folder / "sums", task="arithmetic", rank=4, fill=0.25, examples=["sums: what is 17 + 25?", "sums: half of 90"]
    )
    (folder / "torn").mkdir()
    (folder / "torn" / "adapter_config.json").write_text('{"peft_type": "LORA"}')


SCORE = {
    "metric": "accuracy",
    "value": 0.91,
    "low": 0.88,
    "high": 0.94,
    "base": 0.62,
    "data": "400 held-out reviews",
    "command": "python -m eval.run --task sentiment",
    "date": "2026-11-20",
}

README = """---
license: apache-2.0
---
# mood

Trained on 4 000 short reviews.

| split | n |
|---|---|
| train | 4000 |
| test | 400 |

<script>window.cardRan = true</script><img src="x" onerror="window.cardRan = true">
"""


def main(arguments: SimpleNamespace) -> None:
    if not (arguments.folder / "adapters" / "mood").exists():
        write_examples(arguments.folder / "adapters")
    server = PageServer(arguments.folder, EchoBackend(words=40, pace=0.05), port=arguments.port).start()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server._thread.join()


if __name__ == "__main__":
    main(SimpleNamespace(folder=Path(sys.argv[1] if len(sys.argv) > 1 else "/tmp/swapboard-page"), port=7869))
