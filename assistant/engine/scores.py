"""Logits → the log-probabilities of the tokens that came, for rows that ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from assistant.engine.stream import TextStream
from assistant.messages import TokenScore, TopToken


class TokenTexts:
    """What single tokens and whole prompts read as, special tokens included."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        if token not in self._known:
            # Read behind itself: some tokenizers drop the space that the first token of a text begins with.
            self._known[token] = self.whole([token, token])[len(self.whole([token])) :]
        return self._known[token]

    def whole(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


class ScoreBook:
    """The scores of one sequence, in the order of its tokens.

    Args:
        top: how many of the likeliest tokens to note beside each.
        opening: the first token of an echoed prompt: nothing foretells it, so it has no score.
        before: what the first token with a score goes on from, see `TextStream`.
    """

    def __init__(self, texts: TokenTexts, top: int, opening: int | None = None, before: Sequence[int] = ()) -> None:
        self.prompt: list[TokenScore] = []
        self.answer: list[TokenScore] = []
        self._texts = texts
        self._top = top
        self._stream = TextStream(texts.tokenizer, shows_special=True, before=before)
        self._given = 0
        if opening is not None:
            self.prompt.append(TokenScore(token=self._stream.push(opening), token_id=opening, logprob=None))

    def read(self, logits: Tensor, tokens: list[int]) -> Iterator[TokenScore]:
        """The scores of consecutive tokens, from the logits before each, (tokens, vocabulary)."""
        total = logits.logsumexp(-1, keepdim=True)
        own = logits.gather(-1, torch.tensor(tokens, device=logits.device)[:, None]) - total
        best, ids = logits.topk(self._top)
        for token, (logprob,), scores, others in zip(
            tokens, own.tolist(), (best - total).tolist(), ids.tolist(), strict=True
        ):
            text = self._stream.push(token)
            top = tuple(
                TopToken(token=text if other == token else self._texts[other], token_id=other, logprob=score)
                for other, score in zip(others, scores, strict=True)
            )
            yield TokenScore(token=text, token_id=token, logprob=logprob, top=top)

    def take(self) -> tuple[TokenScore, ...]:
        """Those that were not taken before."""
        given, self._given = self._given, len(self.prompt) + len(self.answer)
        return (*self.prompt[given:], *self.answer[max(given - len(self.prompt), 0) :])
