"""Sentiment: is a text positive or negative?"""

from __future__ import annotations

from assistant.training.tasks import sentiment
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask, ask_in_one_message
from eval.tasks.scorers import Label

SHOTS = (
    ({"text": "The jokes are stale and the plot goes nowhere."}, "negative"),
    ({"text": "A warm, clever film with a wonderful cast."}, "positive"),
    ({"text": "I left the theatre smiling."}, "positive"),
    ({"text": "Two hours of my life I will not get back."}, "negative"),
)
MORE_SHOTS = (
    *SHOTS,
    ({"text": "dull, loud and far too long"}, "negative"),
    ({"text": "a small gem with a big heart"}, "positive"),
    ({"text": "The food was cold and the waiter was rude."}, "negative"),
    ({"text": "Works exactly as promised, and it looks great."}, "positive"),
)


def one_word(record: Record) -> str:
    return f"Is the sentiment of this text positive or negative? Answer with one word.\n\nText: {record['text']}"


def review(record: Record) -> str:
    return f"Review: {record['text']}\nSentiment (positive or negative):"


def choose(record: Record) -> str:
    return f"{record['text']}\n\nWhat is the sentiment of the text above? Choose from: negative, positive."


def listed(record: Record) -> str:
    return f"Review: {record['text']}\nSentiment:"


SENTIMENT = Task(
    sentiment.SENTIMENT,
    (
        Measured(
            sentiment.REVIEW,
            Label(sentiment.LABELS),
            (
                Prompt("one-word", "prompt", ask(one_word)),
                Prompt("review", "prompt", ask(review)),
                Prompt("choose", "prompt", ask(choose)),
                Prompt("turns-8", "few-shot", ask(review, MORE_SHOTS)),
                Prompt("turns", "few-shot", ask(review, SHOTS)),
                Prompt("turns-one-word", "few-shot", ask(one_word, SHOTS)),
                Prompt("turns-8-choose", "few-shot", ask(choose, MORE_SHOTS)),
                Prompt(
                    "list-8",
                    "few-shot",
                    ask_in_one_message(
                        "Label the last review as positive or negative, like the others.", listed, MORE_SHOTS
                    ),
                ),
            ),
            max_tokens=24,
        ),
    ),
)
