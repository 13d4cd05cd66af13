"""Moderation: is a post hateful, offensive, or neither?"""

from __future__ import annotations

from assistant.training.tasks import moderation
from assistant.training.tasks.moderation import post
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask, ask_in_one_message
from eval.tasks.scorers import Label

SHOTS = (
    ({"text": "shut up you idiot, nobody asked"}, "offensive"),
    ({"text": "Rain again, so the match is off."}, "neither"),
    ({"text": "People of that religion are vermin and should be driven out"}, "hate"),
    ({"text": "what a damn stupid thing to say lol"}, "offensive"),
    ({"text": "This country was fine before those immigrants came, they are all animals"}, "hate"),
    ({"text": "I burnt the rice and we ate it anyway"}, "neither"),
)
RULES = (
    "Hate attacks people for their origin, religion, sex or the like. Offensive is rude or vulgar without that. "
    "Everything else is neither."
)


def one_word(record: Record) -> str:
    return f"Is this post hate, offensive or neither? Answer with one word.\n\nPost: {post(record)}"


def ruled(record: Record) -> str:
    return f"{RULES}\n\nPost: {post(record)}\n\nLabel (hate, offensive or neither):"


def labelled(record: Record) -> str:
    return f"Post: {post(record)}\nLabel (hate, offensive or neither):"


def brief(record: Record) -> str:
    """Without the names of the labels: a small model takes the one that stands first for the answer."""
    return f"Post: {post(record)}\nLabel:"


def turned(record: Record) -> str:
    return f"Is this post neither, offensive or hate? Answer with one word.\n\nPost: {post(record)}"


MODERATION = Task(
    moderation.MODERATION,
    (
        Measured(
            moderation.POST,
            Label(moderation.LABELS, also={"hateful": "hate"}, explains=True, source=post),
            (
                Prompt("one-word", "prompt", ask(one_word)),
                Prompt("ruled", "prompt", ask(ruled)),
                Prompt("turned", "prompt", ask(turned)),
                Prompt("turns", "few-shot", ask(labelled, SHOTS)),
                Prompt("turns-brief", "few-shot", ask(brief, SHOTS)),
                Prompt("turns-turned", "few-shot", ask(turned, SHOTS)),
                Prompt("turns-one-word", "few-shot", ask(one_word, SHOTS)),
                Prompt("turns-ruled", "few-shot", ask(labelled, SHOTS, system=RULES)),
                Prompt("list", "few-shot", ask_in_one_message(RULES, labelled, SHOTS)),
                Prompt("list-brief", "few-shot", ask_in_one_message(RULES, brief, SHOTS)),
            ),
            max_tokens=24,
        ),
    ),
)
