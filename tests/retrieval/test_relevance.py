"""When a question is refused: nothing fits by its vector or its words, and no sentence of the nearest passages does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from assistant.errors import NothingRelevant
from assistant.messages import Passage
from assistant.retrieval.relevance import check_relevant

QUESTION = np.asarray([1, 0], dtype=np.float32)
NEAR = {1: 0.2, 2: 0.1, 3: 0.1, 4: 0.1}
LEASE = "Rent is due on Monday. Cats are allowed. Dogs are not."


class Sentences:
    """An embedder to which sentences have the similarity that is given, others none; `read` is what it was asked for."""

    def __init__(self, similarities: Mapping[str, float] | None = None) -> None:
        self.similarities = similarities or {}
        self.read: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.read += texts
        return np.asarray([[self.similarities.get(text, 0.0), 0] for text in texts], dtype=np.float32)


def check(near: Mapping[int, float], worded: Mapping[int, float], sentences: Sentences, *texts: str) -> None:
    passages = {
        id: Passage(id=id, document_id="d", document="d.txt", start=0, end=len(text), text=text)
        for id, text in enumerate(texts, 1)
    }
    check_relevant(near, worded, passages, QUESTION, sentences.embed, searched=len(near))


@pytest.mark.parametrize(("near", "worded"), [({1: 0.3}, {}), ({1: 0.1}, {1: 0.4}), ({1: 0.31}, {1: 0.9})])
def test_one_near_passage_or_one_with_the_words_is_enough_and_no_sentence_is_read(near, worded):
    sentences = Sentences()
    check(near, worded, sentences, LEASE)
    assert sentences.read == []


def test_passage_with_one_sentence_on_the_question_fits_as_the_mean_of_both():
    """(0.2 + 0.42) / 2 = 0.31 is enough, (0.2 + 0.38) / 2 = 0.29 is not."""
    check(NEAR, {}, Sentences({"Cats are allowed.": 0.42}), LEASE)
    with pytest.raises(
        NothingRelevant, match=r"of 4 passages .* similarity of 0\.29 where 0\.3 is needed, .* of 0\.10"
    ):
        check(NEAR, {1: 0.1}, Sentences({"Cats are allowed.": 0.38}), LEASE)


def test_only_the_nearest_passages_are_read_and_of_them_only_those_still_there():
    sentences = Sentences({"Four.": 1.0})
    with pytest.raises(NothingRelevant):
        check(NEAR, {}, sentences, "One. And one.", "Two.", "Three.", "Four.")
    assert sentences.read == ["One.", "And one.", "Two.", "Three."]
    with pytest.raises(NothingRelevant):
        check(NEAR, {}, Sentences())


def test_where_nothing_is_near_the_words_alone_decide():
    check({}, {1: 0.4}, Sentences(), LEASE)
    with pytest.raises(NothingRelevant, match=r"similarity of 0\.00 .* score of 0\.39"):
        check({}, {1: 0.39}, Sentences(), LEASE)
