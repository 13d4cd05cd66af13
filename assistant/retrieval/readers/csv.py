"""Comma-separated values: every row as lines of "column: value"."""

from __future__ import annotations

import csv
import io

from assistant.retrieval.readers.content import Content, Draft, Unreadable
from assistant.retrieval.readers.text import decode

DELIMITERS = ",;\t|"
SAMPLE = 16 * 1024


def read_csv(data: bytes) -> Content:
    """The first row names the columns; empty cells are left out.

    Raises:
        Unreadable: it is no text, its quotes do not close, or it has no row below the first.
    """
    text = decode(data)
    try:
        # Cells are quoted by double quotes. Apostrophes stand in words, and the sniffer would take them for quotes.
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:SAMPLE].replace("'", ""), DELIMITERS)
        # What is sniffed from rows without a quoted cell would not read one.
        dialect.doublequote = True
    except csv.Error:
        dialect = csv.excel  # a single column shows no delimiter
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), dialect, strict=True))
    except csv.Error as error:
        raise Unreadable(f"it cannot be read as CSV: {error}") from error
    if len(rows) < 2:
        raise Unreadable("it has no row below the one that names the columns")
    draft = Draft()
    columns = [name.strip() for name in rows[0]]
    for row in rows[1:]:
        names = columns + [""] * (len(row) - len(columns))
        cells = [
            f"{name or f'column {number}'}: {value.strip()}"
            for number, (name, value) in enumerate(zip(names, row, strict=False), start=1)
            if value.strip()
        ]
        draft.paragraph("\n".join(cells))
    return draft.content()
