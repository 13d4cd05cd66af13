"""Searches that ask the same of the same documents are done once: the columns of a comparison all do."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Protocol

from assistant.messages import Passage, Retrieval

REMEMBERED = 64


class Searches(Protocol):
    """What is searched with; `assistant.retrieval.retriever` provides it."""

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]: ...

    def refresh(self) -> None: ...


class Versioned(Protocol):
    """The library, as far as it matters whether it has changed."""

    @property
    def version(self) -> tuple[int, int]: ...


class SharedSearch:
    """A retriever that remembers its last results for as long as the library stays as it is. Thread-safe.

    Whoever asks while the same search is under way waits for it. What failed is not remembered.
    """

    def __init__(self, retriever: Searches, library: Versioned) -> None:
        self._retriever, self._library = retriever, library
        self._lock = threading.Lock()
        self._found: OrderedDict[object, Future[tuple[Passage, ...]]] = OrderedDict()

    def refresh(self) -> None:
        self._retriever.refresh()

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]:
        """As the retriever's own, whose errors it raises."""
        key = (retrieval.query or query, retrieval, self._library.version)
        with self._lock:
            future = self._found.get(key)
            if is_first := future is None:
                future = self._found[key] = Future()
                if len(self._found) > REMEMBERED:
                    self._found.popitem(last=False)
            self._found.move_to_end(key)
        if is_first:
            try:
                future.set_result(self._retriever.search(query, retrieval))
            except BaseException as error:
                with self._lock:
                    self._found.pop(key, None)
                future.set_exception(error)
        return future.result()
