"""What names the content of data: the records, and nothing of where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from assistant.messages import Message
from eval.digest import digest_of


@dataclass(frozen=True)
class Pair:
    first: str
    second: Message


def test_every_value_and_the_order_of_records_count_and_the_order_of_fields_does_not() -> None:
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
    assert digest_of(rows) == digest_of([{"label": "x", "text": "a"}, rows[1]])
    others = [rows[::-1], rows[:1], [rows[0], rows[1] | {"label": "x"}], []]
    assert len({digest_of(other) for other in (rows, *others)}) == 5
    assert digest_of(["ab", "c"]) != digest_of(["a", "bc"])


def test_records_of_any_kind_have_one() -> None:
    pair = Pair("a", Message(role="user", content="b"))
    assert digest_of([pair]) == digest_of([{"first": "a", "second": {"role": "user", "content": "b"}}])
    assert digest_of([{"day": date(2026, 1, 2), "text": "\ud800"}]) != digest_of([{"day": date(2026, 1, 3)}])
