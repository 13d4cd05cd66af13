"""A client that leaves takes its computation along."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.api.conftest import wait_until
from tests.fakes import EchoBackend


def body(**fields: object) -> dict[str, object]:
    return {"model": "base", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1000, **fields}


def assert_computes_no_more(backend: EchoBackend) -> None:
    wait_until(lambda: backend.running == 0)
    computed = backend.generated
    assert computed < 1000
    time.sleep(0.1)
    assert backend.generated == computed


def test_leaving_a_stream_stops_its_compute_and_keeps_what_was_said(connect):
    backend = EchoBackend(words=1000, pace=0.005)
    client = connect(backend)
    stream = client.chat.completions.create(**body(stream=True))
    for _ in range(3):
        next(stream)
    assert backend.running == 1
    stream.close()
    assert_computes_no_more(backend)
    (turn,) = client.service.store.turns.values()
    wait_until(lambda: turn["is_finished"])
    assert turn["error"].code == "cancelled" and turn["parts"][0].text.startswith("base: word1")


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_before_the_first_byte_stops_compute(connect, stream):
    backend = EchoBackend(words=1000, pace=0.3)
    client = connect(backend)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{client.url}/v1/chat/completions", json=body(stream=stream), timeout=0.15)
    wait_until(lambda: backend.running == 0)
    assert backend.generated <= 1


def test_leaving_a_whole_answer_midway_stops_compute(connect):
    backend = EchoBackend(words=1000, pace=0.005)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{connect(backend).url}/v1/chat/completions", json=body(), timeout=0.2)
    assert_computes_no_more(backend)


def test_leaving_several_prompts_stops_them_all(connect):
    backend = EchoBackend(words=1000, pace=0.005)
    client = connect(backend)
    stream = client.completions.create(model="base", prompt=["a", "b", "c"], max_tokens=1000, stream=True)
    next(stream)
    wait_until(lambda: backend.running == 3)
    stream.close()
    assert_computes_no_more(backend)
