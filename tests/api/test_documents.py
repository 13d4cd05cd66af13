"""Documents, collections and search over HTTP, with a real library behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from assistant.api.openai import install
from assistant.database.connection import Database
from assistant.retrieval.library import Library
from assistant.retrieval.retriever import Retriever
from tests.api.conftest import MAX_UPLOAD, serving
from tests.bag_of_words import BagOfWords
from tests.fakes import fake_service
from tests.retrieval import files
from tests.threads import threads_of

MAX_DOCUMENT = 100_000


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    database = Database(f"sqlite:///{tmp_path / 'swapboard.db'}")
    database.migrate()
    library = Library(database, BagOfWords().embed, lambda text: len(text.split()), max_bytes=MAX_DOCUMENT)
    service = fake_service(tmp_path / "adapters", library=library, retriever=Retriever(library, BagOfWords().embed))
    app = FastAPI()
    install(app, service, MAX_UPLOAD)
    with serving(app) as url, httpx.Client(base_url=f"{url}/v1", timeout=60) as client:
        yield client
    database.close()


def post(client: httpx.Client, *given: tuple[str, bytes], **fields: str) -> httpx.Response:
    return client.post("/documents", files=[("file", one) for one in given], data=fields)


def add(client: httpx.Client, name: str, text: str, **fields: str) -> dict[str, object]:
    (outcome,) = post(client, (name, text.encode()), **fields).json()["data"]
    return outcome["document"]


def test_documents_are_taken_in_on_threads_that_no_chat_needs(client, monkeypatch):
    threads = threads_of(monkeypatch, Library, "add")
    add(client, "note.md", "Bring water.")
    assert threads == ["background"]


def test_many_files_go_in_at_once_and_those_that_cannot_are_named_with_the_reason(client):
    pdf = files.pdf(["# Warranty", "It lasts for two years."])
    answer = post(
        client,
        ("terms.pdf", pdf),
        ("secret.pdf", files.encrypted(pdf, "secret")),
        ("empty.txt", b""),
        ("photo.png", b"\x89PNG"),
        ("large.txt", b"x" * (MAX_DOCUMENT + 1)),
        ("note.md", b"# Note\n\nBring water."),
    )
    assert answer.status_code == 200
    outcomes = answer.json()["data"]
    assert [(one["name"], one["outcome"]) for one in outcomes] == [
        ("terms.pdf", "added"),
        ("secret.pdf", "rejected"),
        ("empty.txt", "rejected"),
        ("photo.png", "rejected"),
        ("large.txt", "rejected"),
        ("note.md", "added"),
    ]
    reasons = [one["reason"] for one in outcomes if one["outcome"] == "rejected"]
    for reason, words in zip(reasons, ("encrypted", "empty", ".png", "100,001 bytes; allowed"), strict=True):
        assert words in reason
    listed = client.get("/documents").json()["data"]
    assert [one["name"] for one in listed] == ["note.md", "terms.pdf"]
    assert listed[1] == outcomes[0]["document"] and listed[1]["media_type"] == "application/pdf"


def test_adding_again_says_whether_anything_changed(client):
    outcomes = [post(client, ("a.txt", data)).json()["data"][0] for data in (b"one", b"one", b"two")]
    assert [one["outcome"] for one in outcomes] == ["added", "unchanged", "replaced"]
    assert len({one["document"]["id"] for one in outcomes}) == 1


def test_a_document_is_read_with_its_text_and_the_places_of_its_passages(client):
    id = add(client, "note.md", "# Note\n\nBring water.\n\n# Later\n\nDrink it.")["id"]
    document = client.get(f"/documents/{id}").json()
    assert (document["name"], document["passages"], document["object"]) == ("note.md", 2, "document")
    pieces = [(place["heading"], document["text"][place["start"] : place["end"]]) for place in document["outline"]]
    assert pieces == [("Note", "# Note\n\nBring water."), ("Later", "# Later\n\nDrink it.")]
    assert document["outline"][0]["page"] is None


def test_a_deleted_document_is_gone_and_no_longer_found(client):
    id = add(client, "note.md", "Bring water.")["id"]
    assert client.delete(f"/documents/{id}").json() == {"id": id, "object": "document", "deleted": True}
    for answer in (client.get(f"/documents/{id}"), client.delete(f"/documents/{id}")):
        assert answer.status_code == 404 and answer.json()["error"]["code"] == "not_found"
    answer = client.post("/search", json={"query": "water"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "nothing_relevant")


def test_collections_are_made_renamed_listed_and_deleted_with_their_documents(client):
    made = client.post("/collections", json={"name": "Contracts"})
    assert made.status_code == 201
    id = made.json()["id"]
    document = add(client, "a.txt", "one", collection=id)
    assert document["collection_id"] == id
    renamed = client.patch(f"/collections/{id}", json={"name": "Deals"}).json()
    assert (renamed["name"], renamed["documents"], renamed["object"]) == ("Deals", 1, "collection")
    assert [one["name"] for one in client.get("/collections").json()["data"]] == ["Documents", "Deals"]
    assert client.get("/documents", params={"collection": id}).json()["data"] == [document]
    first = client.get("/collections").json()["data"][0]["id"]
    assert client.get("/documents", params={"collection": first}).json()["data"] == []
    assert client.delete(f"/collections/{id}").json()["deleted"] is True
    assert client.get("/documents").json()["data"] == []
    refused = client.delete(f"/collections/{first}")
    assert refused.status_code == 400 and "stays" in refused.json()["error"]["message"]


def test_documents_are_listed_page_by_page_and_by_name_with_how_many_there_are(client):
    for name in ("ferry.txt", "copper.txt", "Ferry to Lund.txt"):
        add(client, name, "text")

    def listed(**query: object) -> tuple[list[str], int]:
        answer = client.get("/documents", params=query).json()  # type: ignore[arg-type]
        return [one["name"] for one in answer["data"]], answer["total"]

    names, total = listed()
    assert sorted(names) == ["Ferry to Lund.txt", "copper.txt", "ferry.txt"] and total == 3
    assert listed(limit=2) == (names[:2], 3) and listed(limit=2, offset=2) == (names[2:], 3)
    found, total = listed(name="ferry", limit=1)
    assert len(found) == 1 and "ferry" in found[0].lower() and total == 2


def test_search_gives_the_best_passages_of_all_documents_or_of_some(client):
    other = client.post("/collections", json={"name": "Other"}).json()["id"]
    add(client, "cats.txt", "Cats sleep on warm roofs all day.")
    add(client, "dogs.txt", "Dogs sleep in warm baskets at night.", collection=other)
    found = client.post("/search", json={"query": "where do cats sleep", "top_k": 1}).json()["data"]
    assert [(one["document"], one["text"], one["object"]) for one in found] == [
        ("cats.txt", "Cats sleep on warm roofs all day.", "passage")
    ]
    found = client.post("/search", json={"query": "warm sleep", "collections": [other]}).json()["data"]
    assert [one["document"] for one in found] == ["dogs.txt"]
    assert len(client.post("/search", json={"query": "warm sleep"}).json()["data"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/search", {"query": "x", "top_k": 0}, 400, "top_k"),
        ("POST", "/search", {"query": "x", "topk": 3}, 400, "did you mean 'top_k'"),
        ("POST", "/search", {"query": " "}, 400, "query"),
        ("POST", "/search", {"query": "x", "collections": ["nothing"]}, 404, "no collection 'nothing'"),
        ("POST", "/collections", {"name": " "}, 400, "collection name"),
        ("POST", "/collections", {"name": "Documents"}, 400, "already"),
        ("PATCH", "/collections/nothing", {"name": "x"}, 404, "no collection 'nothing'"),
        ("DELETE", "/collections/nothing", None, 404, "no collection 'nothing'"),
        ("GET", "/documents?collection=nothing", None, 404, "no collection 'nothing'"),
        ("GET", "/documents?limit=0", None, 400, "limit"),
        ("GET", "/documents?limit=1001", None, 400, "less than or equal to 1000"),
        ("GET", "/documents?offset=-1", None, 400, "offset"),
        ("GET", "/documents/nothing", None, 404, "no document 'nothing'"),
        ("POST", "/documents", {"file": "x"}, 400, "multipart/form-data"),
    ],
)
def test_what_is_wrong_is_refused_with_a_reason(client, method, path, body, status, words):
    answer = client.request(method, path, json=body) if body is not None else client.request(method, path)
    assert answer.status_code == status and words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "form",
    [
        {"data": {"collection": "x"}, "files": {"other": ("a.txt", b"x")}},
        {"data": {"name": "x"}, "files": {"file": ("a.txt", b"x")}},
        {"files": {"collection": ("a.txt", b"x")}},
        {"files": [("file", ("a.txt", b"x")), ("other", ("b.txt", b"x"))]},
    ],
)
def test_a_form_that_is_none_takes_nothing_in(client, form):
    answer = client.post("/documents", **form)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_request"
    assert client.get("/documents").json()["data"] == []


def test_an_unknown_collection_takes_nothing_in(client):
    answer = post(client, ("a.txt", b"x"), ("b.txt", b"x"), collection="nothing")
    assert answer.status_code == 404 and client.get("/documents").json()["data"] == []


def test_more_than_a_request_may_hold_is_refused_as_a_whole(client):
    answer = post(client, *((f"{n}.txt", b"x" * MAX_DOCUMENT) for n in range(18)))
    assert answer.status_code == 400 and "larger than 1,600,000 bytes" in answer.json()["error"]["message"]
    answer = post(client, *((f"{n}.txt", b"x") for n in range(201)))
    assert answer.status_code == 400 and "Too many files" in answer.json()["error"]["message"]
    assert client.get("/documents").json()["data"] == []
