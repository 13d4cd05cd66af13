"""Question answering: a few words from a given context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from assistant.messages import Decoding, Message
from assistant.training.data import read_items
from assistant.training.tasks.qa import QA
from eval.metrics.bootstrap import measure_mean
from eval.metrics.em_f1 import exact_match, raw_match, token_f1
from eval.tasks.interface import Outcome, Prompt, Record

OWN = Path(__file__).parent / "data" / "qa.jsonl"
INPUT = "Context: {context}\n\nQuestion: {question}"
SHORT = (
    "Answer the question with a few words copied from the context. Do not write a sentence.\n\n" + INPUT + "\n\nAnswer:"
)
SPAN = INPUT + "\n\nThe shortest answer, copied from the context:"
SHOTS = (
    (
        "The mill at Tarn was built in 1802 by two brothers, Edwin and Paul Marsh, to grind barley.",
        "What was ground at the mill?",
        "barley",
    ),
    (
        "After the flood the council moved the market to Hill Street, where it has been held every Friday since.",
        "On which day is the market held?",
        "Friday",
    ),
    (
        "The comet was first seen by Lena Ortiz from a rooftop in Quito, three weeks before any observatory noticed.",
        "Who saw the comet first?",
        "Lena Ortiz",
    ),
)


def ask(form: str, shots: Sequence[tuple[str, str, str]] = ()) -> Callable[[Record], tuple[Message, ...]]:
    """Messages that put context and question into `form`, after `shots` worked examples as earlier turns."""

    def fill(context: str, question: str) -> Message:
        return Message(role="user", content=form.replace("{question}", question).replace("{context}", context))

    def messages(record: Record) -> tuple[Message, ...]:
        turns = []
        for context, question, answer in shots:
            turns += [fill(context, question), Message(role="assistant", content=answer)]
        return (*turns, fill(record["context"], record["question"]))

    return messages


class QuestionAnswering:
    """Exact match and F1 after SQuAD's normalisation, and raw accuracy without it."""

    name = "qa"
    decoding = Decoding(temperature=0, max_tokens=64)
    prompts = (
        Prompt("short", "prompt", ask(SHORT)),
        Prompt("span", "prompt", ask(SPAN)),
        Prompt("turns-short", "few-shot", ask(SHORT, SHOTS)),
        Prompt("turns", "few-shot", ask(INPUT, SHOTS)),
        Prompt("plain", "tuned", ask(INPUT)),
    )

    def load(self, data: str | None) -> list[Record]:
        return [item.record for item in read_items([data or str(OWN)], QA, split="test")]

    def score(self, records: Sequence[Record], answers: Sequence[str]) -> Outcome:
        examples = []
        for record, answer in zip(records, answers, strict=True):
            accepted = record["answers"]
            examples.append(
                {
                    "id": record.get("id"),
                    "question": record["question"],
                    "expected": accepted,
                    "answer": answer,
                    "em": exact_match(answer, accepted),
                    "f1": token_f1(answer, accepted),
                    "raw_accuracy": raw_match(answer, accepted),
                }
            )
        names = ("em", "f1", "raw_accuracy")
        return Outcome({name: measure_mean([example[name] for example in examples]) for name in names}, examples)
