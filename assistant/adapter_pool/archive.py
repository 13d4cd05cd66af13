"""Zips from strangers: opened without trusting a single name or size they state."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from assistant.catalog import CARD_FILE, CONFIG_FILE, README_FILE, WEIGHTS_FILE
from assistant.errors import AdapterRejected

KEPT_FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, README_FILE)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
MOST_MEMBERS = 1000
READ_BYTES = 1024 * 1024


def unpack(archive: Path, target: Path, max_bytes: int) -> None:
    """Write the adapter's own files from a zip into `target`; others are left out.

    The files may lie at the top or together in one folder.

    Raises:
        AdapterRejected: no zip, an unsafe or doubled member, a pickle, or more than `max_bytes` unpacked.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _members(zipped)
            left = max_bytes
            for name, info in members.items():
                left = _extract(zipped, info, target / name, left, max_bytes)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise AdapterRejected(f"{archive.name} cannot be read as a zip: {error}") from error


def check_file_name(name: str) -> None:
    """Raises AdapterRejected for a pickle: reading one runs whatever code it holds."""
    if name.lower().endswith(PICKLES):
        raise AdapterRejected(f"{name!r} is a pickle; only {WEIGHTS_FILE} is taken")


def _members(zipped: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The kept files by their plain name."""
    infos = zipped.infolist()
    if len(infos) > MOST_MEMBERS:
        raise AdapterRejected(f"the zip has {len(infos)} members; allowed: {MOST_MEMBERS}")
    found: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        path = PurePosixPath(info.filename)
        windows = PureWindowsPath(info.filename)
        if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
            raise AdapterRejected(f"the zip names {info.filename!r}; allowed: relative paths without '..'")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise AdapterRejected(f"the zip holds a symbolic link, {info.filename!r}")
        check_file_name(path.name)
        if info.is_dir() or path.name not in KEPT_FILES:
            continue
        if path.name in found:
            raise AdapterRejected(f"the zip holds {path.name} twice; allowed: one adapter in a zip")
        found[path.name] = info
        folders.add(path.parent)
    if len(folders) > 1:
        raise AdapterRejected(f"the adapter's files lie in {len(folders)} folders; allowed: one")
    return found


def _extract(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, left: int, max_bytes: int) -> int:
    """Unpack one member, counting what really comes out; returns the bytes still allowed."""
    with zipped.open(info) as source, target.open("xb") as sink:
        while chunk := source.read(READ_BYTES):
            left -= len(chunk)
            if left < 0:
                raise AdapterRejected(f"the adapter unpacks to more than {max_bytes} bytes")
            sink.write(chunk)
    return left
