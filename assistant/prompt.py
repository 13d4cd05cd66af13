"""Conversation → token ids. Training and serving both come through here, so they cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import takewhile

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from assistant.errors import InvalidRequest
from assistant.messages import Message, PromptTemplate, Role

COMMON_FRAMES = r"<\|[^<>|\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>"
"""Marks of conversations that many models have read, whichever the base is."""

SAID = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands for what is said where a chat template is asked what it puts around it."""


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
        conversation brings one of its own, and a single-turn one leaves out all but the last message. Where the base
        knows no system role, what it says goes before the first words of the user.

        Raises:
            InvalidRequest: the chat template takes no such conversation, as when roles must alternate.
        """
        turns = apply_template(messages, template)
        try:
            return self._written(turns if self._takes_system else without_system(turns))
        except TemplateError as error:
            raise InvalidRequest(f"this base's chat template does not take the conversation: {error}") from error

    def _written(self, turns: Sequence[Message]) -> str:
        told = [turn.model_dump() for turn in turns]
        return str(self.tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True))

    @cached_property
    def _takes_system(self) -> bool:
        try:
            return SAID in self._written([Message(role="system", content=SAID), Message(role="user", content="Hi")])
        except TemplateError:
            return False

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
        roles: tuple[Role, ...] = ("system", "user", "assistant", "user")
        frame = self.write([Message(role=role, content=SAID) for role in roles])
        for known in (SAID, *tokens):
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


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The same, with what the system says first put before the first words of the user."""
    leading = list(takewhile(lambda message: message.role == "system", messages))
    others = list(messages[len(leading) :])
    if leading and others and others[0].role == "user":
        told = "\n\n".join(message.content for message in [*leading, others[0]])
        others[0] = others[0].model_copy(update={"content": told})
        return others
    return list(messages)


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
