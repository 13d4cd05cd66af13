"""Cells of CSV files: nothing in them is a formula, whatever a spreadsheet takes for the separator."""

from __future__ import annotations

import csv
import io
from itertools import product

import pytest

from assistant.feedback.cells import csv_writer, guard, guard_json, unguard

PIECES = ("", "a", "'", "=", "-", "@", "＝", ";", "\t", "\n", "\r", "\r\n", '"')
RISKY = [f"{before}{sign}1+1" for before in ("", "x;", "x\t", '";') for sign in "=+-@＝＋－＠"]
RISKY += [f"x{end}{sign}1+1" for end in ("\n", "\r\n", "\r") for sign in "=@＝＠"]


def test_every_text_comes_back_as_it_was():
    for parts in product(PIECES, repeat=4):
        text = "".join(parts)
        assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["plain", "a-b", "it's; so", "- item", "x\n- item\n+ item", "1;2", "a;'b'"])
def test_what_is_no_formula_stays_as_it_is(text):
    assert unguard(text) == text and (guard(text) == text or text.startswith("-"))


@pytest.mark.parametrize("text", RISKY)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_reader_finds_a_formula_whatever_it_takes_for_the_separator(text, separator):
    """Python reads quotes as Excel does: after the end of a quoted part they are text."""
    file = io.StringIO(newline="")
    csv_writer(file).writerows([["first", guard(text), guard_json(f'["{text[:2]}"]')], ["second", guard(text), "-"]])
    file.seek(0)
    found = [cell for row in csv.reader(file, delimiter=separator) for cell in row]
    assert "".join(found) and not [cell for cell in found if cell.startswith(tuple("=+@＝＋－＠"))]


def test_json_says_the_same_without_a_semicolon():
    assert guard_json('{"a": ";=1;"}') == '{"a": "\\u003b=1\\u003b"}'
