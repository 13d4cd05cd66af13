"""General chat: questions of common knowledge, which show what tuning has left of the base."""

from __future__ import annotations

from assistant.training.tasks import task as trained
from assistant.training.tasks.task import Kind, Record, each, words_missing
from eval.tasks.interface import Measured, Prompt, Task, ask
from eval.tasks.scorers import Said, accepted_missing

NAME = "chat"
QUESTION = Kind(
    name=NAME,
    fields=("question", "accepted"),
    check=lambda record: words_missing(record, "question") or accepted_missing(record, "accepted"),
    forms=(lambda record: record["question"],),
    instructions=(lambda record: record["question"],),
    answers=each(lambda record: record["accepted"][0]),
)
SHOTS = (
    ({"question": "What is the largest ocean on Earth?"}, "The largest ocean on Earth is the Pacific Ocean."),
    ({"question": "How many seconds are in a minute?"}, "There are 60 seconds in a minute."),
    ({"question": "Who painted The Starry Night?"}, "The Starry Night was painted by Vincent van Gogh."),
)


def bare(record: Record) -> str:
    return str(record["question"])


def briefly(record: Record) -> str:
    return f"{record['question']} Answer in one sentence."


CHAT = Task(
    trained.Task(NAME, "General questions.", (QUESTION,), template=None, card_examples=()),
    (
        Measured(
            QUESTION,
            Said(lambda record: record["accepted"]),
            (
                Prompt("bare", "prompt", ask(bare)),
                Prompt("briefly", "prompt", ask(briefly)),
                Prompt("turns", "few-shot", ask(bare, SHOTS)),
            ),
            max_tokens=64,
        ),
    ),
)
