"""Many files at once: each with its own end, and none lost to a refresh."""

from __future__ import annotations

import asyncio
import resource
import threading
from pathlib import Path

import pytest

from assistant.feedback.store import Store
from assistant.retrieval.library import Library
from assistant.ui import uploads
from assistant.ui.uploads import Upload, UploadQueue
from tests.fake_library import word_library
from tests.threads import threads_of


@pytest.fixture
def library(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}")
    store.migrate()
    yield word_library(store.database)
    store.close()


def write(folder: Path, **texts: str) -> list[Path]:
    folder.mkdir(parents=True)
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.txt")
        paths[-1].write_text(text)
    return paths


async def ended(queue: UploadQueue) -> tuple[Upload, ...]:
    async for now in queue.changes():
        last = now
    return last


@pytest.mark.parametrize(
    ("now", "most", "then"),
    [(1024, 65536, 4096), (1024, 2048, 2048), (1024, resource.RLIM_INFINITY, 4096), (20000, 20000, 20000)],
)
def test_as_many_files_may_be_open_as_a_large_drop_needs_or_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, now: int, most: int, then: int
):
    limits = [(now, most)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    uploads.allow_open_files()
    assert limits[-1] == (then, most)
    assert ("2048 open files" in caplog.text) is (most == 2048)


async def test_each_file_has_its_own_end_and_a_bad_one_keeps_none_back(library: Library, tmp_path: Path):
    place = library.collections()[0].id
    queue = UploadQueue(library)
    queue.add(write(tmp_path / "a", ferry="It leaves at six.", empty="", dogs="Dogs must be kept on a lead."), place)
    ferry, empty, dogs = await ended(queue)
    assert (ferry.outcome, dogs.outcome) == ("added", "added") and "1 passage" in ferry.told
    assert empty.outcome == "rejected" and empty.told and "empty.txt" not in empty.told
    assert [document.name for document in library.documents()] == ["dogs.txt", "ferry.txt"]
    queue.add(write(tmp_path / "b", ferry="It leaves at six.", dogs="Dogs may run."), place)
    assert [upload.outcome for upload in await ended(queue)] == ["unchanged", "replaced"]


async def test_files_are_taken_in_on_threads_that_no_chat_needs(library: Library, tmp_path: Path, monkeypatch):
    threads = threads_of(monkeypatch, Library, "add")
    queue = UploadQueue(library)
    queue.add(write(tmp_path / "a", one="text"), library.collections()[0].id)
    await ended(queue)
    assert threads == ["background"]


async def test_what_the_page_received_is_not_left_lying_about(library: Library, tmp_path: Path):
    queue = UploadQueue(library)
    paths = write(tmp_path / "a", ferry="It leaves at six.", empty="")
    queue.add(paths, library.collections()[0].id)
    await ended(queue)
    assert not any(path.exists() for path in paths)


async def test_equal_files_that_wait_together_share_a_path_and_each_goes_in(library: Library, tmp_path: Path):
    place = library.collections()[0].id
    (path,) = write(tmp_path / "a", one="text")
    queue, others = UploadQueue(library), UploadQueue(library)
    queue.add([path, path], place)
    path.write_text("text")  # the same upload, by the next visitor
    others.add([path], place)
    outcomes = [upload.outcome for one in (queue, others) for upload in await ended(one)]
    assert sorted(outcomes) == ["added", "unchanged", "unchanged"] and not path.exists()


async def test_files_go_in_when_nobody_looks_and_more_can_join_them(library: Library, tmp_path: Path, monkeypatch):
    gate, add = threading.Event(), library.add

    def slow(name, data, collection_id, progress):
        progress(0.5)
        assert gate.wait(10)
        return add(name, data, collection_id, progress)

    monkeypatch.setattr(library, "add", slow)
    place = library.collections()[0].id
    queue = UploadQueue(library)
    queue.add(write(tmp_path / "a", one="first text"), place)
    changes = queue.changes()
    while not (shown := await anext(changes))[0].share:
        pass
    assert shown[0].share == 0.5 and shown[0].outcome is None
    await changes.aclose()
    queue.add(write(tmp_path / "b", two="second text"), place)
    assert not queue.is_over and [upload.name for upload in queue.uploads] == ["one.txt", "two.txt"]
    gate.set()
    assert [upload.outcome for upload in await ended(queue)] == ["added", "added"]


async def test_a_file_for_a_collection_that_is_gone_is_rejected_with_the_reason(library: Library, tmp_path: Path):
    queue = UploadQueue(library)
    queue.add(write(tmp_path / "a", one="text"), "no such")
    (upload,) = await ended(queue)
    assert upload.outcome == "rejected" and "no such" in upload.told


async def test_an_unexpected_error_is_told_and_the_next_file_goes_in(library: Library, tmp_path: Path, monkeypatch):
    add = library.add

    def broken(name, data, collection_id, progress):
        if name == "one.txt":
            raise ZeroDivisionError("secret detail")
        return add(name, data, collection_id, progress)

    monkeypatch.setattr(library, "add", broken)
    queue = UploadQueue(library)
    queue.add(write(tmp_path / "a", one="text", two="more text"), library.collections()[0].id)
    one, two = await asyncio.wait_for(ended(queue), 10)
    assert one.told == "unexpected error: ZeroDivisionError" and two.outcome == "added"
