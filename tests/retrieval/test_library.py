"""Documents kept in a real database."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from assistant.database.connection import Database
from assistant.database.tables.documents import FIRST_COLLECTION, passages
from assistant.errors import DocumentRejected, InvalidRequest, NotFound, StoreUnavailable
from assistant.messages import Retrieval
from assistant.retrieval import corpus_queries
from assistant.retrieval import library as module
from assistant.retrieval.corpus_queries import searched
from assistant.retrieval.library import Library
from assistant.retrieval.readers import registry
from assistant.retrieval.readers.content import Content
from assistant.retrieval.retriever import Retriever
from tests.bag_of_words import DIMENSIONS, BagOfWords
from tests.databases import KINDS, ready_database
from tests.retrieval import files

ROOT = Path(__file__).parents[2]


def count_words(text: str) -> int:
    return len(text.split())


def shelf(database: Database, **options) -> Library:
    return Library(database, BagOfWords().embed, count_words, **options)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path):
    with ready_database(request.param, tmp_path) as url:
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def library(database) -> Library:
    return shelf(database)


def story(subject: str, sentences: int = 60) -> bytes:
    """Several passages about one subject."""
    return " ".join(f"The {subject} has property number {n}." for n in range(sentences)).encode()


def check_whole(library: Library, name: str, data: bytes) -> None:
    """The document of this name is that file, with all that belongs to it and nothing else."""
    (document,) = [one for one in library.documents() if one.name == name]
    outline = library.outline(document.id)
    text = library.text(document.id)
    assert (document.digest, document.size) == (registry.fingerprint(data), len(data))
    assert document.passages == len(outline) and text == data.decode()
    assert set(text[outline[0].start : outline[-1].end].split()) == set(text.split())
    for passage in outline:
        assert text[passage.start : passage.end] == passage.text
        assert (passage.document_id, passage.document) == (document.id, name)
    corpus = library.corpus()
    places = [list(corpus.ids).index(passage.id) for passage in outline]
    wanted = BagOfWords().embed([searched(passage.heading, passage.text) for passage in outline])
    assert np.allclose(corpus.vectors[places], wanted)


def test_a_document_is_kept_with_its_passages_over_a_restart(library, database):
    data = files.pdf(["# Warranty", "It lasts for two years. " * 60], ["# Returns", "Within a month."])
    added = library.add("terms.pdf", data)
    document = added.document
    assert added.outcome == "added"
    assert (document.name, document.media_type, document.size) == ("terms.pdf", "application/pdf", len(data))
    assert (document.digest, document.pages) == (registry.fingerprint(data), 2)
    assert document.collection_id == FIRST_COLLECTION and document.added_at.tzinfo is not None

    reopened = shelf(database)
    assert reopened.documents() == [document] == [reopened.document(document.id)]
    outline = reopened.outline(document.id)
    assert len(outline) == document.passages >= 3
    assert [(passage.heading, passage.page) for passage in (outline[0], outline[-1])] == [
        ("Warranty", 1),
        ("Returns", 2),
    ]
    text = reopened.text(document.id)
    assert all(text[passage.start : passage.end] == passage.text for passage in outline)


def test_the_same_content_under_the_same_name_changes_nothing(library):
    first = library.add("a.txt", story("cat"))
    version = library.version
    embedded = BagOfWords()
    library._embed = embedded.embed
    again = library.add("a.txt", story("cat"))
    assert (again.outcome, again.document) == ("unchanged", first.document)
    assert library.version == version and embedded.calls == []


def test_the_same_content_is_read_again_where_the_readers_have_been_mended(library, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(registry, "VERSION", registry.VERSION - 1)
        earlier.setattr(registry, "read", lambda name, data: (registry.TEXT, Content("Half of it.")))
        first = library.add("a.txt", story("cat"))
    second = library.add("a.txt", story("cat"))
    assert (second.outcome, second.document.id) == ("replaced", first.document.id)
    check_whole(library, "a.txt", story("cat"))
    assert library.add("a.txt", story("cat")).outcome == "unchanged"


def test_changed_content_takes_the_place_of_the_old(library):
    first = library.add("a.txt", story("cat"))
    old = {passage.id for passage in library.outline(first.document.id)}
    second = library.add("a.txt", story("dog", 20))
    assert (second.outcome, second.document.id) == ("replaced", first.document.id)
    check_whole(library, "a.txt", story("dog", 20))
    assert old.isdisjoint(library.corpus().ids) and min(library.corpus().ids) > max(old)
    assert library.passages(sorted(old)) == []


def test_the_same_content_under_another_name_is_a_document_of_its_own(library):
    one, two = (library.add(name, story("cat")) for name in ("a.txt", "b.txt"))
    assert (one.outcome, two.outcome) == ("added", "added") and one.document.id != two.document.id
    library.delete(one.document.id)
    check_whole(library, "b.txt", story("cat"))


def test_a_refused_file_leaves_what_has_its_name_alone(library):
    library.add("a.txt", story("cat"))
    version = library.version
    for data in (b"", b"\0\0"):
        with pytest.raises(DocumentRejected, match=r"a\.txt"):
            library.add("a.txt", data)
    assert library.version == version
    check_whole(library, "a.txt", story("cat"))


@pytest.mark.parametrize("name", ["", " ", "x" * 256, "a\nb.txt", "a\0.txt"])
def test_a_name_that_cannot_be_kept_is_refused(library, name):
    with pytest.raises(DocumentRejected, match="file name"):
        library.add(name, b"text")


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(database):
    library = shelf(database, max_bytes=10)
    with pytest.raises(DocumentRejected, match=r"a\.txt: 11 bytes; allowed: up to 10"):
        library.add("a.txt", b"x" * 11)
    assert library.add("a.txt", b"x" * 10).outcome == "added"


def test_progress_rises_to_one_which_is_told_once_all_is_kept(library, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    told: list[tuple[float, int]] = []
    library.add("a.txt", story("cat", 300), progress=lambda share: told.append((share, len(library.documents()))))
    shares = [share for share, _ in told]
    assert len(shares) > 4 and shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert [kept for _, kept in told] == [0] * (len(told) - 1) + [1]


def test_an_embedder_that_fails_leaves_nothing(library, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)

    def failing(texts):
        if library._calls > 1:
            raise MemoryError
        library._calls += 1
        return BagOfWords().embed(texts)

    library._calls, library._embed = 0, failing
    with pytest.raises(MemoryError):
        library.add("a.txt", story("cat", 300))
    assert library.documents() == [] and library.version == (0, 0)


def test_collections_part_the_documents(library):
    first, other = library.collections()[0], library.create_collection("  Contracts ")
    assert (first.name, first.documents, other.name) == ("Documents", 0, "Contracts")
    one = library.add("a.txt", story("cat")).document
    two = library.add("a.txt", story("dog"), other.id).document
    assert one.id != two.id and two.collection_id == other.id
    assert [(c.name, c.documents) for c in library.collections()] == [("Documents", 1), ("Contracts", 1)]
    assert library.documents(other.id) == [two] and library.documents() == [one, two]
    corpus = library.corpus()
    assert corpus.collections == [first.id] * one.passages + [other.id] * two.passages
    library.rename_collection(other.id, "Deals")
    library.rename_collection(other.id, "Deals")
    library.delete_collection(other.id)
    assert [c.name for c in library.collections()] == ["Documents"] and library.documents() == [one]
    assert len(library.corpus().ids) == one.passages


def test_documents_are_listed_page_by_page_and_by_a_part_of_their_name(library):
    other = library.create_collection("Other")
    for name in ("Ferry b.txt", "copper.txt", "ferry a.md", "100%.txt", "100x.txt"):
        library.add(name, b"text")
    library.add("ferry c.txt", b"text", other.id)
    everything = [document.id for document in library.documents()]
    pages = [[document.id for document in library.documents(limit=4, offset=start)] for start in (0, 4, 8)]
    assert [len(page) for page in pages] == [4, 2, 0]
    assert pages[0] + pages[1] == everything
    assert [one.id for one in library.documents(offset=4)] == everything[4:]
    ferries = library.documents(FIRST_COLLECTION, "FERRY")
    assert {one.name for one in ferries} == {"Ferry b.txt", "ferry a.md"}
    assert library.documents(FIRST_COLLECTION, "ferry", limit=1, offset=1) == ferries[1:]
    assert [one.name for one in library.documents(name="100%")] == ["100%.txt"]  # no pattern, but what was typed
    counts = [library.count(), library.count(other.id), library.count(name="ferry"), library.count(other.id, "copper")]
    assert counts == [6, 1, 3, 0]


def test_the_first_collection_may_be_renamed_and_stays(library, database):
    library.rename_collection(FIRST_COLLECTION, "Mine")
    with pytest.raises(InvalidRequest, match="stays"):
        library.delete_collection(FIRST_COLLECTION)
    assert [c.name for c in shelf(database).collections()] == ["Mine"]


def test_collections_have_names_of_their_own(library):
    other = library.create_collection("Other")
    for name in ("Other", " Documents ", "", " ", "x" * 256, "a\nb"):
        with pytest.raises(InvalidRequest, match=r"collection"):
            library.create_collection(name)
    with pytest.raises(InvalidRequest, match="'Documents' already"):
        library.rename_collection(other.id, "Documents")
    assert [c.name for c in library.collections()] == ["Documents", "Other"]


def test_what_is_not_there_is_not_found(library):
    for ask in (
        library.document,
        library.text,
        library.outline,
        library.delete,
        library.documents,
        library.count,
        library.check_collection,
        library.delete_collection,
        lambda id: library.rename_collection(id, "x"),
        lambda id: library.add("a.txt", b"text", id),
    ):
        with pytest.raises(NotFound, match="'nothing'"):
            ask("nothing")


def test_the_version_is_another_one_after_every_change(library):
    seen = [library.version]

    def changed() -> bool:
        seen.append(library.version)
        return len(set(seen)) == len(seen)

    one = library.add("a.txt", story("cat")).document
    assert seen == [(0, 0)] and changed() and seen[-1] == (1, one.passages)
    two = library.add("b.txt", story("dog")).document
    assert changed()
    library.add("a.txt", story("cow"))
    assert changed()
    library.delete(two.id)
    assert changed()
    other = library.create_collection("Other")
    library.add("b.txt", story("dog"), other.id)
    assert changed()
    library.delete_collection(other.id)
    assert changed() and library.corpus().version == seen[-1]
    with pytest.raises(NotFound):
        library.delete(two.id)
    library.add("a.txt", story("cow"))
    assert not changed()


def test_ids_are_never_given_twice(library):
    highest = 0
    for subject in ("cat", "dog", "cow"):
        document = library.add("a.txt", story(subject)).document
        assert min(library.corpus().ids) > highest
        highest = max(library.corpus().ids)
        library.delete(document.id)


def test_the_corpus_holds_every_passage_with_the_headings_above_it(library, monkeypatch):
    monkeypatch.setattr(corpus_queries, "ROWS", 2)
    guide = b"# Guide\n\n## Install\n\nRun it.\n\n## Use\n\nPress go."
    library.add("guide.md", guide)
    library.add("a.txt", story("cat"))
    corpus = library.corpus()
    assert corpus.version == library.version == (2, len(corpus.ids))
    assert list(corpus.ids) == sorted(corpus.ids) and len(corpus.texts) == len(corpus.collections) == len(corpus.ids)
    assert corpus.texts[:2] == [
        "Guide › Install\n\n# Guide\n\n## Install\n\nRun it.",
        "Guide › Use\n\n## Use\n\nPress go.",
    ]
    assert corpus.vectors.dtype == np.float32 and corpus.vectors.shape == (len(corpus.ids), DIMENSIONS)
    assert np.allclose(corpus.vectors, BagOfWords().embed(corpus.texts))
    with library._database.reading() as connection:
        stored = connection.scalar(select(passages.c.vector).where(passages.c.id == int(corpus.ids[0])))
    assert stored == corpus.vectors[0].astype("<f4").tobytes()


def test_an_empty_library_has_an_empty_corpus(library):
    corpus = library.corpus()
    assert (corpus.version, len(corpus.ids), corpus.texts, corpus.vectors.shape) == ((0, 0), 0, [], (0, 0))


def test_passages_come_in_the_order_asked_for(library):
    document = library.add("a.txt", story("cat", 200)).document
    first, second, third = [passage.id for passage in library.outline(document.id)][:3]
    found = library.passages([third, 999, first, np.int64(second)])
    assert [passage.id for passage in found] == [third, first, second]
    assert library.passages([]) == []


def test_vectors_of_another_embedder_are_made_anew_before_they_are_searched(library, database):
    library.add("a.txt", story("cat"))
    before = library.corpus()

    class Other(BagOfWords):
        def embed(self, texts):
            return super().embed(texts)[:, ::-1]

    changed = Library(database, Other().embed, count_words, embedder="other")
    changed.add("b.txt", story("dog"))
    after = changed.corpus()
    assert np.allclose(after.vectors, Other().embed(after.texts)) and set(before.ids) < set(after.ids)
    asked = Other()
    changed._embed = asked.embed
    assert np.array_equal(changed.corpus().vectors, after.vectors) and asked.calls == []


def test_many_threads_add_delete_and_search_at_once(library):
    stop, errors = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            corpus = library.corpus()
            of = BagOfWords().embed(corpus.texts)
            if len(corpus.texts) and not (corpus.vectors.shape == of.shape and np.allclose(corpus.vectors, of)):
                errors.append(corpus.version)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            same = list(pool.map(lambda _: library.add("same.txt", story("cat")).outcome, range(6)))
            list(pool.map(lambda n: library.add(f"{n % 4}.txt", story(f"dog{n}")), range(12)))
    finally:
        stop.set()
        watcher.join()
    assert sorted(same) == ["added"] + ["unchanged"] * 5 and errors == []
    assert [document.name for document in library.documents()] == [*(f"{n}.txt" for n in range(4)), "same.txt"]
    check_whole(library, "same.txt", story("cat"))
    assert len(library.corpus().ids) == sum(document.passages for document in library.documents())


def test_a_database_that_is_locked_is_told_and_nothing_is_kept(tmp_path):
    url = f"sqlite:///{tmp_path / 'swapboard.db'}"
    database, other = Database(url, busy_timeout=0.1), Database(url)
    database.migrate()
    library = shelf(database)
    with other.writing(), pytest.raises(StoreUnavailable, match="nothing was saved"):
        library.add("a.txt", story("cat"))
    assert library.documents() == [] and library.add("a.txt", story("cat")).outcome == "added"
    database.close()
    other.close()


ADDING = """
import os, sys
from assistant.database.connection import Database
from assistant.retrieval.library import Library
from assistant.retrieval.readers import registry
from assistant.retrieval.readers.content import Content
from tests.bag_of_words import BagOfWords

url, sentences = sys.argv[1], int(sys.argv[2])
for begun in map(int, sys.stdin):
    adding = os.fork()
    if adding:
        os.waitpid(adding, 0)
        print("dead", flush=True)
        continue
    library = Library(Database(url), BagOfWords().embed, lambda text: len(text.split()))
    print(os.getpid(), flush=True)
    for n in range(begun, begun + 1_000_000):
        text = " ".join(f"The subject{n} has property number {m}." for m in range(sentences))
        library.add(f"{n % 5}.txt", text.encode())
        print(n, flush=True)
"""


@pytest.mark.slow
def test_a_program_killed_at_any_point_leaves_every_document_whole(tmp_path):
    url, sentences = f"sqlite:///{tmp_path / 'swapboard.db'}", 400
    database = Database(url)
    database.migrate()
    database.close()
    chance, begun = random.Random(3), 0
    command = [sys.executable, "-c", ADDING, url, str(sentences)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as program:
        for _ in range(15):
            print(begun, file=program.stdin, flush=True)
            adding = int(program.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.5))
            os.kill(adding, signal.SIGKILL)
            told = list(iter(program.stdout.readline, "dead\n"))
            begun = int(told[-1]) + 1 if told else begun
            check_nothing_is_torn(url, begun, sentences)
        program.stdin.close()
    assert begun > 15
    database = Database(url)
    library = shelf(database)
    for n in range(5):
        library.add(f"{n}.txt", story("cat", sentences))
        check_whole(library, f"{n}.txt", story("cat", sentences))
    assert len(library.documents()) == 5
    database.close()


def check_nothing_is_torn(url: str, begun: int, sentences: int) -> None:
    """Everything up to `begun` was told to be kept; that one itself may be."""
    database = Database(url)
    library = shelf(database)
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    retriever = Retriever(library, BagOfWords().embed)
    found = set()
    for document in library.documents():
        number = int(library.text(document.id).split()[1].removeprefix("subject"))
        assert document.name == f"{number % 5}.txt"
        check_whole(library, document.name, story(f"subject{number}", sentences))
        passages = retriever.search(f"subject{number}", Retrieval(top_k=2))
        assert {passage.document_id for passage in passages} == {document.id}
        found.add(number)
    kept = set(range(max(0, begun - 5), begun))
    assert found in (kept, {number for number in kept if number % 5 != begun % 5} | {begun})
    assert len(library.corpus().ids) == sum(document.passages for document in library.documents())
    database.close()
