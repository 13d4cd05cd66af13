"""Preferences from a file: those that were exported here, or anyone's in the same formats."""

from __future__ import annotations

from pathlib import Path

from assistant.errors import DataError
from assistant.feedback.formats import FILE_TYPES, FORMATS, FileType, Format, Row, read


def read_file(path: Path, format: Format) -> list[Row]:
    """The rows of a file; its ending tells the file type.

    Raises:
        DataError: the file cannot be read, has another ending, or a row is wrong; says which line and what is allowed.
    """
    if format not in FORMATS:
        raise DataError(f"format {format!r}; allowed: {', '.join(FORMATS)}")
    try:
        with path.open("rb") as source:
            return read(source, format, file_type_of(path), path.name)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def file_type_of(path: Path) -> FileType:
    """Raises DataError for an ending that names none."""
    for file_type in FILE_TYPES:
        if path.suffix.lower() == f".{file_type}":
            return file_type
    raise DataError(f"{path.name}: ending {path.suffix!r}; allowed: {', '.join(f'.{one}' for one in FILE_TYPES)}")
