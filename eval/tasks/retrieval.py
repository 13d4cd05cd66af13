"""Retrieval: is the passage that answers a question found, by vectors, by words, and by both together?

`python -m eval.run --task retrieval [--data FOLDER|FILE] --out PATH.json`
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import DataError, EvaluationError, NothingRelevant
from assistant.messages import Passage, Retrieval
from assistant.retrieval.embedder import Embedder
from assistant.retrieval.records import Collection, Corpus
from assistant.retrieval.rerank import Reranker
from assistant.retrieval.retriever import Embed, Rerank, Retriever, Snapshot
from assistant.settings import Settings
from assistant.training.data import json_lines, sample
from assistant.training.tasks.task import Record, words_missing
from eval.digest import digest_of
from eval.metrics.bootstrap import Measure, means, measure
from eval.tasks.interface import DATA, Outcome
from eval.tasks.routing import remembered

OWN = DATA / "retrieval.jsonl"
PASSAGES = ("qa/*.jsonl", "legal/policyqa_*.jsonl")
"""Files of a folder whose contexts are the passages."""
QUESTIONS = {"qa": "qa/test.jsonl", "policy": "legal/policyqa_test.jsonl"}
"""Kind of question → its file in a folder."""
OFF_TOPIC = "off-topic"
DEPTH = 20
"""Passages looked at for a question: the most that one can ask for."""
RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Question:
    """`passage` is the text that answers it; None where nothing in the set does."""

    id: str
    kind: str
    text: str
    passage: str | None


@dataclass(frozen=True)
class Sought:
    """Questions, and the passages they are asked of."""

    passages: tuple[str, ...]
    questions: tuple[Question, ...]

    @property
    def digest(self) -> str:
        """Of what is asked and searched; ids may tell the place of a file, which does not count."""
        return digest_of([*self.passages, *((question.text, question.passage) for question in self.questions)])


def read(data: str | None) -> Sought:
    """A folder with the files of `PASSAGES`, or one file of lines with `question` and `context`; our own for None.

    The passages are all distinct contexts, as they stand. In a file a line without a context is a question that
    nothing answers.

    Raises:
        DataError: a file is absent or malformed; names file and line.
    """
    path = Path(data) if data else OWN
    if not path.is_dir():
        rows = list(_rows(path))
        questions = [_question(where, row, path.stem if "context" in row else OFF_TOPIC) for where, row in rows]
    else:
        found = [file for pattern in PASSAGES for file in sorted(path.glob(pattern))]
        missing = [name for name in QUESTIONS.values() if path / name not in found]
        if missing:
            raise DataError(f"{path}: no {missing[0]}; allowed: a folder with {', '.join(QUESTIONS.values())}")
        kinds = {path / name: kind for kind, name in QUESTIONS.items()}
        rows, questions = [], []
        for file in found:
            of_file = list(_rows(file, "context"))
            rows += of_file
            if file in kinds:
                questions += [_question(where, row, kinds[file]) for where, row in of_file]
    passages = dict.fromkeys(row["context"] for _, row in rows if "context" in row)
    if not passages:
        raise DataError(f"{path}: no line has a context; allowed: lines with question and context")
    return Sought(tuple(passages), tuple(questions))


def run(settings: Settings, sought: Sought, limit: int | None = None, seed: int = 0) -> Outcome:
    """Measure the search of these settings.

    Raises:
        EvaluationError: there are no questions.
    """
    rerank = Reranker(settings.reranker).scores if settings.reranker else None
    return search_all(sought, Embedder(settings.embedder).embed, rerank, limit, seed)


def search_all(
    sought: Sought, embed: Embed, rerank: Rerank | None = None, limit: int | None = None, seed: int = 0
) -> Outcome:
    """Search for every question as users do. A passage beyond the first 20 counts as not found.

    `vector_` and `bm25_` are the two lists alone, `fused_` what the retriever gives, `reranked_` after the
    cross-encoder where there is one. `refused` is the share of answerable questions told that nothing fits,
    `off-topic.refused` that of the others.

    Raises:
        EvaluationError: there is nothing to ask.
    """
    questions = sample(sought.questions, limit, seed)
    if not questions:
        raise EvaluationError("no questions; an empty run has no score")
    embed = remembered(embed)
    library = Shelf(sought.passages, embed)
    embed([question.text for question in questions])  # all at once, which is faster
    snapshot = Snapshot.of(library.corpus())
    methods: dict[str, Callable[[str], Sequence[int]]] = {
        "vector": lambda text: list(snapshot.index.search(embed([text])[0], DEPTH)),
        "bm25": lambda text: list(snapshot.keywords.search(text, DEPTH)),
        "fused": _through(Retriever(library, embed)),
    }
    if rerank is not None:
        methods["reranked"] = _through(Retriever(library, embed, rerank))
    place = {text: id for id, text in enumerate(sought.passages)}
    examples = [_ask(question, methods, sought.passages, place) for question in questions]
    answerable = [example for example in examples if example["kind"] != OFF_TOPIC]
    return Outcome(
        metrics={name: value for names, own in figures(examples) for name, value in _means(names, own).items()},
        examples=examples,
        config={"passages": len(sought.passages), "depth": DEPTH, "is_exact": snapshot.index.is_exact},
        cost=_means({"seconds": "seconds"}, answerable or examples),
    )


class Shelf:
    """Passages in memory, in place of a library of documents. Their ids are their places."""

    version = (0, 0)

    def __init__(self, texts: Sequence[str], embed: Embed) -> None:
        ids = np.arange(len(texts), dtype=np.int64)
        self._corpus = Corpus(self.version, ids, [""] * len(texts), list(texts), embed(texts))

    def corpus(self) -> Corpus:
        return self._corpus

    def collections(self) -> list[Collection]:
        return []

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        texts = self._corpus.texts
        return [Passage(id=n, document_id="", document="", start=0, end=len(texts[n]), text=texts[n]) for n in ids]


def _through(retriever: Retriever) -> Callable[[str], Sequence[int]]:
    retriever.refresh()
    return lambda text: [passage.id for passage in retriever.search(text, Retrieval(top_k=DEPTH))]


def _ask(
    question: Question,
    methods: dict[str, Callable[[str], Sequence[int]]],
    passages: Sequence[str],
    place: dict[str, int],
) -> dict[str, Any]:
    example: dict[str, Any] = {
        "id": question.id,
        "kind": question.kind,
        "input": question.text,
        "expected": question.passage or "",
        "answer": "",
        "refused": 0.0,
    }
    for method, search in methods.items():
        started = time.perf_counter()
        try:
            found = list(search(question.text))
        except NothingRelevant:
            found, example["refused"] = [], 1.0
        if method == "fused":
            example["seconds"] = time.perf_counter() - started
            example["answer"] = passages[found[0]] if found else ""
        if question.passage is not None:
            wanted = place[question.passage]
            rank = found.index(wanted) + 1 if wanted in found else None
            example |= {f"{method}_recall@{k}": float(rank is not None and rank <= k) for k in RECALLS}
            example |= {f"{method}_mrr": 1 / rank if rank else 0.0, f"{method}_rank": rank}
    return example


def figures(examples: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, str], Sequence[Mapping[str, Any]]]]:
    """Figure → the field it is the mean of, and the examples it is over: all that have an answer, each kind of them
    where there are several, and those that nothing answers."""
    answerable = [example for example in examples if example["kind"] != OFF_TOPIC]
    kinds = list(dict.fromkeys(example["kind"] for example in answerable))
    if answerable:
        names = [name for name in answerable[0] if "_recall@" in name or name.endswith("_mrr")]
        yield {name: name for name in (*names, "refused")}, answerable
        for kind in kinds if len(kinds) > 1 else ():
            yield {f"{kind}.{name}": name for name in names}, [e for e in answerable if e["kind"] == kind]
    if off_topic := [example for example in examples if example["kind"] == OFF_TOPIC]:
        yield {f"{OFF_TOPIC}.refused": "refused"}, off_topic


def _means(names: Mapping[str, str], examples: Sequence[Mapping[str, Any]]) -> dict[str, Measure]:
    columns = means(*([example[name] for example in examples] for name in names.values()))
    return dict(zip(names, measure(columns, len(examples)), strict=True))


def _rows(path: Path, *fields: str) -> Iterator[tuple[str, Record]]:
    """Raises DataError where a line lacks `question` or one of the fields."""
    for where, row in json_lines(path):
        needed = ("question", *fields, *(["context"] if "context" in row else []))
        absent = [name for name in needed if name not in row]
        fault = f"no field {absent[0]!r}; a line has question and context" if absent else words_missing(row, *needed)
        if fault:
            raise DataError(f"{where}: {fault}")
        yield where, row


def _question(where: str, row: Record, kind: str) -> Question:
    return Question(str(row.get("id", where)), kind, row["question"], row.get("context"))
