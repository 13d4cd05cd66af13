"""How likely a base, or an adapter over it, holds given tokens to be: prompts echoed with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from assistant.catalog import Catalog
from assistant.errors import EvaluationError
from assistant.messages import BASE, CompletionRequest, Decoding, Message
from assistant.service import Renders
from eval.ask import Replies, ask_all

Ids = tuple[int, ...]


class Measured(Replies, Protocol):
    """The service that users get, as far as likelihoods need it."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def prompter(self) -> Renders: ...


def chat_ids(service: Measured, adapter: str, messages: Sequence[Message]) -> Ids:
    """The prompt as the service would give it to the adapter. Raises UnknownAdapter."""
    template = None if adapter == BASE else service.catalog.get(adapter).card.template
    return tuple(service.prompter.render(messages, template))


async def token_scores(
    service: Measured, adapter: str, prompts: Sequence[Ids], concurrency: int
) -> list[tuple[float, ...]]:
    """ln P(token | tokens before it) for each token of each prompt but its first: shape (length − 1,) each.

    Raises:
        EvaluationError: a prompt has fewer than two tokens, there are none, a request failed, or the adapter was
            replaced meanwhile.
        UnknownAdapter: there is no such adapter.
    """
    for number, prompt in enumerate(prompts):
        if len(prompt) < 2:
            raise EvaluationError(f"text {number} has {len(prompt)} tokens; allowed: two or more")
    decoding = Decoding(temperature=0, max_tokens=0, logprobs=0)
    requests = [CompletionRequest(prompt=ids, adapter=adapter, decoding=decoding, echo=True) for ids in prompts]
    revisions = {} if adapter == BASE else {adapter: service.catalog.get(adapter).digest}
    scores = []
    for done in await ask_all(service, requests, concurrency, revisions=revisions):
        found = [score.logprob for score in done.parts[0].prompt_scores[1:]]
        scores.append(tuple(value for value in found if value is not None))
    return scores


async def continuation_scores(
    service: Measured, adapter: str, pairs: Sequence[tuple[Ids, Ids]], concurrency: int
) -> list[tuple[float, ...]]:
    """ln P of each token of the second part after the first part: shape (length of the second part,) each.

    Raises:
        EvaluationError: a part is empty, or a request failed.
    """
    for number, (before, after) in enumerate(pairs):
        if not before or not after:
            raise EvaluationError(f"pair {number}: an empty part has no likelihood; allowed: tokens on both sides")
    scores = await token_scores(service, adapter, [(*before, *after) for before, after in pairs], concurrency)
    return [score[len(before) - 1 :] for score, (before, _) in zip(scores, pairs, strict=True)]
