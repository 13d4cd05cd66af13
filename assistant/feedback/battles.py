"""Rankings as battles: every two of the answers against each other. What would mislead is left out, and counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal, get_args

from assistant.errors import InvalidRequest
from assistant.feedback.ballots import Answer, Case, Ranking
from assistant.feedback.rows import contestant
from assistant.messages import BASE

By = Literal["contestant", "mode", "adapter"]

HIDDEN = "the names are not told yet"
FAILED = "an answer failed or did not finish"
LEAKED = "an answer names its adapter or model"
SKIPPED = "skipped"
SAME = "both answers are of one contestant"

FAMILIES = (
    *("smollm", "hugging ?face", "chatgpt", "gpt-?[0-9]+", "openai", "anthropic", "llama", "meta ai", "mistral"),
    *("gemini", "gemma", "deepmind", "qwen", "alibaba", "deepseek", "phi-?[0-9]+", "vicuna"),
    # Not Claude Shannon.
    "claude(?! (?-i:[A-Z]))",
)
"""Names by which language models call themselves or their makers, as patterns."""

FAMILY = rf"(?:{'|'.join(FAMILIES)})[0-9]*\b"
I_AM = r"\b(?:i am|i['’]m|my name is|call me)"
A_MODEL = r"(?:i am|i['’]m|as) (?:an?|the) (?:[\w-]+ ){0,3}?(?:ai|assistant|bot|chatbot|llm|model|program|system)\b"
MADE = r"(?:(?:trained|created|developed|made|built|powered) by|based on|called|named)"
OWNS_UP = (
    rf"{I_AM} (?:an? |the )?{FAMILY}",
    rf"\b(?:{A_MODEL}[^.!?\n]{{0,60}}?|i was|i am|i['’]m) {MADE} (?:[^\s.!?,]+ ){{0,3}}?{FAMILY}",
)
"""What says of the speaker, and of nobody else, which model it is or whose."""

CLAUSE_END = r"(?=\s*(?:$|[.,;:!?)\n]|(?:and|but|so)\b))"
KIND = r"[ -](?:adapter|lora|model|expert|assistant)"
CALLS_ITSELF = (rf"{I_AM} (?:the )?%s(?:{KIND})?{CLAUSE_END}", rf"\bas the %s{KIND}{CLAUSE_END}")
ADAPTER = r"\b%s[ -](?:adapter|lora)\b"
"""Of the base it tells nothing: whoever explains adapters speaks of theirs."""


@dataclass(frozen=True)
class Battle:
    """`a` stood further left. `outcome` is 1 where a won, 0 where b did, 0.5 for a tie. Lengths are in tokens.

    `ranking` is the vote it comes from; the battles of one vote are no independent evidence.
    """

    ranking: str
    a: str
    b: str
    outcome: float
    length_a: int
    length_b: int


@dataclass(frozen=True)
class Battles:
    """`left_out` counts the battles that were not taken, by reason."""

    battles: tuple[Battle, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)


def battles(cases: Iterable[Case], by: By = "contestant") -> Battles:
    """The battles of all rankings, between contestants (mode and adapter together), modes, or adapters.

    "all_bad" is a tie of all, as in the Chatbot Arena.

    Raises:
        InvalidRequest: `by` is none of these.
    """
    name_of: dict[str, Callable[[Answer], str]] = {
        "contestant": contestant,
        "mode": lambda answer: answer.mode,
        "adapter": lambda answer: answer.adapter,
    }
    if by not in name_of:
        raise InvalidRequest(f"leaderboard by {by!r}; allowed: {', '.join(get_args(By))}")
    taken, left_out = [], Counter[str]()
    for case in cases:
        ballot = case.vote.ballot
        if not isinstance(ballot, Ranking):
            continue
        answers = sorted(case.answers, key=lambda answer: answer.shown)
        for a, b in combinations(answers, 2):
            reason = HIDDEN if case.is_hidden else _reason(ballot, a, b, name_of[by])
            if reason is not None:
                left_out[reason] += 1
                continue
            difference = ballot.ranks[b.position] - ballot.ranks[a.position] if ballot.ranks else 0
            outcome = 0.5 if difference == 0 else float(difference > 0)
            taken.append(Battle(case.vote.id, name_of[by](a), name_of[by](b), outcome, a.tokens, b.tokens))
    return Battles(tuple(taken), left_out)


def _reason(ballot: Ranking, a: Answer, b: Answer, name: Callable[[Answer], str]) -> str | None:
    if ballot.verdict == "skipped":
        return SKIPPED
    if not (a.is_finished and b.is_finished):
        return FAILED
    if names_itself(a) or names_itself(b):
        return LEAKED
    return SAME if name(a) == name(b) else None


def names_itself(answer: Answer) -> bool:
    """Whether the text tells who wrote it: "I am SmolLM", "the legal adapter".

    A name alone tells nothing: adapters are called after ordinary words, and answers may be about models.
    """
    patterns = list(OWNS_UP)
    for name in filter(None, answer.adapter.split("+")):
        forms = CALLS_ITSELF if name == BASE else (*CALLS_ITSELF, ADAPTER)
        patterns += [form % re.escape(name) for form in forms]
    return any(re.search(pattern, answer.text, re.IGNORECASE) for pattern in patterns)
