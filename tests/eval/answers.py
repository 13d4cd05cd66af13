"""Answers as the service gives them, without a service."""

from __future__ import annotations

import math
from collections.abc import Sequence

from assistant.messages import Decoding, Part, Route, Timing, TokenScore, Usage


def part(text: str, tokens: Sequence[tuple[str, float]] | None = None) -> Part:
    """One answer. `tokens` are texts with their probabilities; one certain token unless given."""
    given = [(text, 1.0)] if tokens is None else tokens
    return Part(
        route=Route(adapter="base", confidence=1, reason="chosen by you", text=""),
        digest=None,
        decoding=Decoding(),
        text=text,
        finish_reason="stop",
        usage=Usage(completion_tokens=len(given)),
        timing=Timing(total=1.0),
        scores=tuple(TokenScore(token=token, token_id=0, logprob=math.log(p)) for token, p in given),
    )
