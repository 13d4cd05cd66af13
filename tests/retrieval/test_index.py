"""The vector index: exact when small, in lists when large, the same to its users."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from assistant.retrieval import index as index_module
from assistant.retrieval.index import VectorIndex

DIMENSIONS = 16


def made(count: int, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VECTORS = made(1200)
IDS = np.arange(10, 10 + 3 * 1200, 3, dtype=np.int64)
EXACT, LISTS = 10_000, 600
KINDS = pytest.mark.parametrize("exact_below", [EXACT, LISTS])


def nearest(vector: NDArray[np.float32], ids: NDArray[np.int64], vectors: NDArray[np.float32], count: int) -> list[int]:
    """What every index has to find, by comparing all."""
    return [int(id) for id in ids[np.argsort(-(vectors @ vector), kind="stable")[:count]]]


def test_kind_is_chosen_by_size() -> None:
    assert VectorIndex(IDS[:600], VECTORS[:600], exact_below=600).is_exact
    assert not VectorIndex(IDS[:601], VECTORS[:601], exact_below=600).is_exact


@KINDS
def test_a_vector_finds_itself_with_similarity_one(exact_below: int) -> None:
    index = VectorIndex(IDS, VECTORS, exact_below)
    for place in (0, 700, 1199):
        found = index.search(VECTORS[place], 5)
        assert next(iter(found.items())) == (IDS[place], pytest.approx(1, abs=1e-5))
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert index.vector(int(IDS[place])) == pytest.approx(VECTORS[place])


def test_exact_index_finds_all_that_are_nearest() -> None:
    index = VectorIndex(IDS, VECTORS)
    for query in made(10, seed=1):
        assert list(index.search(query, 20)) == nearest(query, IDS, VECTORS, 20)


def test_lists_find_nearly_all_that_are_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PROBED", 14)
    index = VectorIndex(IDS, VECTORS, LISTS)
    queries = made(50, seed=1)
    shared = [len(set(index.search(q, 10)) & set(nearest(q, IDS, VECTORS, 10))) for q in queries]
    assert 8.5 < np.mean(shared) < 10  # some are missed: not all lists are read


@KINDS
def test_only_what_is_allowed_is_found(exact_below: int) -> None:
    index = VectorIndex(IDS, VECTORS, exact_below)
    for share in (0.01, 0.9):
        allowed = np.random.default_rng(2).random(len(IDS)) < share
        for query in made(10, seed=3):
            found = index.search(query, 8, allowed)
            assert set(found) <= set(IDS[allowed].tolist())
            assert len(found) == 8


def test_few_allowed_of_many_are_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PROBED", 1)
    index = VectorIndex(IDS, VECTORS, LISTS)
    allowed = np.zeros(len(IDS), dtype=np.bool_)
    allowed[::7] = True
    for query in made(20, seed=4):
        assert list(index.search(query, 12, allowed)) == nearest(query, IDS[allowed], VECTORS[allowed], 12)


@KINDS
def test_nothing_allowed_finds_nothing(exact_below: int) -> None:
    index = VectorIndex(IDS, VECTORS, exact_below)
    assert index.search(VECTORS[0], 5, np.zeros(len(IDS), dtype=np.bool_)) == {}


def test_empty_index_finds_nothing_and_can_grow() -> None:
    index = VectorIndex(IDS[:0], VECTORS[:0])
    assert index.search(VECTORS[0], 5) == {}
    assert list(index.updated(IDS[:3], VECTORS[:3]).search(VECTORS[2], 1)) == [IDS[2]]


def test_more_than_there_are_finds_all() -> None:
    assert len(VectorIndex(IDS[:4], VECTORS[:4]).search(VECTORS[0], 50)) == 4


@KINDS
def test_update_adds_and_removes_and_leaves_the_old_index_as_it_was(exact_below: int) -> None:
    before = VectorIndex(IDS[:1000], VECTORS[:1000], exact_below)
    keep = np.ones(1200, dtype=np.bool_)
    keep[100:200] = False
    after = before.updated(IDS[keep], VECTORS[keep])
    assert next(iter(after.search(VECTORS[1100], 1))) == IDS[1100]
    assert IDS[150] not in after.search(VECTORS[150], 1200)
    assert list(after.search(VECTORS[0], 1200)) == nearest(VECTORS[0], IDS[keep], VECTORS[keep], 1200)
    assert next(iter(before.search(VECTORS[150], 1))) == IDS[150]
    assert IDS[1100] not in before.search(VECTORS[1100], 1000)


@pytest.mark.parametrize("count", [1200, 620])
def test_centres_are_kept_for_a_change_of_size_that_is_small(count: int) -> None:
    before = VectorIndex(IDS[:800], VECTORS[:800], LISTS)
    after = before.updated(IDS[:count], VECTORS[:count])
    centres = [index._index.quantizer.reconstruct_n(0, index._index.nlist) for index in (before, after)]
    assert np.array_equal(*centres)


def test_lists_are_sorted_anew_when_they_have_doubled_and_left_when_small() -> None:
    before = VectorIndex(IDS[:601], VECTORS[:601], LISTS)
    large = before.updated(IDS[:1200], VECTORS[:1200])
    assert large._index.nlist == before._index.nlist
    more, vectors = np.arange(1, 1203, dtype=np.int64), made(1202)
    assert before.updated(more, vectors)._index.nlist > before._index.nlist
    assert large.updated(IDS[:600], VECTORS[:600]).is_exact


def test_of_equals_the_lower_id_leads() -> None:
    index = VectorIndex(IDS[:40], np.repeat(VECTORS[:10], 4, axis=0))
    assert list(index.search(VECTORS[3], 4)) == IDS[12:16].tolist()
