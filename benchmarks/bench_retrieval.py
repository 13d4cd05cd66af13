"""A library of 100,000 passages: how long its index takes to build, how much memory it holds, how fast it answers.

    python -m benchmarks.bench_retrieval --passages 100000 --json PATH

Made: the words of the passages (a vocabulary with Zipf's frequencies, in topics), their vectors (clusters on the unit
sphere, of the embedder's dimensions) and the queries (words of one passage, and a vector near its own). Real: the
embedder, the indexes, the retriever with fusion and the removal of copies, and the questions that are embedded.
The database is left out: passages are handed over from memory.

On a machine that is busy with other work `--clock processor` takes the processor time of this process in place of the
time on the wall: what it would take on a free core, were nothing done in parallel.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from assistant.messages import Passage, Retrieval
from assistant.retrieval.embedder import Embedder
from assistant.retrieval.index import VectorIndex
from assistant.retrieval.keyword import KeywordIndex
from assistant.retrieval.records import Collection, Corpus
from assistant.retrieval.retriever import Retriever
from assistant.settings import load_settings

VOCABULARY, WORDS, TOPICS = 60_000, 120, 2_000
SPREAD = 0.045
"""Noise in each dimension around a cluster's centre: neighbours then have cosines near 0.6, as passages on one subject."""
QUERY_WORDS = 6
QUESTIONS = (
    "How much warning does my landlord have to give me before ending the lease?",
    "What happens to the rent if the heating stays broken in January?",
    "Which sound do snow leopards make instead of a roar?",
    "How do I get a copy of the data a company has on me?",
    "Who did the digging of the Orla canal?",
    "What does the help desk do before it unlocks my login?",
)
ADDED = 100
"""Passages of a document that is added to a library in use."""

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
clock = time.perf_counter

T = TypeVar("T")


@dataclass
class Memory:
    """A library whose passages are made."""

    texts: list[str]
    vectors: NDArray[np.float32]
    shown: int
    """How many of the passages are in it; the rest comes later."""

    @property
    def version(self) -> tuple[int, int]:
        return self.shown, self.shown

    def corpus(self) -> Corpus:
        n = self.shown
        return Corpus(self.version, np.arange(n, dtype=np.int64), [""] * n, self.texts[:n], self.vectors[:n])

    def collections(self) -> list[Collection]:
        return []

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        return [Passage(id=n, document_id="", document="", start=0, end=1, text=self.texts[n]) for n in ids]


@dataclass
class Timed:
    """An embedder that embeds real questions, takes the time, and answers with the vectors of the made queries."""

    embedder: Embedder
    vectors: NDArray[np.float32]
    seconds: list[float] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        turn = len(self.seconds) % len(self.vectors)
        started = clock()
        self.embedder.embed([QUESTIONS[turn % len(QUESTIONS)]])
        self.seconds.append(clock() - started)
        return self.vectors[turn : turn + 1]


def main() -> None:
    global clock
    options = parse()
    clock = CLOCKS[options.clock]
    draw = np.random.default_rng(options.seed)
    embedder = Embedder(load_settings().embedder)
    dimensions = embedder.embed(["warm"]).shape[1]
    centres = unit(draw.standard_normal((TOPICS, dimensions), dtype=np.float32))
    topics = draw.integers(0, TOPICS, options.passages + ADDED)
    library = Memory(made_texts(topics, draw), made_vectors(centres, topics, draw), options.passages)
    asked = draw.integers(0, options.passages, options.queries)
    noise = SPREAD / 2 * draw.standard_normal((options.queries, dimensions), dtype=np.float32)
    timed = Timed(embedder, unit(library.vectors[asked] + noise))
    queries = [" ".join(draw.choice(library.texts[place].split(), QUERY_WORDS)) for place in asked]

    report: dict[str, Any] = {
        "config": {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        **measure_indexes(library.corpus(), timed.vectors),
    }
    before = resident()
    retriever = Retriever(library, timed.embed)
    _, report["build_seconds"] = clocked(retriever.refresh)
    report["build_mib"] = resident() - before
    for query in queries[:5]:
        retriever.search(query, Retrieval())
    timed.seconds.clear()
    whole = [clocked(partial(retriever.search, query, Retrieval()))[1] for query in queries]
    report["query_ms"] = spread(whole)
    report["query_embedding_ms"] = spread(timed.seconds)
    report["query_search_ms"] = spread([all_ - part for all_, part in zip(whole, timed.seconds, strict=True)])
    library.shown += ADDED
    _, report["refresh_seconds"] = clocked(retriever.refresh)
    report["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    real = real_length_texts(options.embedded, draw)
    _, seconds = clocked(lambda: embedder.embed(real))
    report["embedded_per_second"] = len(real) / seconds
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000, help="in the library (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=200, help="asked one after another (default: %(default)s)")
    parser.add_argument("--embedded", type=int, default=2_000, help="texts embedded to take the speed (%(default)s)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="which time is taken (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    if min(options.passages, options.queries, options.embedded) < 1:
        parser.error("--passages, --queries and --embedded take whole numbers from 1 up")
    return options


def measure_indexes(corpus: Corpus, queries: NDArray[np.float32]) -> dict[str, Any]:
    """Each index by itself, and the approximate one against one that compares all vectors."""
    _, keyword_seconds = clocked(lambda: KeywordIndex(corpus.ids, corpus.texts))
    before = resident()
    index, seconds = clocked(lambda: VectorIndex(corpus.ids, corpus.vectors))
    mib = resident() - before
    exact = VectorIndex(corpus.ids, corpus.vectors, exact_below=len(corpus.ids))
    return {
        "is_exact": index.is_exact,
        "keyword_index_seconds": keyword_seconds,
        "vector_index_seconds": seconds,
        "vector_index_mib": mib,
        "vector_search_ms": spread([clocked(partial(index.search, v, 50))[1] for v in queries]),
        "exact_search_ms": spread([clocked(partial(exact.search, v, 50))[1] for v in queries]),
        "recall@10": recall(index, exact, queries, 10),
        "recall@50": recall(index, exact, queries, 50),
    }


def made_texts(topics: NDArray[np.int64], draw: np.random.Generator) -> list[str]:
    """Passages of some 120 words: two thirds by Zipf's law from all, the others from the 200 words of the topic."""
    words = np.asarray([f"w{n:x}" for n in range(VOCABULARY)])
    weights = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    own = draw.integers(0, VOCABULARY, (TOPICS, 200))
    texts = []
    for topic in topics:
        count = int(np.clip(draw.normal(WORDS, WORDS / 4), 20, 2 * WORDS))
        general = np.searchsorted(weights, weights[-1] * draw.random(2 * count // 3))
        texts.append(" ".join(words[np.concatenate([general, draw.choice(own[topic], count - len(general))])]))
    return texts


def made_vectors(
    centres: NDArray[np.float32], topics: NDArray[np.int64], draw: np.random.Generator
) -> NDArray[np.float32]:
    return unit(centres[topics] + SPREAD * draw.standard_normal((len(topics), centres.shape[1]), dtype=np.float32))


def real_length_texts(count: int, draw: np.random.Generator) -> list[str]:
    """English words in any order, 40 to 160 of them: the embedder's time depends on the number of tokens alone."""
    words = " ".join(QUESTIONS).split()
    return [" ".join(draw.choice(words, int(draw.integers(40, 160)))) for _ in range(count)]


def recall(index: VectorIndex, exact: VectorIndex, vectors: NDArray[np.float32], count: int) -> float:
    """Share of the true neighbours that are found."""
    shared = [len(set(index.search(v, count)) & set(exact.search(v, count))) / count for v in vectors]
    return statistics.mean(shared)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def clocked(work: Callable[[], T]) -> tuple[T, float]:
    started = clock()
    result = work()
    return result, clock() - started


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return {"p50": float(p50), "p95": float(p95)}


def resident() -> float:
    """Memory the process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def show(report: dict[str, Any]) -> None:
    for name, value in report.items():
        if isinstance(value, dict) and "p95" in value:
            print(f"{name:24} p50 {value['p50']:8.2f}  p95 {value['p95']:8.2f}")
        elif isinstance(value, float):
            print(f"{name:24} {value:12.3f}")


if __name__ == "__main__":
    main()
