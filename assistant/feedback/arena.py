"""Ranked lists as records of the Chatbot Arena, and such records as ranked lists again.

The records: FastChat, fastchat/serve/monitor/clean_battle_data.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from assistant.errors import InvalidRequest
from assistant.feedback.formats import Row
from assistant.feedback.language import language_of

QUESTION = re.compile(r"(?P<vote>[0-9A-Za-z_-]{1,32})-(?P<a>\d)-(?P<b>\d)")
"""A question_id: the vote, and the positions of its two answers as asked for."""

BOTH_BAD = "tie (bothbad)"


def records(ranked: Row) -> Iterator[Row]:
    """A record for each two finished answers of a ranked list; `a` is the one further left. Skipped ones have none.

    As in the Arena, `language` is that of the first question, in English, and "unknown" where it cannot be told.
    """
    if ranked["verdict"] == "skipped":
        return
    prompt = ranked["prompt"]
    questions = [message["content"] for message in prompt if message["role"] == "user"]
    language = language_of(questions[0])
    finished = [position for position, is_finished in enumerate(ranked["finished"]) if is_finished]
    for a, b in combinations(sorted(finished, key=lambda position: ranked["shown"][position]), 2):
        yield {
            "question_id": f"{ranked['vote']}-{a}-{b}",
            "model_a": f"{ranked['modes'][a]}:{ranked['adapters'][a]}",
            "model_b": f"{ranked['modes'][b]}:{ranked['adapters'][b]}",
            "winner": _winner(ranked, a, b),
            "judge": ranked["voter"],
            "conversation_a": [*prompt, {"role": "assistant", "content": ranked["responses"][a]}],
            "conversation_b": [*prompt, {"role": "assistant", "content": ranked["responses"][b]}],
            "turn": len(questions),
            "anony": ranked["was_blind"],
            "language": language,
            "tstamp": ranked["tstamp"],
        }


def vote_id(record: Row) -> str:
    """The vote that a record is of; the whole question_id where it names none."""
    match = QUESTION.fullmatch(record["question_id"])
    return match["vote"] if match else record["question_id"]


def ranked_list(battles: Sequence[Row]) -> Row:
    """The ranked list that the records of one vote were made of, as far as they tell it.

    They do not tell lengths, tags and comments, nor the ids of the comparison and its answers, for which new ones are
    made of the vote's own: the same records give the same ids.

    Raises:
        InvalidRequest: the records are not those of one ranking: one is missing, or they contradict each other.
    """
    first = battles[0]
    places: dict[int, tuple[str, str, str]] = {}
    beaten: dict[int, int] = {}
    to_the_left: dict[int, int] = {}
    vote = ""
    for row in battles:
        match = QUESTION.fullmatch(row["question_id"])
        if match is None:
            raise InvalidRequest(f"question_id {row['question_id']!r}; allowed: VOTE-A-B, as in '3f…-0-1'")
        vote, a, b = match["vote"], int(match["a"]), int(match["b"])
        for position, side in ((a, "a"), (b, "b")):
            if not row[f"conversation_{side}"]:
                raise InvalidRequest(f"conversation_{side} is empty")
            mode, _, adapter = row[f"model_{side}"].partition(":")
            places[position] = (mode, adapter, row[f"conversation_{side}"][-1]["content"])
            for counted in (beaten, to_the_left):
                counted.setdefault(position, 0)
        to_the_left[b] += 1
        if row["winner"] in ("model_a", "model_b"):
            beaten[b if row["winner"] == "model_a" else a] += 1
    count = max(places) + 1
    is_bad = all(row["winner"] == BOTH_BAD for row in battles)
    # Answers that did not finish are in no record; they take the places that are left.
    order = sorted(places, key=lambda position: to_the_left[position])
    order += [position for position in range(count) if position not in places]
    made: dict[str, Any] = {
        "vote": vote,
        "comparison": _id(vote),
        "voter": first["judge"],
        "tstamp": first["tstamp"],
        "was_blind": first["anony"],
        "verdict": "all_bad" if is_bad else "ranked",
        "prompt": first["conversation_a"][:-1],
        "responses": [places[position][2] if position in places else "" for position in range(count)],
        "ranks": [] if is_bad else [1 + beaten[one] if one in places else 0 for one in range(count)],
        "modes": [places[position][0] if position in places else "" for position in range(count)],
        "adapters": [places[position][1] if position in places else "" for position in range(count)],
        "turns": [_id(f"{vote}-{position}") for position in range(count)],
        "finished": [position in places for position in range(count)],
        "shown": [order.index(position) for position in range(count)],
        "tokens": [0] * count,
        "tags": [],
        "comment": "",
    }
    if not any(message["role"] == "user" for message in made["prompt"]):
        raise InvalidRequest("the conversation holds no question")
    if _told(records(made)) != _told(battles):
        raise InvalidRequest(
            f"the records of vote {vote!r} do not make one ranking: allowed are one for each two answers, "
            "which agree on the prompt, the answers, their order and who voted"
        )
    return made


def _winner(ranked: Row, a: int, b: int) -> str:
    if ranked["verdict"] == "all_bad":
        return BOTH_BAD
    difference = ranked["ranks"][a] - ranked["ranks"][b]
    return "tie" if difference == 0 else "model_a" if difference < 0 else "model_b"


def _told(battles: Iterable[Row]) -> list[Row]:
    """Records in any order, without what follows from the rest."""
    without = ("language", "turn")
    told = [{name: value for name, value in row.items() if name not in without} for row in battles]
    return sorted(told, key=lambda row: row["question_id"])


def _id(text: str) -> str:
    return hashlib.sha256(f"arena:{text}".encode()).hexdigest()[:32]
