"""Sets of questions, pasted or uploaded: CSV, JSON lines, or one question on each line.

CSV has a column `question`; every column whose name begins with `reference` or `answer` holds an accepted answer, and
empty cells are none. JSON lines have `question`, and `references` (a text or a list of texts) where there are any;
`reference`, `answer` and `answers` mean the same.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from assistant.errors import DataError

MOST_ROWS = 5000

QUESTION = "question"
REFERENCES = ("references", "reference", "answers", "answer")


@dataclass(frozen=True)
class Question:
    """One row; `line` is where it begins in the file, `error` why it cannot be asked."""

    line: int
    text: str
    references: tuple[str, ...] = ()
    error: str | None = None


def read_questions(data: str | bytes, name: str = "") -> list[Question]:
    """The rows in order. The format goes by the ending of `name`, or else by how the text begins.

    A row that is wrong comes with its error, so that the others can go on.

    Raises:
        DataError: the whole of it cannot be read, names no question, or has too many rows; names file and line.
    """
    name = name or "the pasted questions"
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    rows: list[Question] = []
    for row in _reader(text, name)(text, name):
        if len(rows) == MOST_ROWS:
            raise DataError(f"{name}, line {row.line}: more than {MOST_ROWS:,} questions; cut it into several files")
        rows.append(row)
    if not rows:
        raise DataError(f"{name} holds no questions")
    if all(row.error for row in rows):
        raise DataError(f"{name}: no row can be asked; line {rows[0].line}: {rows[0].error}")
    return rows


def _reader(text: str, name: str) -> Any:
    ending = PurePath(name).suffix.lower()
    if ending in (".csv", ".tsv"):
        return _read_csv
    if ending in (".jsonl", ".ndjson", ".json") or text.lstrip().startswith("{"):
        return _read_json_lines
    header = text.lstrip().split("\n", 1)[0]
    cells = [cell.strip().strip('"').lower() for cell in header.split(_delimiter(header))]
    return _read_csv if QUESTION in cells else _read_lines


def _read_lines(text: str, name: str) -> Iterator[Question]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield Question(number, line.strip())


def _read_json_lines(text: str, name: str) -> Iterator[Question]:
    # Not `splitlines`, which also cuts at separators that JSON allows inside a text.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _from_json(number, line)


def _from_json(number: int, line: str) -> Question:
    try:
        row = json.loads(line)
    except ValueError as error:
        return Question(number, "", error=f"no JSON: {error}")
    if not isinstance(row, dict):
        return Question(number, "", error=f"allowed: an object, not {type(row).__name__}")
    question = row.get(QUESTION)
    text = question if isinstance(question, str) else ""
    # JSON can write half of a character, which no database takes.
    shown = text.encode(errors="replace").decode()
    if unknown := [key for key in row if key not in (QUESTION, *REFERENCES)]:
        return Question(number, shown, error=f"unknown {', '.join(map(repr, unknown))}; allowed: {_allowed()}")
    if not shown.strip():
        return Question(number, shown, error=f"{QUESTION!r} must hold some text")
    references: list[str] = []
    for key in REFERENCES:
        value = row.get(key, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            return Question(number, shown, error=f"{key!r} must be a text or a list of texts")
        references += [one for one in texts if one.strip()]
    try:
        "".join((text, *references)).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        return Question(number, shown, error=f"no Unicode text: {half!r} is half of a character")
    return Question(number, shown, tuple(references))


def _read_csv(text: str, name: str) -> Iterator[Question]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text.split("\n", 1)[0]), strict=True)
    header: list[str] | None = None
    last = 0
    try:
        for cells in reader:
            line, last = last + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, name, line)
                continue
            yield _from_cells(line, header, cells)
    except csv.Error as error:
        raise DataError(f"{name}, line {last + 1}: {error}") from error


def _header(cells: list[str], name: str, line: int) -> list[str]:
    header = [cell.strip().lower() for cell in cells]
    unknown = [cell for cell in header if cell != QUESTION and not cell.startswith(("reference", "answer"))]
    if header.count(QUESTION) != 1 or unknown:
        wrong = f"unknown column {unknown[0]!r}" if unknown else f"{header.count(QUESTION)} columns {QUESTION!r}"
        raise DataError(f"{name}, line {line}: {wrong}; allowed: one {QUESTION!r}, and 'reference…' or 'answer…'")
    return header


def _from_cells(line: int, header: list[str], cells: list[str]) -> Question:
    if len(cells) != len(header):
        return Question(line, "", error=f"{len(cells)} cells under {len(header)} columns")
    question = cells[header.index(QUESTION)]
    if not question.strip():
        return Question(line, question, error=f"{QUESTION!r} must hold some text")
    references = [cell for name, cell in zip(header, cells, strict=True) if name != QUESTION and cell.strip()]
    return Question(line, question, tuple(references))


def _delimiter(header: str) -> str:
    """The commonest of the usual ones: spreadsheets write semicolons where the comma is the decimal sign."""
    return max(",;\t", key=header.count)


def _allowed() -> str:
    return ", ".join(map(repr, (QUESTION, *REFERENCES)))
