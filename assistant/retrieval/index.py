"""Which passages are near a vector. The only file that touches faiss."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

EXACT_BELOW = 32_768
"""Passages up to which every vector is compared. 32,768 vectors of 384 numbers are read in a few milliseconds on one
core, less than it takes to embed the question; a graph would only lose neighbours, and take long to build."""

LINKS = 16
"""Neighbours of each vector in the graph (M of Malkov and Yashunin, 2018, arXiv:1603.09320)."""

BUILD_BREADTH, SEARCH_BREADTH = 80, 128
"""Candidates looked at while building and while searching (efConstruction and efSearch there)."""

MOST_DEAD = 0.2
"""Share of removed vectors above which the graph is built anew: they are still walked through, and take memory."""


class VectorIndex:
    """The vectors of a fixed set of passages. It never changes, so searches need no lock; `updated` makes the next one.

    Up to `exact_below` vectors every one is compared; above, a graph (HNSW) is walked, which finds nearly all.

    Args:
        ids: ids of the passages, ascending: (n,).
        vectors: of unit norm, float32: (n, d).
    """

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.float32], exact_below: int = EXACT_BELOW) -> None:
        self.ids = ids
        self.exact_below = exact_below
        self._stored_ids = ids
        self._alive: NDArray[np.intp] | None = None  # where the passages lie in the graph, when some in it were removed
        self._graph = _graph(vectors.shape[1]) if len(ids) > exact_below else None
        self._exact = faiss.downcast_index(self._graph.storage) if self._graph else faiss.IndexFlatIP(vectors.shape[1])
        (self._graph or self._exact).add(vectors)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimensions(self) -> int:
        return int(self._exact.d)

    @property
    def is_exact(self) -> bool:
        return self._graph is None

    def updated(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> VectorIndex:
        """The index of these passages. A graph is copied and only what is new is added to it, unless too much of it
        is gone; the vector behind an id never changes."""
        is_new = ~np.isin(ids, self._stored_ids)
        stored_ids = np.concatenate([self._stored_ids, ids[is_new]])
        dead = 1 - len(ids) / max(len(stored_ids), 1)
        is_ordered = bool(np.all(np.diff(stored_ids) > 0))
        if self._graph is None or len(ids) <= self.exact_below or dead > MOST_DEAD or not is_ordered:
            return VectorIndex(ids, vectors, self.exact_below)
        other = VectorIndex.__new__(VectorIndex)
        other.ids, other.exact_below, other._stored_ids = ids, self.exact_below, stored_ids
        other._alive = np.searchsorted(stored_ids, ids) if dead else None
        other._graph = faiss.clone_index(self._graph)
        other._exact = faiss.downcast_index(other._graph.storage)
        other._graph.add(vectors[is_new])
        return other

    def search(
        self, vector: NDArray[np.float32], count: int, allowed: NDArray[np.bool_] | None = None
    ) -> dict[int, float]:
        """At most `count` passage ids with their cosine similarities, nearest first; of equals the lower id leads.

        Args:
            vector: of unit norm: (d,).
            allowed: for each of `ids`, whether it may be found: (n,); None for all.
        """
        choices = len(self) if allowed is None else int(allowed.sum())
        count = min(count, choices)
        if not count:
            return {}
        selector = None if allowed is None and self._alive is None else self._selector(allowed)
        if self._graph is None or choices <= self.exact_below:
            # Few of many: the graph would be left with hardly any way through.
            found = self._exact.search(vector[None], count, params=faiss.SearchParameters(sel=selector))
        else:
            breadth = max(SEARCH_BREADTH, 2 * count)
            parameters = faiss.SearchParametersHNSW(efSearch=breadth, sel=selector)
            found = self._graph.search(vector[None], count, params=parameters)
        similarities, places = found[0][0].tolist(), found[1][0].tolist()
        hits = [(int(self._stored_ids[place]), s) for place, s in zip(places, similarities, strict=True) if place >= 0]
        return dict(sorted(hits, key=lambda hit: (-hit[1], hit[0])))

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of passages of this index: (len(ids), d)."""
        return self._exact.reconstruct_batch(np.searchsorted(self._stored_ids, ids))  # type: ignore[no-any-return]

    def _selector(self, allowed: NDArray[np.bool_] | None) -> faiss.IDSelector:
        """What faiss is to look at, one bit for each stored vector."""
        may = np.zeros(len(self._stored_ids), dtype=np.bool_)
        alive = slice(None) if self._alive is None else self._alive
        may[alive] = True if allowed is None else allowed
        return faiss.IDSelectorBitmap(np.packbits(may, bitorder="little"))


def _graph(dimensions: int) -> faiss.IndexHNSWFlat:
    graph = faiss.IndexHNSWFlat(dimensions, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = BUILD_BREADTH
    return graph
