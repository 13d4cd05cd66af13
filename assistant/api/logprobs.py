"""Scores of tokens in the two shapes OpenAI gives them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from assistant.messages import TokenScore, TopToken

REPLACEMENT = "\ufffd"
"""Stands in a token's text for bytes that are no whole character."""


def chat_logprobs(scores: Sequence[TokenScore]) -> dict[str, Any]:
    """As `/v1/chat/completions` gives them."""
    content = [{**_token(score), "top_logprobs": [_token(top) for top in score.top]} for score in scores]
    return {"content": content, "refusal": None}


def text_logprobs(scores: Sequence[TokenScore], offset: int = 0) -> dict[str, Any]:
    """As `/v1/completions` gives them.

    Args:
        offset: where in the choice's text the first of the tokens begins, in characters.
    """
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [_likeliest(score) for score in scores],
        "text_offset": list(accumulate((len(score.token) for score in scores[:-1]), initial=offset)),
    }


def width(scores: Sequence[TokenScore]) -> int:
    """Characters of text that the tokens are."""
    return sum(len(score.token) for score in scores)


def _token(token: TokenScore | TopToken) -> dict[str, Any]:
    data = None if REPLACEMENT in token.token else list(token.token.encode())
    return {"token": token.token, "logprob": token.logprob, "bytes": data}


def _likeliest(score: TokenScore) -> dict[str, float] | None:
    """The likeliest tokens and, wherever it stands among them, the one that came."""
    if score.logprob is None:
        return None
    found: dict[str, float] = {}
    # Tokens that read alike, such as parts of characters, share an entry: the likeliest one's.
    for top in score.top:
        found.setdefault(top.token, top.logprob)
    found.setdefault(score.token, score.logprob)
    return found
