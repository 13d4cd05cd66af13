"""Which passages share the words of a question: BM25. The only file that touches bm25s and PyStemmer."""

from __future__ import annotations

import logging
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence

# Where JAX is installed the library calls it while it is imported, and JAX then takes three quarters of a GPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import bm25s
import numpy as np
import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS
from numpy.typing import NDArray

WORD = re.compile(r"\w+")
STOP_WORDS = frozenset(STOPWORDS_EN_PLUS)

SATURATION, LENGTH = 0.9, 0.4
"""k1 and b: how soon a repeated word counts no more, and how much a long passage is held back. Those of Anserini; on
training questions better than the library's 1.5 and 0.75, see docs/retrieval.md."""

# The library lets its notes of every call through, whatever level the application asked for.
logging.getLogger("bm25s").setLevel(logging.WARNING)


class KeywordIndex:
    """BM25 over a fixed set of passages. It never changes, so searches need no lock; `updated` makes the next one.

    The score is Lucene's (Kamphuis et al., 2020, "Which BM25 Do You Mean?") over the stems (Snowball, English) of
    lower-cased words that are no stop words.

    Args:
        ids: ids of the passages, ascending: (n,).
        texts: their texts.
    """

    def __init__(self, ids: NDArray[np.int64], texts: Sequence[str]) -> None:
        self._index({}, {}, ids, texts)

    def updated(self, ids: NDArray[np.int64], texts: Sequence[str]) -> KeywordIndex:
        """The index of these passages; only words of new ones are read, as the text behind an id never changes.

        The scores are computed anew: each depends on how often a word is in all passages.
        """
        other = KeywordIndex.__new__(KeywordIndex)
        other._index(self._words, dict(self._vocabulary), ids, texts)
        return other

    def _index(
        self, known: dict[int, array[int]], vocabulary: dict[str, int], ids: NDArray[np.int64], texts: Sequence[str]
    ) -> None:
        self.ids = ids
        new = [place for place, id in enumerate(ids.tolist()) if id not in known]
        read = dict(zip(new, stems(texts[place] for place in new), strict=True))
        self._words: dict[int, array[int]] = {
            id: known[id]
            if id in known
            else array("i", (vocabulary.setdefault(s, len(vocabulary)) for s in read[place]))
            for place, id in enumerate(ids.tolist())
        }
        self._vocabulary = vocabulary
        self._bm25: bm25s.BM25 | None = None
        if any(self._words.values()):
            self._bm25 = bm25s.BM25(k1=SATURATION, b=LENGTH)
            words = list(self._words.values())
            self._bm25.index((words, vocabulary), create_empty_token=False, show_progress=False)

    def search(self, query: str, count: int, allowed: NDArray[np.bool_] | None = None) -> dict[int, float]:
        """At most `count` passage ids with their scores, best first; of equals the lower id leads.

        Only passages that share a word with the query are found. The score is BM25's as a share of the most that any
        passage could get for this query, in [0, 1): words that stand in no passage lower it.

        Args:
            allowed: for each of `ids`, whether it may be found: (n,); None for all.
        """
        asked = next(stems([query]))
        words = [self._vocabulary[stem] for stem in asked if stem in self._vocabulary]
        if self._bm25 is None or not words:
            return {}
        most = sum(self._weight(stem) for stem in asked)
        found = self._bm25.retrieve([words], k=min(count, len(self.ids)), weight_mask=allowed, show_progress=False)
        ids = self.ids[found.documents[0]].tolist()
        hits = [(id, score / most) for id, score in zip(ids, found.scores[0].tolist(), strict=True) if score > 0]
        return dict(sorted(hits, key=lambda hit: (-hit[1], hit[0])))

    def _weight(self, stem: str) -> float:
        """The inverse document frequency, as the score takes it; what a passage full of the word would nearly get."""
        holding = 0
        if self._bm25 is not None and stem in self._vocabulary:
            starts = self._bm25.scores["indptr"]
            word = self._vocabulary[stem]
            holding = int(starts[word + 1] - starts[word])
        return float(np.log(1 + (len(self.ids) - holding + 0.5) / (holding + 0.5)))


def stems(texts: Iterable[str]) -> Iterator[list[str]]:
    """For each text the stems of its words, in order, without stop words."""
    stemmed = _Stemmed()
    for text in texts:
        yield [stemmed[word] for word in WORD.findall(text.lower()) if word not in STOP_WORDS]


class _Stemmed(dict[str, str]):
    """Word → stem, each worked out once. Not to be shared between threads, as the stemmer is not."""

    def __init__(self) -> None:
        super().__init__()
        self._stem = Stemmer.Stemmer("english", 0).stemWord  # its own memory is slower, and forgets

    def __missing__(self, word: str) -> str:
        stem = self[word] = self._stem(word)
        return stem
