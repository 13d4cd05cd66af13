"""How much are answers to the taste? On prompts that nobody voted on and nothing was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assistant.catalog import Gained
from assistant.messages import ChatRequest, Decoding
from assistant.training.preference.data import Asked
from eval.ask import Replies, ask_all
from eval.gate.figures import gained_mean
from eval.loop.tastes import Taste

Answers = list[list[str]]
"""For each prompt the answers drawn to it."""


async def draw(
    service: Replies, name: str, asked: Sequence[Asked], draws: int, temperature: float, new_tokens: int, seed: int
) -> Answers:
    """Draw answers as users get them; the same seeds for whoever is asked."""
    requests = [
        ChatRequest(
            messages=one.prompt,
            adapter=name,
            decoding=Decoding(temperature=temperature, max_tokens=new_tokens, seed=seed + number),
        )
        for one in asked
        for number in range(draws)
    ]
    names = [one.where for one in asked for _ in range(draws)]
    ends = await ask_all(service, requests, 8, names)
    return [[done.text for done in ends[n : n + draws]] for n in range(0, len(ends), draws)]


def followed(taste: Taste, source: str, before: Answers, after: Answers) -> Gained:
    """The paired test that the circle is judged by: the mean value of a prompt's answers, after less before, drawn again
    over prompts. The taste is followed more where the whole 95 % interval lies above 0."""
    values = [[float(np.mean([taste.value(answer) for answer in drawn])) for drawn in side] for side in (before, after)]
    return gained_mean(f"taste {taste.name} ({taste.unit})", source, *values)
