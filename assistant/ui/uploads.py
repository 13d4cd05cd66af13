"""Files on their way into the library. They belong to their visitor, not to the page that shows them.

So a refresh in the middle of an upload loses nothing: what the server has received goes in, one file after the other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from assistant.background import in_background
from assistant.errors import SwapboardError
from assistant.retrieval.library import Library
from assistant.retrieval.records import Added

log = logging.getLogger(__name__)

OPEN_FILES = 4096
"""Files the process may have open at once: the page sends a drop in requests of up to 1,000, each of whose files is open
until all of that request have come."""

LOOK = 0.2
"""Seconds between two looks at how far the files are."""

Outcome = Literal["added", "unchanged", "replaced", "rejected"]


def allow_open_files() -> None:
    """Raise the limit for open files, 1,024 on many systems, to `OPEN_FILES`, or as far as the system lets us."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    if wanted < OPEN_FILES:
        log.warning("the system allows %d open files: uploads of more files at once may fail", wanted)


@dataclass(frozen=True)
class Upload:
    """One file. `share` of it is done, in [0, 1]; `outcome` is None until it is over, `told` says what came of it."""

    name: str
    share: float = 0.0
    is_begun: bool = False
    outcome: Outcome | None = None
    told: str = ""

    @property
    def is_under_way(self) -> bool:
        return self.is_begun and self.outcome is None

    def ended(self, added: Added) -> Upload:
        count = added.document.passages
        told = {
            "added": f"added, {count} passage" + ("s" if count != 1 else ""),
            "unchanged": "unchanged: this very file is here already",
            "replaced": f"replaced the earlier version, {count} passage" + ("s" if count != 1 else ""),
        }
        return replace(self, share=1.0, outcome=added.outcome, told=told[added.outcome])


class UploadQueue:
    """One visitor's files, taken in one after the other. All methods must be called on one event loop."""

    def __init__(self, library: Library) -> None:
        self._library = library
        # A list, changed in place: the loop and the thread that takes a file in both write to it.
        self._uploads: list[Upload] = []
        self._waiting: list[tuple[int, Path, str]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def uploads(self) -> tuple[Upload, ...]:
        return tuple(self._uploads)

    @property
    def is_over(self) -> bool:
        return self._task is None or self._task.done()

    def add(self, files: Sequence[Path], collection_id: str) -> None:
        """Take in `files`, after those under way; what came of earlier ones is forgotten once all are over."""
        if self.is_over:
            self._uploads = []
            self._folder = TemporaryDirectory(prefix="swapboard-uploads-")
        first = len(self._uploads)
        self._uploads += [Upload(path.name) for path in files]
        own = [_linked(path, Path(self._folder.name)) for path in files]
        # The page has no more use for its own copies, which others could ask it for.
        for path in files:
            path.unlink(missing_ok=True)
        self._waiting += [(first + index, path, collection_id) for index, path in enumerate(own)]
        if self.is_over:
            self._task = asyncio.create_task(self._run())

    async def changes(self) -> AsyncIterator[tuple[Upload, ...]]:
        """The files as they are now and after every change, until all are over."""
        shown = None
        while True:
            is_last = self.is_over
            uploads = self.uploads
            if uploads != shown:
                shown = uploads
                yield shown
            if is_last:
                return
            await asyncio.sleep(LOOK)

    async def _run(self) -> None:
        with self._folder:
            while self._waiting:
                index, path, collection_id = self._waiting.pop(0)
                self._uploads[index] = replace(self._uploads[index], is_begun=True)
                self._uploads[index] = await in_background(self._take_in, index, path, collection_id)

    def _take_in(self, index: int, path: Path, collection_id: str) -> Upload:
        upload = self._uploads[index]

        def progress(share: float) -> None:
            self._uploads[index] = replace(upload, share=min(max(share, 0.0), 1.0))

        try:
            return upload.ended(self._library.add(upload.name, path.read_bytes(), collection_id, progress))
        except SwapboardError as error:
            # The reason begins with the name, which stands beside it on the page.
            told = str(error).removeprefix(f"{upload.name}: ")
        except Exception as error:  # nobody awaits this file's end, so whoever looks is told here
            log.exception("a document was given up after an unexpected error")
            told = f"unexpected error: {type(error).__name__}"
        finally:
            path.unlink(missing_ok=True)
        return replace(upload, outcome="rejected", told=told)


def _linked(path: Path, folder: Path) -> Path:
    """A name of its own for a file. The page names files by their content, so that equal ones have one path.

    A file that is gone stays so: it is told of when its turn comes.
    """
    own = folder / uuid.uuid4().hex
    try:
        os.link(path, own)
    except FileNotFoundError:
        pass
    except OSError:  # on another file system, or one without links
        shutil.copyfile(path, own)
    return own
