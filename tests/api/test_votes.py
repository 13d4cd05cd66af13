"""Votes over HTTP, over a real store."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import select

from assistant.api import votes as votes_api
from assistant.api.openai import install
from assistant.api.votes import votes_router
from assistant.database.schema import metadata
from assistant.database.tables.comparisons import columns
from assistant.database.tables.votes import votes
from assistant.feedback.export import export_rows
from assistant.feedback.formats import FORMATS, read
from assistant.feedback.store import Store
from assistant.feedback.votes import Ranking
from tests.api.conftest import MAX_UPLOAD
from tests.fakes import fake_service
from tests.feedback.ballot_box import BallotBox
from tests.threads import threads_of

MANUAL = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ANN, BOB = {"X-Swapboard-Owner": "ann"}, {"X-Swapboard-Owner": "bob"}


@pytest.fixture
async def client(folder, tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=0.2)
    store.migrate()
    service = fake_service(folder, store=store)
    app, box = FastAPI(), BallotBox(store)
    install(app, service, MAX_UPLOAD, votes_router(box.votes, service.catalog))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        client.box = box
        yield client
    store.close()


def ranked(comparison: str, *ranks: int, **fields) -> dict:
    return {"comparison_id": comparison, "verdict": "ranked", "ranks": list(ranks), **fields}


def test_every_endpoint_is_in_the_manual():
    routes = [route for route in votes_router(None, None).routes if isinstance(route, APIRoute)]
    assert len(routes) == 5
    for route in routes:
        (method,) = route.methods
        assert f"`{method} {route.path}`" in MANUAL


async def test_a_ranking_is_cast_changed_and_shown_with_its_history(client):
    comparison = client.box.comparison(["a", "b", "c"], blind=True, shown=(1, 2, 0))
    first = await client.post("/v1/votes", json=ranked(comparison, 1, 2, 2, tags=["x"]), headers=ANN)
    assert first.status_code == 201
    # From the left stand c, a, b.
    second = (await client.post("/v1/votes", json=ranked(comparison, 3, 1, 2, by_place=True), headers=ANN)).json()
    assert second["ranks"] == [1, 2, 3] and second["was_blind"] and second["kind"] == "ranking"
    told = (await client.get("/v1/votes", headers=ANN)).json()
    assert [one["ranks"] for one in told["data"]] == [[1, 2, 2], [1, 2, 3]]
    assert [one["superseded_at"] is None for one in told["data"]] == [False, True]
    assert (await client.get("/v1/votes", headers=BOB)).json()["data"] == []


async def test_any_answer_of_the_api_can_be_rated_by_its_turn(client):
    question = {"model": "mood", "messages": [{"role": "user", "content": "hello"}]}
    turn = (await client.post("/v1/chat/completions", json=question)).json()["swapboard"]["turn_id"]
    rating = {"turn_id": turn, "thumb": True, "scales": {"fluency": 5}, "correction": "Hello!"}
    told = (await client.post("/v1/votes", json=rating)).json()
    assert told["kind"] == "rating" and told["scales"] == {"fluency": 5}
    (case,) = client.box.votes.votes()
    assert case.question == "hello" and case.answers[0].adapter == "mood"


async def test_a_request_sent_again_is_not_a_second_vote(client):
    comparison = client.box.comparison(["a", "b"])
    sent = {"json": ranked(comparison, 1, 2), "headers": {**ANN, "Idempotency-Key": "k1"}}
    first, again = [(await client.post("/v1/votes", **sent)).json() for _ in range(2)]
    assert first["id"] == again["id"] and len((await client.get("/v1/votes", headers=ANN)).json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"comparison_id": "none", "verdict": "skipped"}, 404, "no comparison 'none'"),
        ({"turn_id": "none", "thumb": True}, 404, "no turn 'none'"),
        ({"turn_id": "x", "scales": {"fluency": 9}}, 400, "scales.fluency: Input should be less than or equal to 5"),
        ({"turn_id": "x", "thumbs": True}, 400, "thumbs: Extra inputs"),
        ({"comparison_id": "x", "verdict": "best"}, 400, "'ranked', 'all_bad' or 'skipped'"),
        ({}, 400, "turn_id: Field required"),
    ],
)
async def test_a_wrong_vote_is_refused_with_the_reason(client, body, status, says):
    reply = await client.post("/v1/votes", json=body)
    assert reply.status_code == status and says in reply.json()["error"]["message"]


async def test_a_locked_database_is_told_as_such(client):
    comparison = client.box.comparison(["a", "b"])
    with client.box.store.database.writing():
        reply = await client.post("/v1/votes", json=ranked(comparison, 1, 2))
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "store_unavailable"
    assert "nothing was saved: database is locked" in reply.json()["error"]["message"]


async def test_one_deletes_all_that_is_ones_own(client):
    comparison = client.box.comparison(["a", "b"])
    for headers in (ANN, ANN, BOB):
        await client.post("/v1/votes", json=ranked(comparison, 1, 2), headers=headers)
    assert (await client.delete("/v1/votes", headers=ANN)).json()["deleted"] == 2
    assert (await client.get("/v1/votes", headers=ANN)).json()["data"] == []
    assert len((await client.get("/v1/votes", headers=BOB)).json()["data"]) == 1


async def test_of_who_voted_a_name_is_kept_and_never_an_address(client):
    app, address = client._transport.app, "203.0.113.7"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(address, 40_123)), base_url="http://test"
    ) as far:
        headers = {**ANN, "X-Forwarded-For": address, "User-Agent": "a-browser"}
        question = {"model": "mood", "messages": [{"role": "user", "content": "hello"}]}
        turn = (await far.post("/v1/chat/completions", json=question, headers=headers)).json()["swapboard"]["turn_id"]
        for body in ({"turn_id": turn, "thumb": True}, ranked(client.box.comparison(["a", "b"]), 1, 2)):
            assert (await far.post("/v1/votes", json=body, headers=headers)).status_code == 201
    with client.box.store.database.reading() as connection:
        kept = [str(connection.execute(select(table)).all()) for table in metadata.sorted_tables]
        assert connection.scalars(select(votes.c.voter)).all() == ["ann", "ann"]
    assert not any(address in table or "40123" in table or "a-browser" in table for table in kept)
    for format in FORMATS:
        assert address not in (await client.get("/v1/export", params={"format": format})).text


@pytest.mark.parametrize("format", FORMATS)
async def test_a_vote_tells_no_names_before_the_comparison_does(client, format):
    comparison = client.box.comparison(["a", "b", "c"], blind=True)
    await client.post("/v1/votes", json=ranked(comparison, 1, 2, 3), headers=ANN)
    with client.box.store.database.reading() as connection:
        turn, *_ = connection.scalars(select(columns.c.turn_id).where(columns.c.comparison_id == comparison))
    await client.post("/v1/votes", json={"turn_id": turn, "thumb": True, "correction": "d"}, headers=ANN)
    parameters = {"format": format}
    assert (await client.get("/v1/export", params=parameters)).text == ""
    board = (await client.get("/v1/leaderboard", params={"samples": 20})).json()
    assert board["standings"] == [] and board["left_out"] == {"the names are not told yet": 3}
    client.box.reveal(comparison)
    assert (await client.get("/v1/export", params=parameters)).text != ""
    assert len((await client.get("/v1/leaderboard", params={"samples": 20})).json()["standings"]) == 3


@pytest.fixture
async def voted(client):
    for number in range(10):
        comparison = client.box.comparison(["a", "b", "c"], f"question {number}")
        ranks = (2, 3, 1) if number % 3 else (1, 3, 2)
        client.box.votes.rank("ann", Ranking(**ranked(comparison, *ranks)))
    return client


async def test_the_leaderboard_is_plain_json(voted):
    board = (await voted.get("/v1/leaderboard", params={"samples": 50, "by": "mode"})).json()
    assert [one["name"] for one in board["standings"]] == ["tuned", "prompt", "rag"]
    best = board["standings"][0]
    assert best["rating"]["low"] < best["rating"]["value"] < best["rating"]["high"] and best["wins"] == 16
    assert (board["rankings"], board["battles"], board["left_out"]) == (10, 30, {})
    assert sum(board["votes_per_day"].values()) == 10
    empty = (await voted.get("/v1/leaderboard", params={"until": "2020-01-01"})).json()
    assert empty["standings"] == []
    few = await voted.get("/v1/leaderboard", params={"samples": 1})
    assert few.status_code == 400 and "greater than or equal to 20" in few.json()["error"]["message"]


async def test_the_leaderboard_and_exports_are_made_on_threads_that_no_chat_needs(voted, monkeypatch):
    threads = threads_of(monkeypatch, votes_api, "leaderboard")
    threads_of_export = threads_of(monkeypatch, votes_api, "export_rows")
    await voted.get("/v1/leaderboard", params={"samples": 20})
    await voted.get("/v1/export", params={"format": "preference"})
    assert threads == threads_of_export == ["background"]


@pytest.mark.parametrize("file_type", ["jsonl", "csv", "parquet"])
async def test_the_export_is_the_file_that_the_command_writes(voted, file_type):
    reply = await voted.get("/v1/export", params={"format": "preference", "type": file_type})
    assert reply.headers["content-disposition"] == f'attachment; filename="preference.{file_type}"'
    rows = read(io.BytesIO(reply.content), "preference", file_type, "x")
    assert rows == export_rows(voted.box.votes.votes(), "preference") and len(rows) == 30


async def test_the_export_can_be_narrowed_and_split(voted):
    async def lines(**params) -> list[dict]:
        reply = await voted.get("/v1/export", params={"format": "ranked", **params})
        assert reply.status_code == 200, reply.text
        return [json.loads(line) for line in reply.text.splitlines()]

    assert len(await lines()) == len(await lines(task="sentiment", adapter=["mood", "x"])) == 10
    assert await lines(adapter="sums") == [] == await lines(since="2100-01-01") == await lines(blind=True)
    sides = [await lines(side=side, test_share=0.4) for side in ("train", "test")]
    assert len(sides[0]) + len(sides[1]) == 10 and all(sides)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "format: Field required"),
        ({"format": "xml"}, "'preference', 'unpaired'"),
        ({"format": "arena", "task": "law"}, "no adapter is for the task 'law'; tasks there are: sentiment"),
        ({"format": "arena", "since": "yesterday"}, "since"),
        ({"format": "arena", "since": "0001-01-01T00:00:00+05:00"}, "outside the calendar"),
        ({"format": "arena", "until": "9999-12-31T23:00:00-05:00"}, "outside the calendar"),
        ({"format": "arena", "min_agreement": 2}, "min_agreement"),
        ({"format": "arena", "voter": "ann"}, "voter: Extra inputs"),
    ],
)
async def test_a_wrong_export_is_refused_with_the_reason(client, params, says):
    reply = await client.get("/v1/export", params=params)
    assert reply.status_code == 400 and says in reply.json()["error"]["message"]
