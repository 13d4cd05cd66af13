"""Translation into the language that a record names."""

from __future__ import annotations

from assistant.training.tasks import translation
from assistant.training.tasks.task import Record
from eval.tasks.interface import Measured, Prompt, Task, ask
from eval.tasks.scorers import Text

SHOTS = (
    ({"text": "The train leaves in ten minutes.", "to": "French"}, "Le train part dans dix minutes."),
    ({"text": "Where did you buy these shoes?", "to": "German"}, "Wo hast du diese Schuhe gekauft?"),
    ({"text": "Mi hermana vive en una casa pequeña.", "to": "English"}, "My sister lives in a small house."),
    ({"text": "We will eat at home tonight.", "to": "Italian"}, "Stasera mangeremo a casa."),
)


def only(record: Record) -> str:
    return f"Translate this text to {record['to']}. Write the translation only.\n\n{record['text']}"


def brief(record: Record) -> str:
    return f"Translate to {record['to']}: {record['text']}"


def headed(record: Record) -> str:
    return f"Text: {record['text']}\n{record['to']}:"


TRANSLATION = Task(
    translation.TRANSLATION,
    (
        Measured(
            translation.SENTENCE,
            Text(lambda record: [record["translation"].strip()], is_english=False),
            (
                Prompt("only", "prompt", ask(only)),
                Prompt("brief", "prompt", ask(brief)),
                Prompt("turns", "few-shot", ask(brief, SHOTS)),
                Prompt("turns-only", "few-shot", ask(only, SHOTS)),
                Prompt("turns-headed", "few-shot", ask(headed, SHOTS)),
            ),
            max_tokens=96,
        ),
    ),
)
