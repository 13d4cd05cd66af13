"""Sentiment: is a text positive or negative?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from assistant.messages import Decoding, Message
from assistant.training.data import read_items
from assistant.training.tasks.sentiment import LABELS, SENTIMENT
from eval.metrics.bootstrap import measure_mean
from eval.metrics.classification import classification
from eval.tasks.interface import Outcome, Prompt, Record

OWN = Path(__file__).parent / "data" / "sentiment.jsonl"
OTHER = "other"
"""The prediction of an answer that names no label."""

SHOTS = (
    ("The jokes are stale and the plot goes nowhere.", "negative"),
    ("A warm, clever film with a wonderful cast.", "positive"),
    ("I left the theatre smiling.", "positive"),
    ("Two hours of my life I will not get back.", "negative"),
)
MORE_SHOTS = (
    *SHOTS,
    ("dull, loud and far too long", "negative"),
    ("a small gem with a big heart", "positive"),
    ("The food was cold and the waiter was rude.", "negative"),
    ("Works exactly as promised, and it looks great.", "positive"),
)
ONE_WORD = "Is the sentiment of this text positive or negative? Answer with one word.\n\nText: {text}"
REVIEW = "Review: {text}\nSentiment (positive or negative):"
CHOOSE = "{text}\n\nWhat is the sentiment of the text above? Choose from: negative, positive."


def ask_in_one_message(record: Record) -> tuple[Message, ...]:
    """The worked examples as a list that the text to label continues."""
    shots = "".join(f"Review: {text}\nSentiment: {label}\n\n" for text, label in MORE_SHOTS)
    task = "Label the last review as positive or negative, like the others.\n\n"
    return (Message(role="user", content=f"{task}{shots}Review: {record['text']}\nSentiment:"),)


def ask(form: str, shots: Sequence[tuple[str, str]] = ()) -> Callable[[Record], tuple[Message, ...]]:
    """Messages that put the text into `form`, after `shots` worked examples as earlier turns."""

    def messages(record: Record) -> tuple[Message, ...]:
        turns = []
        for text, label in shots:
            turns += [Message(role="user", content=form.format(text=text)), Message(role="assistant", content=label)]
        return (*turns, Message(role="user", content=form.format(text=record["text"])))

    return messages


class Sentiment:
    """Accuracy, macro precision, recall and F1, and how often the answer is the bare label."""

    name = "sentiment"
    decoding = Decoding(temperature=0, max_tokens=24)
    prompts = (
        Prompt("one-word", "prompt", ask(ONE_WORD)),
        Prompt("review", "prompt", ask(REVIEW)),
        Prompt("choose", "prompt", ask(CHOOSE)),
        Prompt("turns-8", "few-shot", ask(REVIEW, MORE_SHOTS)),
        Prompt("turns", "few-shot", ask(REVIEW, SHOTS)),
        Prompt("turns-one-word", "few-shot", ask(ONE_WORD, SHOTS)),
        Prompt("turns-8-choose", "few-shot", ask(CHOOSE, MORE_SHOTS)),
        Prompt("list-8", "few-shot", ask_in_one_message),
        Prompt("plain", "tuned", lambda record: (Message(role="user", content=record["text"]),)),
    )

    def load(self, data: str | None) -> list[Record]:
        return [item.record for item in read_items([data or str(OWN)], SENTIMENT, split="test")]

    def score(self, records: Sequence[Record], answers: Sequence[str]) -> Outcome:
        predicted = [label_of(answer) for answer in answers]
        expected = [record["label"] for record in records]
        metrics = classification(predicted, expected, LABELS)
        exact = [float(answer.strip() == label) for answer, label in zip(answers, expected, strict=True)]
        metrics["exact"] = measure_mean(exact)
        examples = [
            {"id": record.get("id"), "text": record["text"], "expected": label, "answer": answer, "predicted": guess}
            for record, label, answer, guess in zip(records, expected, answers, predicted, strict=True)
        ]
        return Outcome(metrics, examples)


def label_of(answer: str) -> str:
    """The first label the answer names as a word of its own; OTHER where it names none."""
    found = re.search(rf"\b({'|'.join(LABELS)})\b", answer.lower())
    return found.group() if found else OTHER
