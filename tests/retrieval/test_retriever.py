"""Search over a library in memory: what is found, what is refused, and what is noticed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from assistant.errors import InvalidRequest, NotFound, NothingRelevant, SettingsError
from assistant.messages import Passage, Retrieval
from assistant.retrieval.index import VectorIndex
from assistant.retrieval.retriever import Retriever, by_both, fuse
from tests.retrieval.shelf import Shelf

TEXTS = (
    "The ferry to Aldersund leaves at noon from the north pier.",
    "Copper melts at 1085 degrees and silver at 962 degrees.",
    "Tenants must give three months of notice before they leave the flat.",
    "The bakery on the harbour sells rye bread and cinnamon rolls.",
    "Snow leopards hunt at dusk above three thousand metres.",
)


def search(shelf: Any, question: str, **options: Any) -> tuple[Passage, ...]:
    return Retriever(shelf, shelf.embed).search(question, Retrieval(**options))


def test_best_passage_comes_first_and_says_where_it_is_from() -> None:
    best = search(Shelf(*TEXTS), "When does the ferry leave from the north pier?")[0]
    assert (best.id, best.document, best.text) == (1, "1.txt", TEXTS[0])


def test_top_k_is_over_all_documents() -> None:
    found = search(Shelf(*(f"{text} Report {n}." for n, text in enumerate(TEXTS))), "report", top_k=3)
    assert len(found) == 3
    assert len({passage.document_id for passage in found}) == 3


def test_scores_fall() -> None:
    scores = [
        passage.score
        for passage in search(
            Shelf(*TEXTS), "Does the ferry leave at noon, and at how many degrees does copper melt?", top_k=5
        )
    ]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)


def test_query_of_the_request_replaces_the_question() -> None:
    assert search(Shelf(*TEXTS), "and that one?", query="rye bread at the bakery")[0].id == 4


@pytest.mark.parametrize("query", ["", "  \n"])
def test_nothing_to_search_for_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest, match="words to search"):
        search(Shelf(*TEXTS), query)


def test_empty_library_says_so() -> None:
    with pytest.raises(NothingRelevant, match="no documents"):
        search(Shelf(), "When does the ferry leave?")


def test_empty_collection_says_so() -> None:
    shelf = Shelf(*TEXTS)
    shelf.names["new"] = "New"
    with pytest.raises(NothingRelevant, match="no documents in"):
        search(shelf, "When does the ferry leave?", collections=("new",))


def test_question_off_the_documents_is_told_the_figures() -> None:
    with pytest.raises(
        NothingRelevant, match=r"of 5 passages the nearest has a similarity of 0\.\d\d where 0\.\d+ is needed"
    ):
        search(Shelf(*TEXTS), "Who won the cup final?")


def test_unknown_collection_is_refused_by_name() -> None:
    with pytest.raises(NotFound, match=r"'archive'.*documents \(Documents\)"):
        search(Shelf(*TEXTS), "ferry", collections=("archive",))


def test_only_the_named_collections_are_searched() -> None:
    shelf = Shelf(*TEXTS)
    other = shelf.add("The ferry to Lund leaves at seven from the south pier.", collection="travel")
    found = search(shelf, "When does the ferry leave from the pier?", collections=("travel",))
    assert [passage.id for passage in found] == other
    both = search(shelf, "When does the ferry leave from the pier?", collections=("travel", "documents"))
    assert {1, *other} <= {passage.id for passage in both}


def test_new_and_removed_passages_are_noticed_and_nothing_else_is_read_again() -> None:
    shelf = Shelf(*TEXTS)
    retriever = Retriever(shelf, shelf.embed)
    retriever.refresh()
    retriever.search("ferry pier", Retrieval())
    assert shelf.corpora == 1
    new = shelf.add("The ferry pier was painted green.")
    assert new[0] in [passage.id for passage in retriever.search("green ferry pier", Retrieval())]
    assert shelf.corpora == 2
    shelf.remove(1)
    assert 1 not in [passage.id for passage in retriever.search("ferry north pier noon", Retrieval())]


def test_near_copies_are_left_out_and_the_better_ranked_kept() -> None:
    shelf = Shelf(TEXTS[0], TEXTS[0].upper() + "!", *TEXTS[1:])
    found = search(shelf, "When does the ferry leave from the north pier?", top_k=5)
    assert [passage.id for passage in found if "pier" in passage.text.lower()] == [1]


def test_rerank_has_the_last_word() -> None:
    seen: list[tuple[str, list[str]]] = []

    def shortest(query: str, texts: Sequence[str]) -> list[float]:
        seen.append((query, list(texts)))
        return [-float(len(text)) for text in texts]

    shelf = Shelf(*TEXTS)
    found = Retriever(shelf, shelf.embed, shortest).search("three ferry degrees", Retrieval(top_k=2))
    assert len(seen[0][1]) > 2
    assert [passage.text for passage in found] == sorted(seen[0][1], key=len)[:2]
    assert found[0].score == -len(found[0].text)


def test_other_embedder_than_that_of_the_documents_is_refused() -> None:
    shelf = Shelf(*TEXTS)
    retriever = Retriever(shelf, lambda texts: np.ones((len(texts), 3), dtype=np.float32))
    with pytest.raises(SettingsError, match="512 dimensions"):
        retriever.search("ferry", Retrieval())


def test_document_removed_during_a_search_is_not_returned() -> None:
    class Vanishing(Shelf):
        def passages(self, ids: Sequence[int]) -> list[Passage]:
            self.remove(1)
            return super().passages(ids)

    found = search(Vanishing(*TEXTS), "When does the ferry leave the north pier: metres")
    assert found
    assert 1 not in [passage.id for passage in found]


def test_searches_during_changes_see_whole_states_only() -> None:
    """The library always holds pairs; a search that saw half a change would find one of a pair without the other."""
    shelf = Shelf("marker alpha", "marker beta")
    retriever = Retriever(shelf, shelf.embed)
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            pair = list(shelf.stored)
            new = Shelf("marker alpha", "marker beta").stored
            shelf.stored = {shelf.next_id + n: stored for n, stored in enumerate(new.values())}
            shelf.next_id += len(pair)

    def look(_: int) -> tuple[int, ...]:
        return tuple(sorted(passage.id for passage in retriever.search("marker", Retrieval())))

    changer = threading.Thread(target=change)
    changer.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(look, range(60)))
    finally:
        stop.set()
        changer.join()
    assert all(len(pair) == 2 and pair[1] == pair[0] + 1 and pair[0] % 2 == 1 for pair in found)


def test_fusion_adds_weighted_reciprocal_ranks() -> None:
    """With k = 5: 7 is first and second, 1/6 + 2/7; 9 first in the list that counts twice, 2/6; 8 second, 1/7."""
    fused = fuse([[7, 8], [9, 7]], [1, 2])
    assert list(fused.items()) == [
        (7, pytest.approx(1 / 6 + 2 / 7)),
        (9, pytest.approx(2 / 6)),
        (8, pytest.approx(1 / 7)),
    ]


def test_passage_that_is_good_by_meaning_and_by_words_beats_the_best_of_either() -> None:
    index = VectorIndex(np.asarray([1, 2, 3]), np.asarray([[1, 0], [0, 1], [0.9, 0.436]], dtype=np.float32))
    vector = np.asarray([1, 0], dtype=np.float32)
    assert by_both(index, vector, near={1: 1.0, 3: 0.9}, worded={2: 0.5, 3: 0.4}) == [3, 1, 2]
