"""Which passages are near a vector. The only file that touches faiss."""

from __future__ import annotations

import math

import faiss
import numpy as np
from numpy.typing import NDArray

EXACT_BELOW = 32_768
"""Passages up to which every vector is compared. On one core that takes as long as embedding the question; sorting the
vectors into lists would only lose neighbours."""

PROBED = 32
"""Lists that are read for one question, those with the nearest centres."""

TRAINED_ON = 64
"""Vectors that each list's centre is learnt from, at most: more take longer and place it no better."""


class VectorIndex:
    """The vectors of a fixed set of passages. It never changes, so searches need no lock; `updated` makes the next one.

    Up to `exact_below` vectors every one is compared; above, they lie in lists by the nearest of √n centres (inverted
    file, IVF), and only the nearest lists are read.

    Args:
        ids: ids of the passages, ascending: (n,).
        vectors: of unit norm, float32: (n, d).
    """

    def __init__(self, ids: NDArray[np.int64], vectors: NDArray[np.float32], exact_below: int = EXACT_BELOW) -> None:
        self.ids = ids
        self.exact_below = exact_below
        self._sorted_at = len(ids)
        self._index = _lists(vectors) if len(ids) > exact_below else _plain(vectors.shape[1])
        self._index.add_with_ids(vectors, ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimensions(self) -> int:
        return int(self._index.d)

    @property
    def is_exact(self) -> bool:
        return not isinstance(self._index, faiss.IndexIVF)

    def updated(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> VectorIndex:
        """The index of these passages: a copy of this one without what is gone and with what is new. The vector behind
        an id is taken never to change.

        It is made from scratch where the size asks for the other kind, or is twice or half what the centres were
        learnt from.
        """
        is_exact = len(ids) <= self.exact_below
        if is_exact != self.is_exact or not (is_exact or self._sorted_at / 2 < len(ids) < self._sorted_at * 2):
            return VectorIndex(ids, vectors, self.exact_below)
        other = VectorIndex.__new__(VectorIndex)
        other.ids, other.exact_below, other._sorted_at = ids, self.exact_below, self._sorted_at
        other._index = faiss.clone_index(self._index)
        gone = np.setdiff1d(self.ids, ids, assume_unique=True)
        if len(gone):
            other._index.remove_ids(faiss.IDSelectorArray(gone))
        is_new = ~np.isin(ids, self.ids, assume_unique=True)
        other._index.add_with_ids(vectors[is_new], ids[is_new])
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
        selector = None if allowed is None else _selector(self.ids[allowed])
        if self.is_exact:
            parameters = faiss.SearchParameters(sel=selector)
        else:
            # Few of many may all lie in lists that are far away, and are compared as fast as they would be alone.
            probed = self._index.nlist if choices <= self.exact_below else PROBED
            parameters = faiss.SearchParametersIVF(nprobe=probed, sel=selector)
        similarities, ids = self._index.search(vector[None], count, params=parameters)
        hits = [(id, s) for id, s in zip(ids[0].tolist(), similarities[0].tolist(), strict=True) if id >= 0]
        return dict(sorted(hits, key=lambda hit: (-hit[1], hit[0])))

    def vector(self, id: int) -> NDArray[np.float32]:
        """The vector of a passage of this index: (d,)."""
        return np.asarray(self._index.reconstruct(id), dtype=np.float32)


def _plain(dimensions: int) -> faiss.Index:
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions))


def _lists(vectors: NDArray[np.float32]) -> faiss.IndexIVFFlat:
    dimensions = vectors.shape[1]
    lists = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(dimensions), dimensions, math.isqrt(len(vectors)), faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.max_points_per_centroid = TRAINED_ON
    lists.set_direct_map_type(faiss.DirectMap.Hashtable)  # finds a vector by its id
    lists.train(vectors)
    return lists


def _selector(ids: NDArray[np.int64]) -> faiss.IDSelector:
    """What faiss is to look at: one bit for each id up to the highest."""
    bits = np.zeros(int(ids[-1]) + 1, dtype=np.bool_)
    bits[ids] = True
    return faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
