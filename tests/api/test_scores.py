"""Rewards over HTTP, over fakes: the fake judge prefers the longer text."""

from __future__ import annotations

import httpx
import pytest

from tests.fakes import CharPrompter
from tests.test_best_of import write_reward
from tests.threads import threads_of

TALK = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi there"}]


@pytest.fixture
def client(connect):
    client = connect()
    write_reward(client.service.catalog.folder / "judge")
    return client


def post(client, **body):
    return httpx.post(f"{client.url}/v1/score", json=body)


def test_one_conversation_and_many_are_scored_in_order(client):
    one = post(client, model="judge", messages=TALK)
    assert one.status_code == 200
    [score] = one.json()["data"]
    assert score["index"] == 0 and score["score"] > 0
    longer = [TALK[0], {"role": "assistant", "content": [{"type": "text", "text": "hi there, and welcome"}]}]
    both = post(client, model="judge", conversations=[TALK, longer]).json()
    assert (both["object"], both["model"]) == ("list", "judge")
    assert both["data"][0]["score"] == score["score"] < both["data"][1]["score"]


def test_conversations_are_tokenised_beside_the_event_loop(client, monkeypatch):
    threads = threads_of(monkeypatch, CharPrompter, "render_example")
    assert post(client, model="judge", conversations=[TALK, TALK]).status_code == 200
    assert threads == ["asyncio", "asyncio"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "judge"}, 400, "give either messages or conversations"),
        ({"model": "judge", "messages": TALK, "conversations": [TALK]}, 400, "give either messages or conversations"),
        ({"model": "judge", "messages": TALK[:1]}, 400, "must end with the assistant's answer"),
        ({"model": "judge", "message": TALK}, 400, "did you mean 'messages'"),
        ({"model": "sums", "messages": TALK}, 400, "writes answers and scores none"),
        ({"model": "base", "messages": TALK}, 400, "'base' scores no answers"),
        ({"model": "nobody", "messages": TALK}, 404, "no adapter named 'nobody'"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(client, body, status, words):
    answer = post(client, **body)
    assert answer.status_code == status and words in answer.json()["error"]["message"]


def test_a_reward_adapter_does_not_chat(client):
    answer = httpx.post(f"{client.url}/v1/chat/completions", json={"model": "judge", "messages": TALK[:1]})
    assert answer.status_code == 400
    assert "scores answers and writes none; ask /v1/score" in answer.json()["error"]["message"]
