"""Votes made by hand, with what they are about, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from assistant.feedback.ballots import Answer, Case, Ranking, Rating, Verdict, Vote
from assistant.messages import Message

MODES = ("prompt", "rag", "tuned", "rag-tuned", "few-shot", "tuned")
ADAPTERS = ("base", "base", "mood", "mood", "base", "sums")


def case(
    answers: Sequence[str],
    ranks: Iterable[int] = (),
    verdict: Verdict = "ranked",
    voter: str = "ann",
    question: str = "What?",
    day: int = 1,
    shown: Sequence[int] | None = None,
    adapters: Sequence[str] = ADAPTERS,
) -> Case:
    """A ranking of these answers; an empty one has failed."""
    ballot = Ranking(comparison_id=f"c-{question}", verdict=verdict, ranks=tuple(ranks))
    return Case(
        _vote(ballot, voter, day),
        (Message(role="user", content=question),),
        tuple(
            _answer(text, position, shown[position] if shown else position, MODES[position], adapters[position])
            for position, text in enumerate(answers)
        ),
    )


def rating_case(answer: str, voter: str = "ann", day: int = 1, is_chat: bool = True, **fields) -> Case:
    ballot = Rating(turn_id="t", **fields)
    prompt = (Message(role="system", content="Be exact."), Message(role="user", content="2 + 3?"))
    return Case(_vote(ballot, voter, day), prompt, (_answer(answer, 0, 0, "", "mood"),), is_chat)


def _vote(ballot: Ranking | Rating, voter: str, day: int) -> Vote:
    return Vote(f"v-{voter}-{day}", voter, datetime(2026, 1, day, tzinfo=UTC), None, False, ballot)


def _answer(text: str, position: int, shown: int, mode: str, adapter: str) -> Answer:
    return Answer(
        turn_id=f"t{position}",
        position=position,
        shown=shown,
        mode=mode,
        adapter=adapter,
        digest=None,
        base_digest="0",
        is_finished=bool(text),
        text=text,
        tokens=len(text.split()),
        seconds=1.0,
    )
