"""Aim: answers that a reward adapter likes better."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from assistant.catalog import CARD_FILE, Gained
from assistant.messages import ChatRequest, Decoding, Message
from assistant.service import ChatService
from assistant.training.preference.data import Asked, prompts, read_rows
from eval.ask import Replies, ask_all
from eval.gate.figures import gained_mean

FIGURE = "reward"
ACCURACY = "accuracy"
"""What cards call the share of unseen pairs that were ranked as people did."""

AT_ONCE = 64
"""Texts handed to the service in one call."""

Answers = list[list[str]]
"""For each prompt the answers drawn to it."""


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn: `draws` to each prompt, each from a seed of its own, the same for whoever is asked."""

    draws: int = 1
    temperature: float = 0.0
    new_tokens: int = 96
    seed: int = 0


def seed_of(seed: int, about: str, number: int) -> int:
    """The seed of the answer of that `number` to the prompt `about`.

    Were it the same for all prompts, a base that heeds them little would answer all of them alike, and answers to many
    prompts would say no more than those to one.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {about}".encode()).digest()[:6])


def read_prompts(source: str) -> list[Asked]:
    """Prompts of any preference file, see `assistant.training.preference.data`. Raises DataError."""
    return prompts(read_rows([source]).rows)


async def draw(service: Replies, name: str, asked: Sequence[Asked], how: Drawing, concurrency: int = 8) -> Answers:
    """Raises EvaluationError where a request failed."""
    requests = [
        ChatRequest(
            messages=one.prompt,
            adapter=name,
            decoding=Decoding(
                temperature=how.temperature,
                max_tokens=how.new_tokens,
                seed=seed_of(how.seed, one.prompt[-1].content, number),
            ),
        )
        for one in asked
        for number in range(how.draws)
    ]
    ends = await ask_all(service, requests, concurrency, [one.where for one in asked for _ in range(how.draws)])
    return [[done.text for done in ends[n : n + how.draws]] for n in range(0, len(ends), how.draws)]


async def by_reward(
    service: ChatService, judge: str, source: str, names: tuple[str, str], how: Drawing, concurrency: int
) -> Gained:
    """The mean reward of the answers to a prompt, of both; the difference is drawn again over prompts.

    An answer without a word has nothing to be judged by, and counts as the worst of all that were.

    Raises:
        DataError: the prompts are wrong; names file and line.
        EvaluationError: a request failed.
        InvalidRequest, AdapterError: the judge is no reward adapter, or cannot be served.
    """
    asked = read_prompts(source)
    answers = {name: await draw(service, name, asked, how, concurrency) for name in names}
    texts = {
        (name, n, number): (*asked[n].prompt, Message(role="assistant", content=answer))
        for name in names
        for n, drawn in enumerate(answers[name])
        for number, answer in enumerate(drawn)
        if answer.strip()
    }
    rewards: dict[tuple[str, int, int], float] = {}
    for start in range(0, len(texts), AT_ONCE):
        some = list(texts)[start : start + AT_ONCE]
        rewards |= zip(some, await service.score(judge, [texts[key] for key in some]), strict=True)
    worst = min(rewards.values(), default=0.0)
    before, after = (
        [float(np.mean([rewards.get((name, n, k), worst) for k in range(how.draws)])) for n in range(len(asked))]
        for name in names
    )
    return gained_mean(FIGURE, source, before, after)


def doubt(judge: Path) -> str | None:
    """Why a reward adapter is no judge: it is not known to be right on more than half of unseen votes.

    What tells is an accuracy on its card (`python -m eval.record`) whose 95 % interval lies above one half. Where there
    is none, the votes held out of its training do, by their exact interval (Clopper and Pearson 1934), which takes
    them for independent. None where either is enough, and where the folder's card tells of neither.

    A reward model learns from votes at random as well, and tuning follows it: its own word says nothing of people then.
    """
    try:
        card = json.loads((judge / CARD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if any(score["metric"] == ACCURACY and score["low"] > 0.5 for score in card.get("scores", ())):
        return None
    told = (card.get("training") or {}).get("report") or {}
    if "validation_accuracy" not in told or "validation_examples" not in told:
        return None
    count = told["validation_examples"]
    right = round(told["validation_accuracy"] * count)
    interval = binomtest(right, count).proportion_ci()
    if interval.low > 0.5:
        return None
    return (
        f"its judge is not surely better than a coin: right on {right} of {count} votes held out of its training "
        f"({interval.low:.3f} to {interval.high:.3f})"
    )
