"""Texts in the cells of CSV files, so that no spreadsheet takes one for a formula.

What a text begins with is not all: where the list separator is a semicolon, as in most of Europe, Excel cuts a line at
semicolons and not at commas. Quotes do not hold it back, as it takes those after a comma for text: it is `"a","b;=1"`
that becomes the cells `a,"b` and `=1"`. And once the quotes are lost, a line break ends the row.
"""

from __future__ import annotations

import csv
import re
from typing import Any, TextIO

_SIGNS = r"[=+\-@\t\r\n＝＋－＠]"
"""How a text begins that may be taken for a formula: OWASP, CSV Injection."""

_BEGINS = r"(?:\A|(?<=[;\t]))", rf"(?='*{_SIGNS})"
# After a line break, plus and minus are those of lists: an answer with one would be full of apostrophes.
_GOES_ON = r"(?<=[\r\n])", r"(?='*[=@＝＠])"

_RISKY = re.compile("|".join(before + after for before, after in (_BEGINS, _GOES_ON)))
_GUARDED = re.compile("|".join(f"{before}'{after}" for before, after in (_BEGINS, _GOES_ON)))


def guard(text: str) -> str:
    """The text with an apostrophe before everything that may be taken for a formula, and before one that has some."""
    return _RISKY.sub("'", text)


def unguard(cell: str) -> str:
    """The very text that `guard` was given."""
    return _GUARDED.sub("", cell)


def guard_json(text: str) -> str:
    """The same JSON without a semicolon: there they stand in strings only, where a number says the same."""
    return text.replace(";", "\\u003b")


def csv_writer(target: TextIO) -> Any:
    """Every cell in quotes, so that most readers keep it whole, whatever they take for the separator."""
    return csv.writer(target, quoting=csv.QUOTE_ALL)
