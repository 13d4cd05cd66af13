"""Votes as training data: pairs of a better and a worse answer, and single answers with a label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

from assistant.feedback.ballots import Answer, Case, Ranking, Rating
from assistant.messages import Message

GOOD, BAD = 4.0, 2.0
"""A rating on scales, without a thumb, counts as good from a mean of 4 up and as bad from 2 down."""


@dataclass(frozen=True)
class Pair:
    """`weight` is what it counts for, over all `votes` that say the same. Adapters are "" for what a voter wrote."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    source: Literal["ranking", "correction"]
    chosen_adapter: str
    rejected_adapter: str
    weight: float
    votes: int = 1


@dataclass(frozen=True)
class Labelled:
    """One answer, good or bad. `votes` say the same of it."""

    prompt: tuple[Message, ...]
    completion: str
    label: bool
    source: Literal["thumb", "scales"]
    adapter: str
    votes: int = 1


def pairs(cases: Iterable[Case]) -> list[Pair]:
    """Pairs from rankings and corrections, in the order of the newest votes.

    Every ranking counts the same, however many answers it orders: each of its pairs weighs 1 / their number. Ties,
    failed answers and answers in the same words give no pair, nor do the verdicts "all_bad" and "skipped". Several
    answers in the same words are one: what a ranking says twice of two texts is one pair, and none where it puts
    either before the other. Where a voter judged the same two texts again, only the last judgement counts; what
    several voters say alike becomes one pair with the sum of their weights. Voters who contradict each other leave
    two pairs.
    """
    seen: set[tuple[str, tuple[Message, ...], frozenset[str]]] = set()
    merged: dict[tuple[tuple[Message, ...], str, str], Pair] = {}
    for case in _newest_first(cases):
        for pair in _pairs_of(case):
            judged = (case.vote.voter, pair.prompt, frozenset((pair.chosen, pair.rejected)))
            if judged in seen:
                continue
            seen.add(judged)
            key = (pair.prompt, pair.chosen, pair.rejected)
            known = merged.get(key)
            merged[key] = replace(known, weight=known.weight + pair.weight, votes=known.votes + 1) if known else pair
    return list(merged.values())


def labelled(cases: Iterable[Case]) -> list[Labelled]:
    """Labelled answers from thumbs, or from scales where there is no thumb; see GOOD and BAD.

    Duplicates are handled as in `pairs`.
    """
    seen: set[tuple[str, tuple[Message, ...], str]] = set()
    merged: dict[tuple[tuple[Message, ...], str, bool], Labelled] = {}
    for case in _newest_first(cases):
        ballot = case.vote.ballot
        if isinstance(ballot, Ranking) or (label := _label(ballot)) is None:
            continue
        answer = case.answers[0]
        if (case.vote.voter, case.prompt, answer.text) in seen:
            continue
        seen.add((case.vote.voter, case.prompt, answer.text))
        known = merged.get((case.prompt, answer.text, label))
        source: Literal["thumb", "scales"] = "thumb" if ballot.thumb is not None else "scales"
        merged[case.prompt, answer.text, label] = (
            replace(known, votes=known.votes + 1)
            if known
            else Labelled(case.prompt, answer.text, label, source, answer.adapter)
        )
    return list(merged.values())


def is_test(prompt: Iterable[Message], share: float) -> bool:
    """Whether a prompt belongs to the test part, of which there shall be this share.

    Decided by a hash of the prompt alone, so that the parts never share a prompt and later exports split alike. Case
    and white space make no difference.
    """
    text = "\n".join(f"{message.role}: {' '.join(message.content.split()).casefold()}" for message in prompt)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    return number < share * 2**64


def _newest_first(cases: Iterable[Case]) -> list[Case]:
    chats = [case for case in cases if case.is_chat]
    return sorted(chats, key=lambda case: case.vote.created_at, reverse=True)


def _pairs_of(case: Case) -> Iterator[Pair]:
    ballot = case.vote.ballot
    if isinstance(ballot, Rating):
        answer = case.answers[0]
        if ballot.correction is not None and ballot.correction != answer.text:
            yield Pair(case.prompt, ballot.correction, answer.text, "correction", "", answer.adapter, 1.0)
        return
    if ballot.verdict != "ranked":
        return
    finished = [answer for answer in case.answers if answer.is_finished]
    ordered: dict[tuple[str, str], tuple[Answer, Answer]] = {}
    for better, worse in permutations(finished, 2):
        if ballot.ranks[better.position] < ballot.ranks[worse.position] and better.text != worse.text:
            ordered.setdefault((better.text, worse.text), (better, worse))
    clear = [of for (better, worse), of in ordered.items() if (worse, better) not in ordered]
    for better, worse in clear:
        yield _ranked_pair(case, better, worse, 1 / len(clear))


def _ranked_pair(case: Case, better: Answer, worse: Answer, weight: float) -> Pair:
    return Pair(case.prompt, better.text, worse.text, "ranking", better.adapter, worse.adapter, weight)


def _label(rating: Rating) -> bool | None:
    if rating.thumb is not None or not rating.scales:
        return rating.thumb
    mean = sum(rating.scales.values()) / len(rating.scales)
    return True if mean >= GOOD else False if mean <= BAD else None
