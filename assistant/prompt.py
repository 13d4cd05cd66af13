"""Conversation → token ids. Training and serving both come through here, so they cannot drift apart."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from assistant.messages import Message, PromptTemplate


class Prompter:
    """Renders conversations with the base's own chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def render(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> list[int]:
        """Token ids of the conversation, ending where the assistant's next words begin.

        With a `template`, every user message is wrapped by it, its system message leads unless the
        conversation brings one of its own, and a single-turn one leaves out all but the last message.
        """
        turns = [turn.model_dump() for turn in apply_template(messages, template)]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self.encode(str(text))

    def encode(self, text: str) -> list[int]:
        """Token ids of raw text; nothing is added to it."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

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
