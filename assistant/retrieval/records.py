"""What the library tells of itself: collections, documents, and everything that is searched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Collection:
    id: str
    name: str
    documents: int
    created_at: datetime


@dataclass(frozen=True)
class Document:
    """`digest` tells the file and the version that has read it, `size` is its bytes; `passages` and `pages` count them."""

    id: str
    collection_id: str
    name: str
    media_type: str
    digest: str
    size: int
    passages: int
    pages: int
    added_at: datetime


@dataclass(frozen=True)
class Added:
    document: Document
    outcome: Literal["added", "unchanged", "replaced"]


@dataclass(frozen=True)
class Corpus:
    """Everything that is searched, in the order of ids. `texts` are the passages with the headings above them, as
    they were embedded; `collections` are their collections' ids; `vectors` are of unit norm, (passages, dimensions).
    """

    version: tuple[int, int]
    ids: NDArray[np.int64]
    collections: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]
