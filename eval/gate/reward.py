"""Aim: answers that a reward adapter likes better."""

from __future__ import annotations

from collections.abc import Sequence

from assistant.catalog import Gained
from assistant.messages import ChatRequest, Decoding, Message
from assistant.service import ChatService
from assistant.training.preference.data import Asked, prompts, read_rows
from eval.ask import ask_all
from eval.gate.figures import gained_mean

FIGURE = "reward"
AT_ONCE = 64
"""Texts handed to the service in one call."""


def read_prompts(source: str) -> list[Asked]:
    """Prompts of any preference file, see `assistant.training.preference.data`. Raises DataError."""
    return prompts(read_rows([source]).rows)


async def by_reward(
    service: ChatService, judge: str, source: str, names: tuple[str, str], new_tokens: int, concurrency: int
) -> Gained:
    """Both answer every prompt greedily; the difference of the rewards is drawn again over prompts.

    An answer without a word has nothing to be judged by, and counts as the worst of all that were.

    Raises:
        DataError: the prompts are wrong; names file and line.
        EvaluationError: a request failed.
        InvalidRequest, AdapterError: the judge is no reward adapter, or cannot be served.
    """
    asked = read_prompts(source)
    answers = {name: await greedy(service, name, asked, new_tokens, concurrency) for name in names}
    spoken = [(name, n) for name in names for n in range(len(asked)) if answers[name][n].strip()]
    rewards: dict[tuple[str, int], float] = {}
    for start in range(0, len(spoken), AT_ONCE):
        some = spoken[start : start + AT_ONCE]
        texts = [(*asked[n].prompt, Message(role="assistant", content=answers[name][n])) for name, n in some]
        rewards |= zip(some, await service.score(judge, texts), strict=True)
    worst = min(rewards.values(), default=0.0)
    before, after = ([rewards.get((name, n), worst) for n in range(len(asked))] for name in names)
    return gained_mean(FIGURE, source, before, after)


async def greedy(
    service: ChatService, name: str, asked: Sequence[Asked], new_tokens: int, concurrency: int
) -> list[str]:
    """One answer to each prompt."""
    decoding = Decoding(temperature=0, max_tokens=new_tokens)
    requests = [ChatRequest(messages=one.prompt, adapter=name, decoding=decoding) for one in asked]
    return [done.text for done in await ask_all(service, requests, concurrency, [one.where for one in asked])]
