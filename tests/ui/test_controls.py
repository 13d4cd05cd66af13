"""Decoding fields that are left empty stay unset, so that the adapter's own defaults hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.catalog import read_adapter
from assistant.errors import InvalidRequest
from assistant.ui.controls import CONTROLS, placeholder, read_controls
from tests.fakes import write_adapter


def fields(stop: str = "", **given: str) -> list[str]:
    return [*(given.get(control.name, "") for control in CONTROLS), stop]


def test_only_fields_that_were_filled_in_are_set():
    decoding = read_controls(fields(temperature=" 0 ", max_tokens="20", stop="\nEND\n\n###"))
    assert decoding.model_dump(exclude_unset=True) == {"temperature": 0, "max_tokens": 20, "stop": ("END", "###")}
    assert read_controls(fields()).model_fields_set == set()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"temperature": "hot"}, "Temperature: 'hot'"),
        ({"top_p": "0"}, "above 0, up to 1"),
        ({"max_tokens": "1.5"}, "Longest answer: '1.5'"),
        ({"stop": "\n".join("abcdefghi")}, "up to 8"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(given, told):
    with pytest.raises(InvalidRequest, match="is not allowed") as caught:
        read_controls(fields(**given))
    assert told in str(caught.value)


def test_an_empty_field_shows_what_holds(tmp_path: Path):
    adapter = read_adapter(write_adapter(tmp_path / "mood", decoding={"temperature": 0}))
    assert placeholder("temperature", adapter) == "0 (mood's own)"
    assert placeholder("top_p", adapter) == "0.95" and placeholder("seed", None) == "random"
