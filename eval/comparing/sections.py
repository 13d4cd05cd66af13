"""What is asked of whom: one section for each kind of question, closed book and open book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from assistant.catalog import Adapter
from assistant.comparison.request import TUNED, WITH_DOCUMENTS, Mode
from assistant.errors import EvaluationError
from assistant.messages import BASE, ChatRequest, Retrieval
from assistant.training.data import Item, read_items
from assistant.training.tasks.task import Form, Record
from eval.measure import Asked
from eval.tasks import legal, medical, qa
from eval.tasks.interface import DATA, Measured, Prompt, Shots, Task, ask

Book = Literal["closed", "open"]
"""The question alone, or with its passage."""

MODES: Mapping[Book, tuple[Mode, ...]] = {
    "closed": ("prompt", "few-shot", "rag", "tuned", "rag-tuned"),
    "open": ("prompt", "few-shot", "tuned"),
}
"""With its passage given there is nothing to look for, so an open book has no mode that searches."""


@dataclass(frozen=True)
class Section:
    """One kind of question in one book. `headline` is the figure it is told by; `file` is where a folder has it."""

    name: str
    title: str
    book: Book
    task: Task
    measured: Measured
    file: str
    headline: str
    prompts: Mapping[Mode, Prompt] = field(repr=False)

    @property
    def key(self) -> str:
        return f"{self.name}.{self.book}"

    @property
    def modes(self) -> tuple[Mode, ...]:
        return MODES[self.book]

    def load(self, folder: str | None) -> list[Item]:
        """Its records in the folder; those of our own set for None. Raises DataError; EvaluationError for none."""
        source = str(Path(folder) / self.file if folder else DATA / f"{self.name}.jsonl")
        items = [item for item in read_items([source], self.task.trained, "test") if item.kind is self.measured.kind]
        if not items:
            raise EvaluationError(f"{source}: no {self.measured.kind.name} records")
        return items

    def request(self, mode: Mode, item: Item, adapter: Adapter, retrieval: Retrieval) -> ChatRequest:
        """As `eval.run` asks it in this mode, of these documents."""
        asked = Asked(adapter.name, "rag", adapter.card) if mode in TUNED else Asked(BASE, "rag")
        request = asked.request(self.prompts[mode], item, self.measured)
        if mode in WITH_DOCUMENTS:
            query = retrieval.model_copy(update={"query": item.record["question"]})
            return request.model_copy(update={"retrieval": query})
        return request.model_copy(update={"retrieval": None})


def in_few_words(record: Record) -> str:
    return f"{record['question']}\nAnswer with a few words. Do not write a sentence."


FACTS: Shots = (
    ({"question": "What is the capital of Portugal?"}, "Lisbon"),
    ({"question": "In which year did the first people land on the Moon?"}, "1969"),
    ({"question": "Who wrote Hamlet?"}, "William Shakespeare"),
)


def _pair(
    name: str,
    title: str,
    task: Task,
    measured: Measured,
    file: str,
    headline: str,
    chosen: Mapping[Mode, str],
    closed: Form,
    shots: Shots,
) -> tuple[Section, Section]:
    """Both books. `chosen` are the base's best prompts of each mode on training data, see docs/evaluation.md."""
    from_documents: dict[Mode, Prompt] = {
        "rag": measured.prompt("rag", None),
        "rag-tuned": measured.prompt("rag", "plain"),
    }
    alone: dict[Mode, Prompt] = {
        "prompt": Prompt("closed", "prompt", ask(closed)),
        "few-shot": Prompt("turns-closed", "few-shot", ask(closed, shots)),
        "tuned": from_documents["rag-tuned"],
        **from_documents,
    }
    given: dict[Mode, Prompt] = {
        "prompt": measured.prompt("prompt", chosen["prompt"]),
        "few-shot": measured.prompt("few-shot", chosen["few-shot"]),
        "tuned": measured.prompt("tuned", "plain"),
    }
    both = Section(name, title, "closed", task, measured, file, headline, alone)
    return both, replace(both, book="open", prompts=given)


SECTIONS: tuple[Section, ...] = (
    *_pair(
        "qa",
        "QA",
        qa.QA,
        qa.QA.measured[0],
        "qa/test.jsonl",
        "f1",
        {"prompt": "short", "few-shot": "turns-short"},
        in_few_words,
        FACTS,
    ),
    *_pair(
        "legal",
        "Legal",
        legal.LEGAL,
        legal.LEGAL.measured[0],
        "legal/policyqa_test.jsonl",
        "f1",
        {"prompt": "words", "few-shot": "turns-quote"},
        in_few_words,
        legal.POLICY_SHOTS,
    ),
    *_pair(
        "medical",
        "Medical",
        medical.MEDICAL,
        medical.MEDICAL.measured[0],
        "medical/pubmedqa_test.jsonl",
        "accuracy",
        {"prompt": "one-word", "few-shot": "turns-one-word"},
        medical.asked_for_a_word,
        medical.RESEARCH_SHOTS,
    ),
)
NAMES = tuple(dict.fromkeys(section.name for section in SECTIONS))
