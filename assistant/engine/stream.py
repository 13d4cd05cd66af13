"""Token ids → text pieces: a character is held back until all its bytes are there, a stop string never leaks."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

REPLACEMENT = "\ufffd"
CONTEXT = 8
"""Tokens that are decoded again before the first one, of a text that goes on: how it reads may hang on them."""


class TextStream:
    """The text of one answer as it grows.

    Args:
        stop: the answer ends before the first of these to appear.
        shows_special: special tokens are text too.
        before: what the text goes on from. Some tokenizers drop the space that the first token of a text begins with.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        stop: Sequence[str] = (),
        shows_special: bool = False,
        before: Sequence[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._skips_special = not shows_special
        self._ids = list(before[-CONTEXT:])
        if self._decode(self._ids).endswith(REPLACEMENT):
            self._ids = []  # half a character, which would read otherwise once it is whole
        self._decoded = len(self._ids)
        self._context = 0
        self._held = ""
        self.is_stopped = False

    def push(self, token: int) -> str:
        """The text that is certain now that `token` has come; "" while some is held back."""
        self._ids.append(token)
        return self._release(self._whole_text())

    def finish(self) -> str:
        """What was held back, at the end of the answer. Incomplete bytes become U+FFFD."""
        if self.is_stopped:
            return ""
        text = self._release(self._new_text())
        held, self._held = self._held, ""
        return text if self.is_stopped else text + held

    def _new_text(self) -> str:
        """Text since the last piece. Some tokens read differently after others, so a few are decoded again."""
        before = self._decode(self._ids[self._context : self._decoded])
        after = self._decode(self._ids[self._context :])
        return after[len(before) :]

    def _whole_text(self) -> str:
        text = self._new_text()
        if text.endswith(REPLACEMENT):
            return ""
        if text:
            self._context, self._decoded = self._decoded, len(self._ids)
        return text

    def _decode(self, ids: list[int]) -> str:
        return str(
            self._tokenizer.decode(ids, skip_special_tokens=self._skips_special, clean_up_tokenization_spaces=False)
        )

    def _release(self, text: str) -> str:
        self._held += text
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            text, self._held = self._held[: min(found)], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stop), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that could be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
