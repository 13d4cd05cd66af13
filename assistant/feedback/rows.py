"""Votes as rows of each format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from assistant.feedback.ballots import SCALES, Answer, Case, Ranking, Rating
from assistant.feedback.formats import Format, Row
from assistant.feedback.pairs import labelled, pairs
from assistant.messages import Message

UNKNOWN = "unknown"
"""The language of every arena record: nothing here tells languages apart."""


def rows(cases: Iterable[Case], format: Format) -> list[Row]:
    """The rows that these votes give. Voters are named by pseudonyms."""
    if format == "preference":
        return [
            {
                "prompt": _messages(pair.prompt),
                "chosen": _answered(pair.chosen),
                "rejected": _answered(pair.rejected),
                "weight": pair.weight,
                "votes": pair.votes,
                "source": pair.source,
                "chosen_adapter": pair.chosen_adapter,
                "rejected_adapter": pair.rejected_adapter,
            }
            for pair in pairs(cases)
        ]
    if format == "unpaired":
        return [
            {
                "prompt": _messages(one.prompt),
                "completion": _answered(one.completion),
                "label": one.label,
                "votes": one.votes,
                "source": one.source,
                "adapter": one.adapter,
            }
            for one in labelled(cases)
        ]
    if format == "arena":
        return [row for case in cases for row in _arena(case)]
    if format == "ranked":
        return [_ranked(case, case.vote.ballot) for case in cases if isinstance(case.vote.ballot, Ranking)]
    return [_rating(case, case.vote.ballot) for case in cases if isinstance(case.vote.ballot, Rating)]


def _ranked(case: Case, ballot: Ranking) -> Row:
    answers = case.answers
    return {
        "vote": case.vote.id,
        "comparison": ballot.comparison_id,
        "voter": case.vote.pseudonym,
        "tstamp": case.vote.created_at.timestamp(),
        "was_blind": case.vote.was_blind,
        "verdict": ballot.verdict,
        "prompt": _messages(case.prompt),
        "responses": [answer.text for answer in answers],
        "ranks": list(ballot.ranks),
        "modes": [answer.mode for answer in answers],
        "adapters": [answer.adapter for answer in answers],
        "turns": [answer.turn_id for answer in answers],
        "finished": [answer.is_finished for answer in answers],
        "shown": [answer.shown for answer in answers],
        "tokens": [answer.tokens for answer in answers],
        "tags": list(ballot.tags),
        "comment": ballot.comment,
    }


def _arena(case: Case) -> Iterator[Row]:
    """A record for each two finished answers; `a` is the one further left."""
    ballot = case.vote.ballot
    if not isinstance(ballot, Ranking) or ballot.verdict == "skipped":
        return
    finished = sorted((answer for answer in case.answers if answer.is_finished), key=lambda answer: answer.shown)
    for a, b in combinations(finished, 2):
        yield {
            "question_id": f"{case.vote.id}-{a.position}-{b.position}",
            "model_a": contestant(a),
            "model_b": contestant(b),
            "winner": _winner(ballot, a, b),
            "judge": case.vote.pseudonym,
            "conversation_a": _messages(case.prompt) + _answered(a.text),
            "conversation_b": _messages(case.prompt) + _answered(b.text),
            "turn": sum(message.role == "user" for message in case.prompt),
            "anony": case.vote.was_blind,
            "language": UNKNOWN,
            "tstamp": case.vote.created_at.timestamp(),
        }


def _winner(ballot: Ranking, a: Answer, b: Answer) -> str:
    if ballot.verdict == "all_bad":
        return "tie (bothbad)"
    difference = ballot.ranks[a.position] - ballot.ranks[b.position]
    return "tie" if difference == 0 else "model_a" if difference < 0 else "model_b"


def _rating(case: Case, ballot: Rating) -> Row:
    answer = case.answers[0]
    return {
        "vote": case.vote.id,
        "turn": ballot.turn_id,
        "voter": case.vote.pseudonym,
        "tstamp": case.vote.created_at.timestamp(),
        "was_blind": case.vote.was_blind,
        "prompt": _messages(case.prompt),
        "response": answer.text,
        "mode": answer.mode,
        "adapter": answer.adapter,
        "thumb": ballot.thumb,
        **{scale: ballot.scales.get(scale) for scale in SCALES},
        "tags": list(ballot.tags),
        "comment": ballot.comment,
        "correction": ballot.correction,
    }


def contestant(answer: Answer) -> str:
    """Who answered, in one word: mode and adapter."""
    return f"{answer.mode}:{answer.adapter}"


def _messages(prompt: Sequence[Message]) -> list[dict[str, str]]:
    return [message.model_dump() for message in prompt]


def _answered(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
