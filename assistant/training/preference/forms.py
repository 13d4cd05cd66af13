"""The values inside preference rows: texts, lists of messages, HH-RLHF's dialogues, PandaLM's annotators."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pydantic import ValidationError

from assistant.errors import DataError
from assistant.messages import Message, Role

SPEAKERS: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
TIE = 0


class LeftOut(Exception):
    """A row that is well-formed and says nothing; the message is the reason."""


def turns(where: str, name: str, value: Any) -> tuple[Message, ...]:
    """A prompt: a text is the user's one message; a list of messages must end with the user's."""
    messages = _messages(where, name, value, "user")
    if messages[-1].role != "user" or not messages[-1].content.strip():
        raise DataError(f"{where}: {name} must end with a message of the user's that holds some text")
    return messages


def only_answer(where: str, name: str, value: Any) -> str:
    """An answer: a text, or a list with the assistant's one message."""
    messages = _messages(where, name, value, "assistant")
    if len(messages) != 1 or messages[0].role != "assistant":
        raise DataError(f"{where}: {name} holds {len(messages)} messages; allowed: a text, or the assistant's one")
    return messages[0].content


def dialogue(where: str, name: str, value: Any) -> tuple[Message, ...]:
    """A whole conversation: a list of messages, or a text of HH-RLHF's form. Raises LeftOut where it does not end with
    a question and its answer."""
    if isinstance(value, str):
        _, *parts = SPEAKER.split(value)
        if not parts:
            raise DataError(
                f"{where}: {name} has no 'Human:' and 'Assistant:'; a text of its own needs a prompt beside it"
            )
        messages = tuple(
            Message(role=SPEAKERS[speaker], content=text.strip())
            for speaker, text in zip(parts[::2], parts[1::2], strict=True)
        )
    else:
        messages = _messages(where, name, value, "user")
    if len(messages) < 2 or messages[-1].role != "assistant" or messages[-2].role != "user":
        raise LeftOut(f"{name} does not end with a question of the user's and the assistant's answer")
    return messages


def judged_by_most(where: str, annotators: Any) -> int:
    """1 or 2, the answer that most of PandaLM's annotators preferred. Raises LeftOut where there is no such."""
    if not isinstance(annotators, list) or not annotators or not set(annotators) <= {0, 1, 2}:
        raise DataError(f"{where}: annotators are {annotators!r}; allowed: a list of 0 (tie), 1 and 2")
    (winner, votes), *others = Counter(annotators).most_common()
    if winner == TIE or (others and others[0][1] == votes):
        raise LeftOut("a tie")
    return int(winner)


def _messages(where: str, name: str, value: Any, role: Role) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message(role=role, content=value),)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: {name} is {value!r:.80}; allowed: a text, or a list of messages")
    try:
        # What else a message carries, such as a name, is not shown to the model.
        return tuple(Message(role=turn["role"], content=turn["content"]) for turn in value)
    except (KeyError, TypeError, ValidationError) as error:
        raise DataError(f"{where}: {name}: each message has role (system, user, assistant) and content") from error
