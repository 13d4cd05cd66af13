"""Answers and votes as people would leave them: blind comparisons in the real store, and a vote on each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from assistant.comparison.comparator import Comparator
from assistant.comparison.events import ColumnEvent, ComparisonStarted
from assistant.comparison.request import ComparisonRequest, Contestant
from assistant.errors import EvaluationError
from assistant.feedback.ballots import Case, Ranking
from assistant.feedback.votes import VoteStore
from assistant.messages import BASE, Decoding, Failed, TextDelta
from eval.gate.reward import seed_of
from eval.loop.tastes import Taste, ranks

log = logging.getLogger(__name__)

OWNER = "simulated"


def contestants(
    adapter: str, count: int, temperature: float, new_tokens: int, seed: int, question: str
) -> tuple[Contestant, ...]:
    """The same adapter that many times, each with a seed of its own for the question."""
    return tuple(
        Contestant(
            mode="prompt" if adapter == BASE else "tuned",
            adapter=adapter,
            decoding=Decoding(temperature=temperature, max_tokens=new_tokens, seed=seed_of(seed, question, number)),
        )
        for number in range(count)
    )


async def collect(
    comparator: Comparator,
    votes: VoteStore,
    questions: Sequence[str],
    seats: Callable[[str], tuple[Contestant, ...]],
    taste: Taste,
    voters: int,
    seed: int,
    at_once: int = 2,
) -> list[Case]:
    """Compare and vote on each question that has no vote yet; the voters take turns. Returns all votes, their names told.

    Args:
        seats: who answers a question.

    Raises:
        EvaluationError: an answer failed.
        StoreUnavailable: the database does not answer.
    """
    voted = {case.question for case in votes.votes()}
    turn = asyncio.Semaphore(at_once)

    async def one(number: int, question: str) -> None:
        async with turn:
            comparison_id, answers = await _compare(
                comparator, ComparisonRequest(question=question, contestants=seats(question), blind=True)
            )
        # By place: a blind voter knows no more.
        ranking = Ranking(comparison_id=comparison_id, verdict="ranked", ranks=ranks(taste, answers, seed, question))
        voter = f"{OWNER}-{number % voters + 1}"
        await asyncio.to_thread(votes.rank, voter, ranking, comparison_id, by_place=True)
        log.info("voted on %r", question)

    try:
        async with asyncio.TaskGroup() as group:
            for number, question in enumerate(questions):
                if question not in voted:
                    group.create_task(one(number, question))
    except ExceptionGroup as failed:
        # One failure ends the run; the comparisons beside it were cancelled.
        raise failed.exceptions[0] from failed
    # All have voted; no export has a vote whose names are still to be told.
    for case in votes.votes():
        if case.is_hidden:
            await asyncio.to_thread(comparator.store.reveal, case.vote.subject_id, OWNER)
    return votes.votes()


async def _compare(comparator: Comparator, request: ComparisonRequest) -> tuple[str, list[str]]:
    """The comparison's id and its answers, from left to right."""
    comparison_id, answers = "", [""] * len(request.contestants)
    async for told in comparator.run(request, OWNER):
        if isinstance(told, ComparisonStarted):
            comparison_id = told.id
        elif isinstance(told, ColumnEvent):
            if isinstance(told.event, Failed):
                raise EvaluationError(f"an answer to {request.question!r} failed: {told.event.message}")
            if isinstance(told.event, TextDelta):
                answers[told.column] += told.event.text
    return comparison_id, answers
