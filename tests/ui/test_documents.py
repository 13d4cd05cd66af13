"""What the Documents tab shows of a library that others change, too."""

from __future__ import annotations

import re
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from assistant.errors import NotFound
from assistant.feedback.store import Store
from assistant.messages import Retrieval
from assistant.retrieval.library import Library
from assistant.retrieval.records import Collection
from assistant.ui import document_list
from assistant.ui.controls import offer_collections, read_retrieval
from assistant.ui.document_list import View
from assistant.ui.document_view import Place
from assistant.ui.documents import NOTICE, DocumentsTab
from assistant.ui.reader import Reader
from tests.fake_library import word_library, word_retriever


@pytest.fixture
def library(tmp_path: Path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}")
    store.migrate()
    yield word_library(store.database)
    store.close()


@pytest.fixture
async def tab(library: Library) -> DocumentsTab:
    tab = DocumentsTab(library, word_retriever(library))
    with gr.Blocks():
        tab.build()
    return tab


async def test_the_tab_shows_what_is_in_the_collection_that_was_picked(tab: DocumentsTab, library: Library):
    notes = library.create_collection("Notes")
    library.add("ferry.txt", b"It leaves at six.")
    library.add("dogs.txt", b"Dogs must be kept on a lead.", notes.id)
    updates = await tab.refresh(View(notes.id))
    assert "dogs.txt" in updates[tab.list.table] and "ferry.txt" not in updates[tab.list.table]
    assert updates[tab.remove].visible and updates[tab.selected] == notes.id


async def test_where_the_picked_collection_is_gone_the_first_is_shown_which_cannot_be_deleted(
    tab: DocumentsTab, library: Library
):
    notes = library.create_collection("Notes")
    library.delete_collection(notes.id)
    updates = await tab.refresh(View(notes.id))
    assert updates[tab.selected] == library.collections()[0].id and not updates[tab.remove].visible


async def test_a_form_changes_the_collection_it_was_opened_for_and_no_other(
    tab: DocumentsTab, library: Library, monkeypatch: pytest.MonkeyPatch
):
    told: list[object] = []
    monkeypatch.setattr("assistant.ui.documents.tell", lambda *words: told.append(words[0]))
    request: Any = SimpleNamespace(session_hash="s")
    library.create_collection("Boats")
    names = [one.name for one in library.collections()]
    for ask, change in (
        (tab._ask_name, partial(tab._save, request, "Remarks")),
        (tab._ask_removal, partial(tab._remove, request)),
    ):
        notes = library.create_collection("Notes")
        meant = (await ask(notes.id))[-1]
        library.delete_collection(notes.id)
        for now in library.collections():  # the page selects another one by itself
            await change(meant, now.id)
        assert [one.name for one in library.collections()] == names
    assert len(told) == 4 and all(isinstance(error, NotFound) for error in told)


async def test_a_long_list_is_shown_page_by_page_or_by_name(
    tab: DocumentsTab, library: Library, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(document_list, "PAGE", 2)
    for name in "abcde":
        library.add(f"{name}.txt", name.encode())
    first = library.collections()[0].id

    async def shown(**view: Any) -> tuple[list[str], str, bool, bool]:
        updates = await tab.refresh(View(first, **view))
        names = re.findall(r">(\w)\.txt<", updates[tab.list.table])
        turns = updates[tab.list.back].interactive, updates[tab.list.forth].interactive
        assert updates[tab.list.pager].visible is ("of 5" in updates[tab.list.where])
        return names, re.sub("<[^>]+>", "", updates[tab.list.where]), *turns

    assert await shown() == (["a", "b"], "1–2 of 5", False, True)
    assert await shown(first=2) == (["c", "d"], "3–4 of 5", True, True)
    assert await shown(first=8) == (["e"], "5–5 of 5", True, False)  # others have deleted what was there
    assert await shown(name="D.TXT") == (["d"], "1–1 of 1", False, False)
    found = await tab.refresh(View(first, "<zebra>"))
    assert "“&lt;zebra&gt;” in its name" in found[tab.list.table] and found[tab.list.finder].visible


def test_every_change_of_the_library_is_another_snapshot(library: Library):
    tab = DocumentsTab(library, word_retriever(library))
    seen = [tab.snapshot()]
    notes = library.create_collection("Notes")
    seen.append(tab.snapshot())
    library.rename_collection(notes.id, "Remarks")
    seen.append(tab.snapshot())
    added = library.add("ferry.txt", b"It leaves at six.")
    seen.append(tab.snapshot())
    library.add("ferry.txt", b"It leaves at seven.")
    seen.append(tab.snapshot())
    library.delete(added.document.id)
    seen.append(tab.snapshot())
    assert all(before != after for before, after in pairwise(seen))


def test_the_tab_says_who_sees_the_documents():
    assert "everyone who uses this server can read them" in NOTICE


async def test_a_search_shows_passages_with_scores_or_the_plain_reason_why_there_are_none(
    tab: DocumentsTab, library: Library
):
    library.add("ferry.txt", b"The ferry leaves the harbour at six.")
    *_, found = [made async for made in tab._search("When does the ferry leave the harbour?", [])]
    assert "ferry.txt" in found and "score" in found
    *_, none = [made async for made in tab._search("quantum chromodynamics", [])]
    assert "Nothing in the documents fits" in none
    *_, unasked = [made async for made in tab._search("  ", [])]
    assert "Write a question first" in unasked


def test_the_reader_opens_a_place_and_says_why_it_cannot(library: Library):
    document = library.add("ferry.txt", b"It leaves at six. It returns at ten.").document
    passage = library.outline(document.id)[0]
    reader = Reader(library)
    made = reader._read(Place(document.id, passage.id, 18, 36))
    assert "<mark>It returns at ten.</mark>" in made
    library.delete(document.id)
    assert "cannot be opened" in reader._read(Place(document.id, passage.id, 18, 36))


def test_the_controls_ask_for_documents_only_when_they_are_on():
    assert read_retrieval(False, ["a"], 4) is None
    assert read_retrieval(True, ["a", "b"], 7) == Retrieval(collections=("a", "b"), top_k=7)
    assert read_retrieval(True, None, None) == Retrieval()


def test_a_picker_forgets_collections_that_are_gone_and_leaves_others_alone(library: Library):
    there: list[Collection] = library.collections()
    assert "value" not in offer_collections(there, [there[0].id])
    assert offer_collections(there, [there[0].id, "gone"])["value"] == [there[0].id]
