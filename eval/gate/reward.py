"""Aim: answers that a reward adapter likes better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assistant.catalog import Gained
from assistant.messages import ChatRequest, Decoding, Message
from assistant.service import ChatService
from assistant.training.preference.data import Asked, prompts, read_rows
from eval.ask import Replies, ask_all
from eval.gate.figures import gained_mean

FIGURE = "reward"
AT_ONCE = 64
"""Texts handed to the service in one call."""

Answers = list[list[str]]
"""For each prompt the answers drawn to it."""


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn: `draws` to each prompt, with the seeds `seed`, `seed` + 1 …, the same for whoever is asked."""

    draws: int = 1
    temperature: float = 0.0
    new_tokens: int = 96
    seed: int = 0


def read_prompts(source: str) -> list[Asked]:
    """Prompts of any preference file, see `assistant.training.preference.data`. Raises DataError."""
    return prompts(read_rows([source]).rows)


async def draw(service: Replies, name: str, asked: Sequence[Asked], how: Drawing, concurrency: int = 8) -> Answers:
    """Raises EvaluationError where a request failed."""
    requests = [
        ChatRequest(
            messages=one.prompt,
            adapter=name,
            decoding=Decoding(temperature=how.temperature, max_tokens=how.new_tokens, seed=how.seed + number),
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
