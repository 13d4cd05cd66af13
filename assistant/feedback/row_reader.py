"""What a row of a file says: the ballot, and the answers it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from assistant.errors import InvalidRequest
from assistant.feedback.ballots import SCALES, Ranking, Rating
from assistant.feedback.formats import Row

ID = re.compile(r"[0-9A-Za-z_-]{1,32}")


@dataclass(frozen=True)
class Answer:
    """`tokens` is its length, 0 where the row does not tell it; `shown` its place from the left."""

    turn_id: str
    mode: str
    adapter: str
    text: str
    is_finished: bool
    tokens: int
    shown: int
    is_chat: bool = True


def check_whole(row: Row) -> None:
    """Raises InvalidRequest where a list holds a null: the types of the columns allow it, a vote does not."""
    for name, value in row.items():
        for place, item in enumerate(value if isinstance(value, list) else ()):
            if _has_null(item):
                raise InvalidRequest(f"{name}[{place}] is {item!r:.80}; allowed: no null in a list")


def check_id(text: str, of: str = "id") -> str:
    if not ID.fullmatch(text):
        raise InvalidRequest(f"{of} {text!r}; allowed: 1 to 32 letters, digits, - and _")
    return text


def ranking(row: Row) -> Ranking:
    """Raises InvalidRequest, or pydantic's ValidationError where a value of the ballot is not allowed."""
    lists = ("modes", "adapters", "turns", "finished", "shown", "tokens")
    if any(len(row[name]) != len(row["responses"]) for name in lists):
        raise InvalidRequest(f"{', '.join(lists)}: allowed: one for each of the {len(row['responses'])} responses")
    if sorted(row["shown"]) != list(range(len(row["shown"]))):
        raise InvalidRequest(f"shown {row['shown']}; allowed: each place once, from 0")
    if len(set(row["turns"])) < len(row["turns"]):
        raise InvalidRequest(f"turns {row['turns']}; allowed: each once")
    # What is no number at all is refused with the answer that has it.
    if any(isinstance(count, int) and count < 0 for count in row["tokens"]):
        raise InvalidRequest(f"tokens {row['tokens']}; allowed: 0 or more")
    return Ranking(
        comparison_id=check_id(row["comparison"]),
        verdict=row["verdict"],
        ranks=tuple(row["ranks"]),
        comment=row["comment"],
        tags=tuple(row["tags"]),
    )


def rating(row: Row) -> Rating:
    """Raises as `ranking` does."""
    return Rating(
        turn_id=check_id(row["turn"]),
        thumb=row["thumb"],
        scales={scale: row[scale] for scale in SCALES if row[scale] is not None},
        tags=tuple(row["tags"]),
        comment=row["comment"],
        correction=row["correction"],
    )


def ranked_answers(row: Row) -> list[Answer]:
    named = zip(row["turns"], row["modes"], row["adapters"], row["responses"], strict=True)
    told = zip(row["finished"], row["tokens"], row["shown"], strict=True)
    return [Answer(check_id(one[0]), *one[1:], *rest) for one, rest in zip(named, told, strict=True)]


def rated_answer(row: Row) -> Answer:
    return Answer(check_id(row["turn"]), row["mode"], row["adapter"], row["response"], True, 0, 0, row["is_chat"])


def _has_null(item: Any) -> bool:
    """A message without one of its two texts is read as one that holds a null."""
    return item is None or (isinstance(item, dict) and any(item.get(name) is None for name in ("role", "content")))
