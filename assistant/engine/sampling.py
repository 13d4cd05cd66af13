"""Logits → next token ids, each row by its own rules and from its own random stream.

The order of the rules is transformers': repetition penalty, constraint, temperature, top-k, top-p.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assistant.engine.sequence import Sequence

CANDIDATES = 256
"""How many of the likeliest tokens top-p looks at first; sorting the whole vocabulary costs milliseconds."""


@torch.inference_mode()
def pick(logits: Tensor, sequences: list[Sequence]) -> list[int | None]:
    """The next id for each row of `logits`, (rows, vocabulary); None for a row with NaN or infinite values."""
    for row, sequence in zip(logits, sequences, strict=True):
        if sequence.decoding.repetition_penalty != 1.0:
            penalise(row, sequence.tokens, sequence.decoding.repetition_penalty)
    finite = logits.isfinite().all(-1).tolist()
    for row, sequence in zip(logits, sequences, strict=True):
        if sequence.constraint is not None:
            restrict(row, sequence.constraint.allowed(sequence.max_tokens - sequence.generated))
    ids: list[int | None] = logits.argmax(-1).tolist()
    for index, sequence in enumerate(sequences):
        if not finite[index]:
            ids[index] = None
        elif not sequence.decoding.is_greedy:
            ids[index] = sample(logits[index], sequence)
    return ids


def sample(logits: Tensor, sequence: Sequence) -> int:
    """Draw from one row with the sequence's own generator, so that company in the batch changes nothing."""
    decoding = sequence.decoding
    if sequence.generator is None:
        sequence.generator = torch.Generator().manual_seed(decoding.seed or 0)
    # From the largest down: what is far below it may become -inf, but nothing inf.
    scores = (logits - logits.max()) / decoding.temperature
    weights, ids = candidates(scores, decoding.top_k, decoding.top_p)
    return int(ids[torch.multinomial(weights, 1, generator=sequence.generator)])


def penalise(logits: Tensor, tokens: list[int], penalty: float) -> None:
    """Divide positive and multiply negative logits of tokens seen so far (Keskar et al., CTRL, 2019); in place."""
    seen = torch.tensor(sorted(set(tokens)))
    scores = logits[seen]
    logits[seen] = torch.where(scores < 0, scores * penalty, scores / penalty)


def restrict(logits: Tensor, allowed: list[int]) -> None:
    """Leave no other token any chance; in place."""
    ids = torch.tensor(allowed)
    kept = logits[ids]
    logits.fill_(float("-inf"))
    logits[ids] = kept


def candidates(logits: Tensor, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """The tokens to draw from: (weights, ids), likeliest first.

    `top_k` 0 is no limit. `top_p` keeps the fewest tokens whose probability, among the top-k, reaches it.
    """
    size = len(logits)
    if top_k == 0 and top_p == 1.0:
        return logits.softmax(-1), torch.arange(size)
    limit = min(top_k or size, size)
    total = logits.logsumexp(-1) if limit == size else None
    count = min(limit, CANDIDATES)
    while True:
        scores, ids = logits.topk(count)
        weights = (scores - total).exp() if total is not None else None
        if weights is None:
            # Probabilities are relative to the top-k alone, so all of them are needed.
            if count < limit:
                count = limit
                continue
            weights = scores.softmax(-1)
        before = weights.cumsum(-1) - weights
        kept = int((before < top_p).sum())
        if kept < count or count == limit:
            return weights[:kept], ids[:kept]
        count = limit
