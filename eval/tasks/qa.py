"""Question answering: a few words from a given context."""

from __future__ import annotations

from assistant.training.tasks import qa
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask
from eval.tasks.scorers import Span

SHOTS = (
    (
        {
            "context": "The mill at Tarn was built in 1802 by two brothers, Edwin and Paul Marsh, to grind barley.",
            "question": "What was ground at the mill?",
        },
        "barley",
    ),
    (
        {
            "context": "After the flood the council moved the market to Hill Street, where it has been held every "
            "Friday since.",
            "question": "On which day is the market held?",
        },
        "Friday",
    ),
    (
        {
            "context": "The comet was first seen by Lena Ortiz from a rooftop in Quito, three weeks before any "
            "observatory noticed.",
            "question": "Who saw the comet first?",
        },
        "Lena Ortiz",
    ),
)


def plain(record: Record) -> str:
    return f"Context: {record['context']}\n\nQuestion: {record['question']}"


def short(record: Record) -> str:
    task = "Answer the question with a few words copied from the context. Do not write a sentence."
    return f"{task}\n\n{plain(record)}\n\nAnswer:"


def span(record: Record) -> str:
    return f"{plain(record)}\n\nThe shortest answer, copied from the context:"


def question(record: Record) -> str:
    return str(record["question"])


def briefly(record: Record) -> str:
    return f"{question(record)}\nAnswer with a few words copied from the context. Do not write a sentence."


QA = Task(
    qa.QA,
    (
        Measured(
            qa.PASSAGE,
            Span(lambda record: record["answers"]),
            (
                Prompt("short", "prompt", ask(short)),
                Prompt("span", "prompt", ask(span)),
                Prompt("turns-short", "few-shot", ask(short, SHOTS)),
                Prompt("turns", "few-shot", ask(plain, SHOTS)),
                Prompt("briefly", "rag", ask(briefly)),
                Prompt("plain", "rag", ask(question)),
            ),
            max_tokens=64,
        ),
    ),
)
