"""Votes as rows of each format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from assistant.feedback.arena import records
from assistant.feedback.ballots import SCALES, Answer, Case, Ranking, Rating
from assistant.feedback.formats import Format, Row
from assistant.feedback.pairs import labelled, pairs
from assistant.messages import Message


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
        return [record for ranked in rows(cases, "ranked") for record in records(ranked)]
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
        "is_chat": case.is_chat,
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
