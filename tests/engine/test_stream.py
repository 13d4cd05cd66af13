"""Ids → text: whole characters only, and no stop string."""

from __future__ import annotations

import itertools

import pytest

from assistant.engine.stream import TextStream
from tests.tiny import tokenizer, word_tokenizer

TOKENIZER = tokenizer()


def pieces(text: str | bytes, stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    data = text.encode() if isinstance(text, str) else text
    byte_ids = {bytes([b]): TOKENIZER.convert_tokens_to_ids(c) for b, c in _byte_characters().items()}
    stream = TextStream(TOKENIZER, stop)
    out = []
    for byte in data:
        out.append(stream.push(byte_ids[bytes([byte])]))
        if stream.is_stopped:
            break
    out.append(stream.finish())
    return out, stream


def _byte_characters() -> dict[int, str]:
    """The byte-level alphabet: printable bytes stand for themselves, the others follow from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = itertools.count(256)
    return {b: chr(b) if b in printable else chr(next(rest)) for b in range(256)}


@pytest.mark.parametrize("text", ["plain words", "naïve café", "日本語 and 😀😀 mixed", "👩‍👩‍👧‍👦", " leading", ""])
def test_pieces_are_whole_characters_and_add_up(text):
    out, _ = pieces(text)
    assert "".join(out) == text
    assert not any("\ufffd" in piece for piece in out)


def test_bytes_that_never_become_a_character_come_out_as_one_at_the_end():
    out, _ = pieces(b"ok" + b"\xe6\x97")
    assert "".join(out[:-1]) == "ok" and out[-1].startswith("\ufffd")


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one END two", ("END",), "one "),
        ("one EN two", ("END",), "one EN two"),
        ("aab", ("ab",), "a"),
        ("ababac", ("abac",), "ab"),
        ("x\n\ny", ("\n\n", "y"), "x"),
        ("EN", ("END",), "EN"),
        ("日本語", ("本",), "日"),
    ],
)
def test_a_stop_string_ends_the_text_and_never_leaks(text, stop, expected):
    stream_pieces, stream = pieces(text, stop)
    assert "".join(stream_pieces) == expected
    assert stream.is_stopped == (expected != text)


def test_text_flows_as_soon_as_it_cannot_become_a_stop_string():
    out, _ = pieces("EN two", ("END",))
    assert out[:3] == ["", "", "EN "]


def test_a_text_that_goes_on_keeps_the_space_it_begins_with():
    words = word_tokenizer()
    before, after = words.convert_tokens_to_ids(["▁aa", "▁bb"]), words.convert_tokens_to_ids(["▁cc", "▁dd"])

    def text(**options: object) -> str:
        stream = TextStream(words, **options)
        return "".join([*map(stream.push, after), stream.finish()])

    assert text() == "cc dd" and text(before=before) == " cc dd" == words.decode([*before, *after])[len("aa bb") :]
    stopped = TextStream(words, (" cc",), before=before)
    assert stopped.push(after[0]) == "" and stopped.is_stopped, "a stop string may begin with that space"
    half = words.convert_tokens_to_ids(["▁aa", "<0xE6>", "<0x97>"])
    assert text(before=half) == "cc dd", "how half a character reads is not held against what follows"
