"""Question → the passages that fit it best, over all documents: by meaning and by words, fused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from assistant.errors import InvalidRequest, NotFound, NothingRelevant, SettingsError
from assistant.messages import Passage, Retrieval
from assistant.retrieval.duplicates import is_duplicate
from assistant.retrieval.index import VectorIndex
from assistant.retrieval.keyword import KeywordIndex
from assistant.retrieval.relevance import Embed, check_relevant

if TYPE_CHECKING:
    from assistant.retrieval.records import Collection, Corpus

CANDIDATES = 50
"""Passages taken from each of the two indexes."""

RANK_CONSTANT = 5
"""k of reciprocal rank fusion: how little the first ranks stand out. Chosen on training questions, as are the weights
that follow: see docs/retrieval.md."""

WEIGHTS = (1.0, 1.0, 4.0)
"""Of the list by meaning, of that by words, and of that by both."""

WORDS_FOR_MEANING = 1.5
"""How much a word score weighs against a cosine similarity in the list by both."""

RERANKED = 20
"""Fused candidates that a cross-encoder reads again, at the least; it takes tens of milliseconds for each."""

Rerank = Callable[[str, Sequence[str]], Sequence[float]]


class HasPassages(Protocol):
    """The library, as far as search needs it."""

    @property
    def version(self) -> tuple[int, int]: ...
    def corpus(self) -> Corpus: ...
    def collections(self) -> list[Collection]: ...
    def passages(self, ids: Sequence[int]) -> list[Passage]: ...


@dataclass(frozen=True)
class Snapshot:
    """One state of the library, ready to be searched. It never changes."""

    version: tuple[int, int]
    collections: NDArray[np.str_]
    index: VectorIndex
    keywords: KeywordIndex

    @classmethod
    def of(cls, corpus: Corpus, before: Snapshot | None = None) -> Snapshot:
        """From the snapshot `before`, as much is taken over as the changes allow."""
        if before is None or before.index.dimensions != corpus.vectors.shape[1]:
            index, keywords = VectorIndex(corpus.ids, corpus.vectors), KeywordIndex(corpus.ids, corpus.texts)
        else:
            index = before.index.updated(corpus.ids, corpus.vectors)
            keywords = before.keywords.updated(corpus.ids, corpus.texts)
        return cls(corpus.version, np.asarray(corpus.collections, dtype=np.str_), index, keywords)

    def allowed(self, collections: Sequence[str]) -> NDArray[np.bool_] | None:
        """For each passage whether it lies in one of these collections; None where all do."""
        return np.isin(self.collections, list(collections)) if collections else None


@dataclass(frozen=True)
class Ranking:
    """What a search has found, best first: passages by id. `searched` is among how many."""

    near: dict[int, float]
    worded: dict[int, float]
    fused: dict[int, float]
    searched: int


class Retriever:
    """Searches a library, and notices by itself when that changes. Thread-safe.

    Args:
        embed: texts → vectors of unit norm, as the passages of the library were embedded.
        rerank: (question, texts) → a score for each, higher is better; puts the fused candidates into their last order.
    """

    def __init__(self, library: HasPassages, embed: Embed, rerank: Rerank | None = None) -> None:
        self._library, self._embed, self._rerank = library, embed, rerank
        self._snapshot: Snapshot | None = None
        self._refreshing = threading.Lock()

    def refresh(self) -> None:
        """Bring the index up to the library."""
        self._current()

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]:
        """The best `top_k` passages of all documents, or of the collections named, best first, without near-copies.

        Raises:
            NothingRelevant: there are no documents, or none of their passages fits; says which.
            NotFound: there is no such collection.
            InvalidRequest: there is nothing to search for.
        """
        query = retrieval.query or query
        if not query.strip():
            raise InvalidRequest(f"query: {query!r}; allowed: words to search the documents for")
        self._check(retrieval.collections)
        vector = self._embed([query])[0]
        while True:
            snapshot = self._current()
            ranking = rank(snapshot, query, vector, retrieval.collections)
            passages = {passage.id: passage for passage in self._library.passages(list(ranking.fused))}
            # A document may have been removed since: then what is left is searched.
            if len(passages) == len(ranking.fused) or self._library.version == snapshot.version:
                break
        check_relevant(ranking.near, ranking.worded, passages, vector, self._embed, ranking.searched)
        fused = ranking.fused.items()
        best = (passages[id].model_copy(update={"score": score}) for id, score in fused if id in passages)
        distinct = without_copies(best, snapshot.index)
        wanted = retrieval.top_k
        if self._rerank is None:
            return tuple(passage for passage, _ in zip(distinct, range(wanted), strict=False))
        again = [passage for passage, _ in zip(distinct, range(max(wanted, RERANKED)), strict=False)]
        scores = self._rerank(query, [passage.text for passage in again])
        scored = [p.model_copy(update={"score": float(s)}) for p, s in zip(again, scores, strict=True)]
        return tuple(sorted(scored, key=lambda passage: -passage.score)[:wanted])

    def _current(self) -> Snapshot:
        """The library as it is, or as it was a moment ago: a whole state in any case."""
        snapshot = self._snapshot
        if snapshot is not None and snapshot.version == self._library.version:
            return snapshot
        with self._refreshing:
            if self._snapshot is None or self._snapshot.version != self._library.version:
                self._snapshot = Snapshot.of(self._library.corpus(), self._snapshot)
            return self._snapshot

    def _check(self, collections: Sequence[str]) -> None:
        if not collections:
            return
        known = self._library.collections()
        missing = [id for id in collections if id not in {collection.id for collection in known}]
        if missing:
            there_are = ", ".join(f"{collection.id} ({collection.name})" for collection in known)
            raise NotFound(f"no collection {missing[0]!r}; there are: {there_are}")


def rank(snapshot: Snapshot, query: str, vector: NDArray[np.float32], collections: Sequence[str] = ()) -> Ranking:
    """The candidates by meaning, by words and fused, whether or not they fit the query.

    Raises:
        NothingRelevant: there is nothing to search.
        SettingsError: the passages were embedded by another model than the query.
    """
    allowed = snapshot.allowed(collections)
    searched = len(snapshot.index) if allowed is None else int(allowed.sum())
    if not searched:
        where = "these collections" if collections else "the library"
        raise NothingRelevant(f"There are no documents in {where}; add some first.")
    if snapshot.index.dimensions != len(vector):
        raise SettingsError(
            f"the documents' vectors have {snapshot.index.dimensions} dimensions, those of SWAPBOARD_EMBEDDER "
            f"{len(vector)}; allowed: the embedder that the documents were added with"
        )
    near = snapshot.index.search(vector, CANDIDATES, allowed)
    worded = snapshot.keywords.search(query, CANDIDATES, allowed)
    fused = fuse((near, worded, by_both(snapshot.index, vector, near, worded)), WEIGHTS)
    return Ranking(near, worded, fused, searched)


def by_both(
    index: VectorIndex, vector: NDArray[np.float32], near: Mapping[int, float], worded: Mapping[int, float]
) -> list[int]:
    """What either list holds, by the sum of both scores: a passage that is good in both beats the best of either."""
    scores = {
        id: (near[id] if id in near else float(index.vector(id) @ vector)) + WORDS_FOR_MEANING * worded.get(id, 0.0)
        for id in {**near, **worded}
    }
    return sorted(scores, key=lambda id: (-scores[id], id))


def fuse(rankings: Sequence[Iterable[int]], weights: Sequence[float]) -> dict[int, float]:
    """Weighted reciprocal rank fusion: Σ weight / (k + rank) over the lists that hold an id, best first.

    Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
    SIGIR 2009, with k 60 and equal weights. Of equals the lower id leads.
    """
    scores: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, id in enumerate(ranking, start=1):
            scores[id] = scores.get(id, 0.0) + weight / (RANK_CONSTANT + rank)
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def without_copies(passages: Iterable[Passage], index: VectorIndex) -> Iterator[Passage]:
    """Of passages that say the same, the first. Each is looked at only when it is asked for."""
    kept: list[tuple[Passage, NDArray[np.float32]]] = []
    for passage in passages:
        vector = index.vector(passage.id)
        if not any(is_duplicate(passage.text, other.text, float(vector @ its)) for other, its in kept):
            kept.append((passage, vector))
            yield passage
