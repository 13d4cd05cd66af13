"""Conversation → token ids. Training and serving both come through here, so they cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from assistant.messages import Message, PromptTemplate, Role

COMMON_FRAMES = r"<\|[^<>|\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>"
"""Marks of conversations that many models have read, whichever the base is."""


class Prompter:
    """Renders conversations with the base's own chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def render(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> list[int]:
        """Token ids of the conversation, as `write` puts it."""
        return self.encode(self.write(messages, template))

    def write(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> str:
        """The conversation as one text, ending where the assistant's next words begin.

        With a `template`, every user message is wrapped by it, its system message leads unless the
        conversation brings one of its own, and a single-turn one leaves out all but the last message.
        """
        turns = [turn.model_dump() for turn in apply_template(messages, template)]
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def encode(self, text: str) -> list[int]:
        """Token ids of raw text; nothing is added to it."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def disarm(self, text: str) -> str:
        """The text with nothing in it that frames a conversation, for this base or for others: `(im_end)` is left of
        `<|im_end|>`."""
        return self._frame.sub(_bare, text)

    @cached_property
    def _frame(self) -> re.Pattern[str]:
        """The tokens that stand for themselves, the chat template's marks, and those of other families of models."""
        tokens = {token for token in self.tokenizer.get_added_vocab() if token.strip()}
        own = sorted(tokens | self._marks(tokens), key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, own), COMMON_FRAMES]), re.IGNORECASE)

    def _marks(self, tokens: Iterable[str]) -> set[str]:
        """The chat template's own words, tokens aside, that no text has by accident: a bracket, bar or # is in them."""
        said = "\N{OBJECT REPLACEMENT CHARACTER}"
        roles: tuple[Role, ...] = ("system", "user", "assistant", "user")
        frame = self.write([Message(role=role, content=said) for role in roles])
        for known in (said, *tokens):
            frame = frame.replace(known, " ")
        return {word for word in frame.split() if re.search(r"[<>\[\]{}|#]", word)}

    def render_example(
        self, messages: Sequence[Message], template: PromptTemplate | None = None
    ) -> tuple[list[int], list[int]]:
        """One training example: (prompt ids as served, answer ids with the end-of-turn token).

        The last message is the answer and must be the assistant's.
        """
        if messages[-1].role != "assistant":
            raise ValueError(f"the last message of an example must be the assistant's, not {messages[-1].role!r}")
        answer = self.encode(messages[-1].content)
        return self.render(messages[:-1], template), [*answer, self.tokenizer.eos_token_id]


def _bare(frame: re.Match[str]) -> str:
    word = re.sub(r"^\W+|\W+$", "", frame.group())
    return f"({word})" if word else " "


def apply_template(messages: Sequence[Message], template: PromptTemplate | None) -> list[Message]:
    if template is None:
        return list(messages)
    if template.single_turn:
        messages = [*(message for message in messages[:-1] if message.role == "system"), messages[-1]]
    turns = [
        message.model_copy(update={"content": template.wrap(message.content)}) if message.role == "user" else message
        for message in messages
    ]
    if template.system is not None and turns[0].role != "system":
        turns.insert(0, Message(role="system", content=template.system))
    return turns
