"""Earlier revisions of adapters, kept beside the catalogue so that there is a way back.

`adapters/.revisions/NAME/0003-20260131T120000Z-<digest>`: a count, the moment it was replaced, and the beginning of its
digest. The catalogue passes over folders that begin with a dot. No weights are read here.

A swap is two renames: what is there goes to the kept ones, then the new folder takes its name. Killed between the two,
the newest of the kept ones is what was served; `recover` puts it back. So nothing is ever in no place.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from assistant.catalog import Adapter, read_adapter
from assistant.errors import NotFound

FOLDER = ".revisions"
MOST_KEPT = 3
"""Earlier revisions of one adapter; of more the oldest goes."""

DOOMED_PREFIX = ".doomed-"

MOMENT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Revision:
    """What an adapter was before; `adapter.folder` is where it is kept."""

    adapter: Adapter
    replaced_at: datetime

    @property
    def digest(self) -> str:
        return self.adapter.digest


class Revisions:
    """The kept revisions of one adapters folder. Changes are made under the lock of whoever owns the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def kept(self, name: str) -> list[Revision]:
        """Newest first; without what cannot be used."""
        found = []
        for place in reversed(self._places(name)):
            adapter = read_adapter(place)
            if adapter.is_usable:
                moment = datetime.strptime(place.name.split("-")[1], MOMENT).replace(tzinfo=UTC)
                found.append(Revision(replace(adapter, name=name), moment))
        return found

    def find(self, name: str, digest: str | None = None) -> Revision:
        """The newest, or the one whose digest begins with `digest`. Raises NotFound, and says which there are."""
        kept = self.kept(name)
        for revision in kept:
            if digest is None or (digest and revision.digest.startswith(digest)):
                return revision
        asked = "earlier revision" if digest is None else f"earlier revision {digest!r}"
        known = ", ".join(revision.digest[:12] for revision in kept) or "none"
        raise NotFound(f"adapter {name!r} has no {asked}; kept: {known}")

    def swap_in(self, name: str, folder: Path) -> None:
        """Let `folder`, on the same file system, take the place of the adapter `name`; what was there is kept.

        Raises:
            OSError: the disk refuses; what was served before is served on.
        """
        target = self.folder / name
        if target.exists():
            target.rename(self._next_place(name, read_adapter(target).digest))
        try:
            folder.rename(target)
        except OSError:
            self._put_back(name)
            raise
        # What cannot be removed now is surplus at the next swap again.
        with contextlib.suppress(OSError):
            self._prune(name)

    def take_out(self, name: str, target: Path) -> None:
        """Move the adapter `name` and its kept revisions into the folder `target`, on the same file system.

        Raises:
            OSError: the disk refuses; all stays as it was.
        """
        kept, aside = self.folder / FOLDER / name, target / FOLDER
        # The revisions first: left behind by a kill, the newest would be served at the next start.
        if kept.exists():
            kept.rename(aside)
        try:
            (self.folder / name).rename(target / name)
        except OSError:
            if aside.exists():
                aside.rename(kept)
            raise

    def recover(self) -> list[str]:
        """Call at the start: put back what a kill left without its place; returns the names."""
        names = [place.name for place in sorted((self.folder / FOLDER).glob("*")) if not place.name.startswith(".")]
        return [name for name in names if not (self.folder / name).exists() and self._put_back(name)]

    def _put_back(self, name: str) -> bool:
        places = self._places(name)
        if places:
            places[-1].rename(self.folder / name)
        return bool(places)

    def _places(self, name: str) -> list[Path]:
        """Oldest first."""
        return sorted((self.folder / FOLDER / name).glob("[0-9]*"), key=_count)

    def _next_place(self, name: str, digest: str) -> Path:
        places = self._places(name)
        count = _count(places[-1]) + 1 if places else 1
        (self.folder / FOLDER / name).mkdir(parents=True, exist_ok=True)
        moment = datetime.now(UTC).strftime(MOMENT)
        return self.folder / FOLDER / name / f"{count:04d}-{moment}-{digest[:12] or 'broken'}"

    def _prune(self, name: str) -> None:
        """Keep the newest few, each content once and not that which is served; nothing broken."""
        seen = {read_adapter(self.folder / name).digest}
        surplus = []
        for place in reversed(self._places(name)):
            adapter = read_adapter(place)
            if not adapter.is_usable or adapter.digest in seen or len(seen) > MOST_KEPT:
                surplus.append(place)
            seen.add(adapter.digest)
        self._remove(surplus)

    def _remove(self, places: list[Path]) -> None:
        """Out of sight at once, then off the disk."""
        if not places:
            return
        doomed = Path(tempfile.mkdtemp(prefix=DOOMED_PREFIX, dir=self.folder / FOLDER))
        for place in places:
            place.rename(doomed / place.name)
        shutil.rmtree(doomed)


def folder_of(adapter: Adapter) -> Path:
    """Where a listed revision lies now: in its folder, or among the kept ones once another has taken its place."""
    kept = (adapter.folder.parent / FOLDER / adapter.name).glob(f"[0-9]*-{adapter.digest[:12]}")
    return max(kept, key=_count, default=adapter.folder)


def _count(place: Path) -> int:
    return int(place.name.split("-")[0])
