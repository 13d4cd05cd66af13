"""The formats preferences leave and come back in: columns of each, and the three kinds of file.

One schema of each format decides what JSON lines, Parquet and CSV hold, and what is accepted when it comes back.
Moments (`tstamp`) are seconds since 1970: readers that guess types turn dates written as text into something else.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from assistant.errors import DataError
from assistant.feedback.ballots import SCALES
from assistant.feedback.cells import csv_writer, guard, guard_json, unguard

Row = dict[str, Any]
Format = Literal["preference", "unpaired", "ranked", "arena", "ratings"]
FileType = Literal["jsonl", "parquet", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
FILE_TYPES: tuple[FileType, ...] = get_args(FileType)

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TEXT, WHOLE, NUMBER, YES_NO = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def _schema(*nullable: str, **columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name in nullable) for name, kind in columns.items()])


SCHEMAS: dict[Format, pa.Schema] = {
    # TRL's conversational preference format; what follows `rejected` is ours, and its trainers pass over it.
    "preference": _schema(
        prompt=MESSAGES,
        chosen=MESSAGES,
        rejected=MESSAGES,
        weight=NUMBER,
        votes=WHOLE,
        source=TEXT,
        chosen_adapter=TEXT,
        rejected_adapter=TEXT,
    ),
    # TRL's conversational unpaired preference format, the same way.
    "unpaired": _schema(prompt=MESSAGES, completion=MESSAGES, label=YES_NO, votes=WHOLE, source=TEXT, adapter=TEXT),
    "ranked": _schema(
        vote=TEXT,
        comparison=TEXT,
        voter=TEXT,
        tstamp=NUMBER,
        was_blind=YES_NO,
        verdict=TEXT,
        prompt=MESSAGES,
        responses=pa.list_(TEXT),
        ranks=pa.list_(WHOLE),
        modes=pa.list_(TEXT),
        adapters=pa.list_(TEXT),
        turns=pa.list_(TEXT),
        finished=pa.list_(YES_NO),
        shown=pa.list_(WHOLE),
        tokens=pa.list_(WHOLE),
        tags=pa.list_(TEXT),
        comment=TEXT,
    ),
    # The records of the Chatbot Arena: see `assistant.feedback.arena`.
    "arena": _schema(
        question_id=TEXT,
        model_a=TEXT,
        model_b=TEXT,
        winner=TEXT,
        judge=TEXT,
        conversation_a=MESSAGES,
        conversation_b=MESSAGES,
        turn=WHOLE,
        anony=YES_NO,
        language=TEXT,
        tstamp=NUMBER,
    ),
    "ratings": _schema(
        "thumb",
        "correction",
        *SCALES,
        vote=TEXT,
        turn=TEXT,
        voter=TEXT,
        tstamp=NUMBER,
        was_blind=YES_NO,
        prompt=MESSAGES,
        response=TEXT,
        mode=TEXT,
        adapter=TEXT,
        is_chat=YES_NO,
        thumb=YES_NO,
        **dict.fromkeys(SCALES, WHOLE),
        tags=pa.list_(TEXT),
        comment=TEXT,
        correction=TEXT,
    ),
}


def write(rows: Sequence[Row], format: Format, file_type: FileType, target: BinaryIO) -> None:
    """Write rows as the file type has them. CSV holds texts as they are, and everything else as JSON."""
    schema = SCHEMAS[format]
    if file_type == "parquet":
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), target)
    elif file_type == "jsonl":
        target.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    else:
        text = io.TextIOWrapper(target, encoding="utf-8", newline="")
        writer = csv_writer(text)
        writer.writerow(schema.names)
        writer.writerows([_cell(row[field.name], field) for field in schema] for row in rows)
        text.detach()


def read(source: BinaryIO, format: Format, file_type: FileType, name: str) -> list[Row]:
    """The very rows that were written.

    Raises:
        DataError: the file is not of this type, or a row has not the format's columns; says `name` and which line.
    """
    readers: dict[FileType, Callable[[BinaryIO, pa.Schema, str], list[Row]]] = {
        "parquet": _read_parquet,
        "jsonl": _read_lines,
        "csv": _read_csv,
    }
    return readers[file_type](source, SCHEMAS[format], name)


def _cell(value: Any, field: pa.Field) -> str:
    if not _is_plain(field):
        return "" if value is None else guard_json(json.dumps(value, ensure_ascii=False))
    return guard(value)


def _value(cell: str, field: pa.Field) -> Any:
    if not _is_plain(field):
        return None if cell == "" else json.loads(cell)
    return unguard(cell)


def _is_plain(field: pa.Field) -> bool:
    return bool(field.type == TEXT and not field.nullable)


def _read_parquet(source: BinaryIO, schema: pa.Schema, name: str) -> list[Row]:
    try:
        rows: list[Row] = pq.read_table(source).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{name} is no Parquet file: {error}") from error
    return [_checked(row, schema, f"{name}, row {number}") for number, row in enumerate(rows, 1)]


def _read_lines(source: BinaryIO, schema: pa.Schema, name: str) -> list[Row]:
    rows = []
    for number, line in enumerate(source, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name}, line {number}: no JSON: {error}") from error
        rows.append(_checked(row, schema, f"{name}, line {number}"))
    return rows


def _read_csv(source: BinaryIO, schema: pa.Schema, name: str) -> list[Row]:
    csv.field_size_limit(sys.maxsize)  # an answer may be longer than the module expects of a cell
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    try:
        return _read_table(csv.reader(text), schema, name)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{name} is no CSV file in UTF-8: {error}") from error
    finally:
        text.detach()


def _read_table(reader: Any, schema: pa.Schema, name: str) -> list[Row]:
    header: list[str] = next(reader, [])
    _check_columns(header, schema, f"{name}, line 1")
    rows = []
    for cells in reader:
        where = f"{name}, line {reader.line_num}"
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} cells for {len(header)} columns")
        row = {}
        for column, cell in zip(header, cells, strict=True):
            try:
                row[column] = _value(cell, schema.field(column))
            except ValueError as error:
                raise DataError(f"{where}: {column} is no JSON: {cell[:80]!r}") from error
        rows.append(_checked(row, schema, where))
    return rows


def _checked(row: Any, schema: pa.Schema, where: str) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{where}: {type(row).__name__}; allowed: an object with {', '.join(schema.names)}")
    _check_columns(list(row), schema, where)
    for field in schema:
        try:
            array = pa.array([row[field.name]], type=field.type)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise DataError(f"{where}: {field.name}: {error}; allowed: {field.type}") from error
        if array.null_count and not field.nullable:
            raise DataError(f"{where}: {field.name} is null; allowed: {field.type}")
    return row


def _check_columns(given: Sequence[str], schema: pa.Schema, where: str) -> None:
    wrong = [f"{name!r} is missing" for name in schema.names if name not in given]
    wrong += [f"{name!r} is unknown" for name in given if name not in schema.names]
    if wrong:
        raise DataError(f"{where}: {', '.join(wrong)}; allowed: {', '.join(schema.names)}")
