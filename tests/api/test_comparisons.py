"""Comparisons over HTTP, with a fake backend and a real store."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import httpx
import pytest
from fastapi import FastAPI

from assistant.api.comparisons import comparisons_router
from assistant.api.openai import install
from assistant.build import build_comparisons
from assistant.comparison import results
from assistant.feedback.store import Store
from tests.api.conftest import MAX_UPLOAD
from tests.fakes import EchoBackend, fake_service
from tests.test_best_of import write_reward
from tests.threads import threads_of

PAIR = [{"mode": "prompt"}, {"mode": "tuned", "adapter": "mood"}]
ASK = {"question": "two plus two", "contestants": PAIR}


@pytest.fixture
async def start(folder, tmp_path):
    """Serve over the backend that is given; returns a client."""
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=5)
    store.migrate()
    to_end = []

    async def build(backend: EchoBackend | None = None) -> httpx.AsyncClient:
        service = fake_service(folder, backend, store)
        comparator, batches = build_comparisons(service, store)
        await batches.start()
        app = FastAPI()
        install(app, service, MAX_UPLOAD, comparisons_router(comparator, batches))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60)
        to_end.extend([client.aclose, batches.stop])
        client.store = store
        return client

    yield build
    for end in to_end:
        await end()
    store.close()


async def finished(client: httpx.AsyncClient, batch_id: str, **headers: str) -> dict:
    async with asyncio.timeout(30):
        while True:
            batch = (await client.get(f"/v1/comparisons/batches/{batch_id}", headers=headers)).json()
            if batch["state"] != "running":
                return batch
            await asyncio.sleep(0.02)


async def test_a_whole_comparison_lays_everything_open(start):
    client = await start()
    told = (await client.post("/v1/comparisons", json={**ASK, "references": ["mood: word1 word2"]})).json()
    assert told["object"] == "comparison" and told["state"] == "finished"
    prompt, tuned = told["columns"]
    assert (prompt["column"], prompt["mode"], tuned["adapter"]) == ("A", "prompt", "mood")
    assert tuned["text"] == "mood: word1 word2" and tuned["scores"]["exact_match"] == 1.0
    assert tuned["figures"]["tokens"] == 3 and tuned["parts"][0]["digest"]
    assert (await client.get(f"/v1/comparisons/{told['id']}")).json() == told
    (listed,) = (await client.get("/v1/comparisons")).json()["data"]
    assert listed["id"] == told["id"] and "columns" not in listed


async def test_a_stream_tells_every_column_as_it_comes_and_ends_with_the_whole(start):
    client = await start()
    answer = await client.post("/v1/comparisons", json={**ASK, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert events[0]["kind"] == "comparison_started" and events[0]["order"] == [0, 1]
    columns = [e for e in events if e["kind"] == "column"]
    assert {e["column"] for e in columns} == {0, 1}
    text = "".join(e["event"]["text"] for e in columns if e["column"] == 1 and e["event"]["kind"] == "text")
    assert text == "mood: word1 word2" == events[-1]["comparison"]["columns"][1]["text"]


async def test_a_blind_comparison_names_nobody_until_it_is_revealed(start):
    client = await start()
    streamed = (await client.post("/v1/comparisons", json={**ASK, "blind": True, "stream": True})).text
    end = json.loads(streamed.split("data: ")[-2])["comparison"]
    before_end = streamed.split('"comparison_done"')[0]
    assert "tuned" not in before_end and 'digest": "' not in before_end and '"order": null' in before_end
    for told in (end, (await client.get(f"/v1/comparisons/{end['id']}")).json()):
        assert all("mode" not in column and "parts" not in column for column in told["columns"])
    shown = (await client.post(f"/v1/comparisons/{end['id']}/reveal")).json()
    assert shown["revealed_at"] and {c["mode"] for c in shown["columns"]} == {"prompt", "tuned"}


async def test_what_belongs_to_one_owner_is_not_there_for_another(start):
    client = await start()
    mine = {"X-Swapboard-Owner": "ann"}
    told = (await client.post("/v1/comparisons", json=ASK, headers=mine)).json()
    path = f"/v1/comparisons/{told['id']}"
    assert (await client.get(path)).status_code == 404
    assert (await client.get(path, headers={"X-Swapboard-Owner": "bob"})).status_code == 404
    assert (await client.get(path, headers=mine)).status_code == 200
    assert (await client.get("/v1/comparisons")).json()["data"] == []
    assert (await client.delete(path)).status_code == 404
    assert (await client.delete(path, headers=mine)).json()["deleted"] is True
    assert (await client.get(path, headers=mine)).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({**ASK, "question": " "}, "question is empty"),
        ({**ASK, "contestants": PAIR[:1]}, "1 contestants; allowed: 2 to 6"),
        ({**ASK, "contestants": [{"mode": "prompt"}, {"mode": "tuned"}]}, "'tuned' needs an adapter"),
        ({**ASK, "contestants": [{"mode": "prompt"}, {"mode": "magic"}]}, "contestants.1.mode"),
        ({**ASK, "colour": 1}, "colour"),
        ({**ASK, "contestants": [*PAIR, {"mode": "prompt", "decoding": {"temperature": 9}}]}, "temperature"),
    ],
)
async def test_a_wrong_request_is_refused_by_name(start, body, words):
    client = await start()
    answer = await client.post("/v1/comparisons", json=body)
    assert answer.status_code == 400 and words in answer.json()["error"]["message"]


async def test_a_database_that_is_away_is_told_before_anything_is_asked(start):
    backend = EchoBackend()
    client = await start(backend)
    with client.store.database.writing():
        for stream in (False, True):
            answer = await client.post("/v1/comparisons", json={**ASK, "stream": stream})
            assert answer.status_code == 503 and answer.json()["error"]["code"] == "store_unavailable"
    assert backend.seen == []


async def test_scores_are_computed_beside_the_event_loop_and_not_at_all_for_the_list(start, monkeypatch):
    client = await start()
    told = (await client.post("/v1/comparisons", json={**ASK, "references": ["mood"]})).json()
    path, threads = f"/v1/comparisons/{told['id']}", threads_of(monkeypatch, results, "score")
    (listed,) = (await client.get("/v1/comparisons")).json()["data"]
    assert threads == [] and told == {**listed, "columns": told["columns"]}
    await client.get(path)
    await client.post(f"{path}/reveal")
    await client.post("/v1/comparisons", json={**ASK, "references": ["mood"]})
    await client.post("/v1/comparisons", json={**ASK, "references": ["mood"], "stream": True})
    assert threads == ["asyncio"] * 8


async def test_references_that_are_too_long_are_refused_with_what_is_allowed(start):
    client, words = await start(), "references of 32,001 characters; allowed: 32,000 in all"
    row = {"question": "one", "references": ["a" * 32_000, "b"]}
    for place, body in (("", {**ASK, **row}), ("/batches", {"contestants": PAIR, "rows": [row]})):
        answer = await client.post(f"/v1/comparisons{place}", json=body)
        assert answer.status_code == 400 and words in answer.json()["error"]["message"]
    lines = "\n".join(map(json.dumps, ({"question": "fine"}, row)))
    form = {"files": {"file": ("set.jsonl", lines)}, "data": {"setup": json.dumps({"contestants": PAIR})}}
    id = (await client.post("/v1/comparisons/batches", **form)).json()["id"]
    assert (await finished(client, id))["failed"] == 1
    rows = (await client.get(f"/v1/comparisons/batches/{id}/results.jsonl")).text.splitlines()
    assert f"line 2: {words}" in [json.loads(line)["error"] for line in rows]


@pytest.mark.parametrize("references", [["a"] * 33, [""]])
async def test_references_beyond_what_is_allowed_are_refused_in_every_form(start, references):
    client = await start()
    row = {"question": "one", "references": references}
    for place, body in (("", {**ASK, **row}), ("/batches", {"contestants": PAIR, "rows": [row]})):
        answer = await client.post(f"/v1/comparisons{place}", json=body)
        assert answer.status_code == 400 and "references" in answer.json()["error"]["message"]


async def test_a_batch_from_json_runs_to_its_table_and_downloads(start):
    client = await start()
    rows = [{"question": "=1+1", "references": ["base: word1"]}, {"question": ""}, {"question": "b"}]
    answer = await client.post("/v1/comparisons/batches", json={"contestants": PAIR, "rows": rows, "name": "Sums"})
    assert answer.status_code == 201 and (answer.json()["rows"], answer.json()["name"]) == (3, "Sums")
    id = answer.json()["id"]
    batch = await finished(client, id)
    assert (batch["state"], batch["done"], batch["failed"]) == ("finished", 3, 1)
    means = (await client.get(f"/v1/comparisons/batches/{id}/averages")).json()["data"]
    assert [(a["contestant"], a["answers"]) for a in means] == [("prompt", 2), ("tuned mood", 2)]
    table = await client.get(f"/v1/comparisons/batches/{id}/results.csv")
    assert "attachment" in table.headers["content-disposition"]
    found = list(csv.DictReader(io.StringIO(table.text, newline="")))
    assert [row["row"] for row in found] == ["1", "1", "2", "3", "3"] and found[0]["question"] == "'=1+1"
    assert "question is empty" in found[2]["error"]
    lines = (await client.get(f"/v1/comparisons/batches/{id}/results.jsonl")).text.splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["finished", "failed", "finished"]
    assert [b["id"] for b in (await client.get("/v1/comparisons/batches")).json()["data"]] == [id]
    assert (await client.delete(f"/v1/comparisons/batches/{id}")).json()["deleted"] is True
    assert (await client.get(f"/v1/comparisons/batches/{id}")).status_code == 404


async def test_a_batch_from_a_file_takes_its_name_from_it(start):
    client = await start()
    files = {"file": ("capitals.csv", b"question,reference\nCapital of France?,Paris\n")}
    form = {"setup": json.dumps({"contestants": PAIR})}
    answer = await client.post("/v1/comparisons/batches", files=files, data=form)
    assert answer.status_code == 201 and answer.json()["name"] == "capitals.csv"
    id = (await finished(client, answer.json()["id"]))["id"]
    assert (await client.get(f"/v1/comparisons/batches/{id}/averages")).json()["data"][0]["f1"] == 0.0


@pytest.mark.parametrize(
    ("files", "form", "status", "words"),
    [
        ({"file": ("q.csv", b"prompt\na\n")}, {"setup": json.dumps({"contestants": PAIR})}, 400, "q.csv, line 1"),
        ({"file": ("q.csv", b"question\na\n")}, {"setup": "{"}, 400, "no JSON"),
        ({"file": ("q.csv", b"question\na\n")}, {}, 400, "allowed: a file 'file'"),
        ({"file": ("q.csv", b"question\na\n")}, {"setup": "{}", "colour": "1"}, 400, "colour"),
        ({"file": ("q.csv", b"x" * 9_000_000)}, {"setup": "{}"}, 400, "larger than"),
        (
            {"file": ("q.csv", b"question\na\n")},
            {"setup": json.dumps({"contestants": [PAIR[0], {"mode": "tuned", "adapter": "moood"}]})},
            404,
            "mood",
        ),
    ],
)
async def test_a_wrong_upload_is_refused_and_nothing_is_kept(start, files, form, status, words):
    client = await start()
    answer = await client.post("/v1/comparisons/batches", files=files, data=form)
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert (await client.get("/v1/comparisons/batches")).json()["data"] == []


async def test_a_running_batch_can_be_cancelled_and_revealed(start):
    backend = EchoBackend(words=3, pace=0.05)
    client = await start(backend)
    rows = [{"question": str(n)} for n in range(20)]
    id = (await client.post("/v1/comparisons/batches", json={"contestants": PAIR, "rows": rows, "blind": True})).json()[
        "id"
    ]
    async with asyncio.timeout(30):
        while not (await client.get(f"/v1/comparisons/batches/{id}")).json()["done"]:
            await asyncio.sleep(0.05)
    assert (await client.post(f"/v1/comparisons/batches/{id}/cancel")).json()["state"] == "cancelled"
    assert backend.running == 0
    path = f"/v1/comparisons/batches/{id}"
    assert (await client.get(f"{path}/averages")).json()["data"] == []
    await client.post(f"{path}/reveal")
    assert len((await client.get(f"{path}/averages")).json()["data"]) == 2


async def test_several_answers_are_drawn_and_all_are_judged(start, folder):
    write_reward(folder / "taste")
    client = await start()
    best = {"mode": "prompt", "best_of": {"n": 2, "judge": "taste"}}
    asked = {**ASK, "contestants": [*PAIR, best], "reward_by": "taste"}
    answer = await client.post("/v1/comparisons", json={**asked, "stream": True})
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    events = [json.loads(line) for line in lines[:-1]]
    drew = [one["event"] for one in events if one["kind"] == "column" and one["event"]["kind"] == "drew"]
    assert [(one["done"], one["of"]) for one in drew] == [(1, 2), (2, 2)]
    *_, told = events[-1]["comparison"]["columns"]
    assert told["best_of"] == best["best_of"] and told["figures"]["tokens"] == 10
    assert [one["reward"] for one in told["parts"][0]["drawn"]["candidates"]] == [told["reward"]["score"]] * 2
    assert told["reward"]["judge"] == "taste" and told["reward"]["digest"] and told["reward"]["error"] is None


async def test_answers_are_judged_afterwards(start, folder):
    write_reward(folder / "taste")
    client = await start()
    told = (await client.post("/v1/comparisons", json=ASK)).json()
    assert [one["reward"] for one in told["columns"]] == [None, None]
    judged = (await client.post(f"/v1/comparisons/{told['id']}/rewards", json={"reward_by": "taste"})).json()
    assert all(one["reward"]["score"] > 0 for one in judged["columns"])
    assert (await client.get(f"/v1/comparisons/{told['id']}")).json() == judged


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"reward_by": "mood"}, 400, "writes answers and scores none"),
        ({"reward_by": "tast"}, 404, "no adapter named 'tast'"),
        ({"contestants": [*PAIR, {"mode": "prompt", "best_of": {"n": 17, "judge": "taste"}}]}, 400, "n"),
        (
            {
                "contestants": [
                    *PAIR,
                    {"mode": "prompt", "best_of": {"n": 2, "judge": "taste"}, "decoding": {"temperature": 0}},
                ]
            },
            400,
            "temperature 0 gives one answer n times",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_who_cannot_judge_and_what_cannot_be_drawn_is_refused_in_words(
    start, folder, changes, status, words, stream
):
    write_reward(folder / "taste")
    client = await start()
    answer = await client.post("/v1/comparisons", json={**ASK, **changes, "stream": stream})
    assert answer.status_code == status and words in answer.json()["error"]["message"]
    assert (await client.get("/v1/comparisons")).json()["data"] == []
