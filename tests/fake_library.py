"""A real library and a real search over a stand-in for the embedder."""

from __future__ import annotations

from assistant.database.connection import Database
from assistant.retrieval.library import Library
from assistant.retrieval.retriever import Retriever
from tests.bag_of_words import BagOfWords


def word_library(database: Database) -> Library:
    """Embeds by words, and counts words as tokens."""
    return Library(database, BagOfWords().embed, lambda text: len(text.split()))


def word_retriever(library: Library) -> Retriever:
    return Retriever(library, BagOfWords().embed)


def empty(library: Library) -> None:
    """Back to the one collection that is there from the start."""
    first, *others = library.collections()
    for collection in others:
        library.delete_collection(collection.id)
    library.rename_collection(first.id, "Documents")
    for document in library.documents():
        library.delete(document.id)
