"""The door of the adapters folder: what comes in is checked first and appears whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel

from assistant.adapter_pool import archive, convert
from assistant.adapter_pool.loader import Loader, check_finite, read_tensors
from assistant.adapter_pool.revisions import DOOMED_PREFIX, FOLDER, Revision, Revisions
from assistant.catalog import (
    SERVED_TYPES,
    WEIGHTS_FILE,
    Adapter,
    Catalog,
    add_to_card,
    check_name,
    read_adapter,
)
from assistant.errors import AdapterBroken, AdapterError, AdapterRejected, UnknownAdapter

log = logging.getLogger(__name__)

STAGING_PREFIX = ".incoming-"
STALE_AFTER = 3600.0
"""Seconds after which nobody works on a staging folder any more; a younger one may be another server's."""


class Intake:
    """Admits adapters into a catalogue, and deletes them.

    Args:
        fresh_base: gives a float32 copy of the base for converting; called only when one is needed.
        max_bytes: most bytes of an adapter, unpacked.
    """

    def __init__(
        self, catalog: Catalog, loader: Loader, fresh_base: Callable[[], PreTrainedModel], max_bytes: int
    ) -> None:
        self.catalog = catalog
        self._revisions = Revisions(catalog.folder)
        self._loader = loader
        self._fresh_base = fresh_base
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._converting = threading.Lock()

    def admit(self, source: Path, name: str | None = None) -> Adapter:
        """Take in a zip or a folder, as `name` or under its own. An adapter of that name is replaced, and kept
        as an earlier revision.

        Raises:
            AdapterRejected: it cannot be served; says why. Nothing of it is kept.
        """
        name = name or (source.name if source.is_dir() else source.stem)
        check_name(name)
        self.catalog.folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=self.catalog.folder))
        try:
            folder = staging / name
            folder.mkdir()
            if source.is_dir():
                self._copy(source, folder)
            elif source.is_file():
                archive.unpack(source, folder, self._max_bytes)
            else:
                raise AdapterRejected(f"no file or folder {str(source)!r}; allowed: a zip or a PEFT folder")
            self._check(folder)
            with self._lock:
                self._revisions.swap_in(name, folder)
        except AdapterRejected:
            raise
        except (AdapterError, OSError) as error:
            raise AdapterRejected(f"adapter {name!r} is refused: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return self.catalog.get(name)

    def revisions(self, name: str) -> list[Revision]:
        """The earlier revisions that are kept, newest first. Raises UnknownAdapter."""
        self._check_known(name)
        return self._revisions.kept(name)

    def revert(self, name: str, digest: str | None = None) -> Adapter:
        """Serve the newest of the earlier revisions again, or the one of that digest; today's is kept in its place.

        Raises:
            UnknownAdapter: there is no such adapter; a broken one may well have revisions.
            NotFound: there is no such revision; says which are kept.
            AdapterBroken: the base has changed since, and the revision does not fit it.
        """
        with self._lock:
            self._check_known(name)
            revision = self._revisions.find(name, digest)
            self._loader.load(revision.adapter)
            self._revisions.swap_in(name, revision.adapter.folder)
        return self.catalog.get(name)

    def recover(self) -> None:
        """Call at the start: put back what a kill in the middle of a swap left without its place, and clear away what
        was being taken in or deleted."""
        with self._lock:
            for name in self._revisions.recover():
                log.warning("the swap of adapter %r was cut off; what was served before is served again", name)
        folder = self.catalog.folder
        for left in (*folder.glob(f"{STAGING_PREFIX}*"), *(folder / FOLDER).glob(f"{DOOMED_PREFIX}*")):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_AFTER:
                    shutil.rmtree(left)

    def delete(self, name: str) -> None:
        """Remove a folder with its earlier revisions, broken ones included. Raises UnknownAdapter."""
        with self._lock:
            self._check_known(name)
            doomed = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=self.catalog.folder))
            try:
                self._revisions.take_out(name, doomed)
            finally:
                shutil.rmtree(doomed, ignore_errors=True)

    def _check_known(self, name: str) -> None:
        """Broken ones included. Raises UnknownAdapter."""
        if name not in {adapter.name for adapter in self.catalog.adapters()}:
            raise UnknownAdapter(f"no adapter named {name!r}")

    def _copy(self, source: Path, folder: Path) -> None:
        total = 0
        for path in sorted(source.iterdir()):
            archive.check_file_name(path.name)
            if path.name not in archive.KEPT_FILES:
                continue
            if path.is_symlink() or not path.is_file():
                raise AdapterRejected(f"{path.name} is no plain file")
            total += path.stat().st_size
            if total > self._max_bytes:
                raise AdapterRejected(f"the adapter takes more than {self._max_bytes} bytes")
            shutil.copyfile(path, folder / path.name)

    def _check(self, folder: Path) -> None:
        """Everything that serving will need, before the folder is seen by anyone."""
        adapter = read_adapter(folder)
        if adapter.error is not None and adapter.type in ("?", *SERVED_TYPES):
            raise AdapterBroken(adapter.error)
        if adapter.type not in SERVED_TYPES:
            check_finite(read_tensors(folder / WEIGHTS_FILE))
            # One at a time: each takes a float32 base of its own, and several could take more memory than there is.
            with self._converting:
                conversion = convert.convert(folder, self._fresh_base())
            add_to_card(folder, "conversion", conversion.model_dump())
            adapter = read_adapter(folder)
        self._loader.load(adapter)
