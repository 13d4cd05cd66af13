"""What those who watch the server see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assistant.api.metrics import Metrics, batch_histogram
from assistant.backends.base import BackendStats
from assistant.errors import QueueFull
from tests.api.conftest import wait_until
from tests.fakes import EchoBackend, fake_service

CHAT = {"messages": [{"role": "user", "content": "mood"}]}


def samples(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics").text
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_it_is_alive_at_once_and_ready_once_the_base_is_up(connect):
    client = connect()
    assert httpx.get(f"{client.url}/healthz").status_code == 200
    assert httpx.get(f"{client.url}/readyz").status_code == 503
    asyncio.run(client.service.start())
    answer = httpx.get(f"{client.url}/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "base": "fake-base", "base_digest": "0" * 64}
    asyncio.run(client.service.stop())
    assert httpx.get(f"{client.url}/readyz").status_code == 503


def test_it_is_not_ready_once_what_computes_has_died(connect):
    client = connect()
    client.service.is_ready = True
    client.service.backend.is_alive = False
    answer = httpx.get(f"{client.url}/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "failed"})
    assert httpx.get(f"{client.url}/healthz").status_code == 200


def test_requests_tokens_and_times_are_counted(connect):
    client = connect(EchoBackend(words=5, pace=0.01))
    client.chat.completions.create(model="sums", **CHAT)
    list(client.chat.completions.create(model="auto", **CHAT, stream=True))
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="made-up", **CHAT)
    seen = samples(client.url)
    assert seen["swapboard_requests_total{sums,ok}"] == 1
    assert seen["swapboard_requests_total{auto,ok}"] == 1
    assert seen["swapboard_requests_total{unknown,model_not_found}"] == 1
    assert not any("made-up" in name for name in seen)
    assert seen["swapboard_tokens_total{sums,prompt}"] == len("<user>mood<assistant>")
    assert seen["swapboard_tokens_total{sums,completion}"] == 5
    assert seen["swapboard_tokens_total{mood,completion}"] == 3
    assert seen["swapboard_time_to_first_token_seconds_count{}"] == 2
    assert seen["swapboard_time_to_first_token_seconds_sum{}"] == pytest.approx(0.02)
    # (0.05 - 0.01) / 4 for the first answer, (0.03 - 0.01) / 2 for the second
    assert seen["swapboard_inter_token_seconds_sum{}"] == pytest.approx(0.02)
    assert seen["swapboard_answer_seconds_sum{}"] == pytest.approx(0.05 + 0.03)
    assert seen["swapboard_queue_seconds_count{}"] == 2
    assert seen["swapboard_resident_adapters{}"] == 2 and seen["swapboard_resident_bytes{}"] > 0
    assert seen["swapboard_decoded_tokens_total{}"] == 8


def test_refused_and_left_requests_are_counted_as_such(connect):
    full = connect(EchoBackend(error=QueueFull("64 wait", 7)))
    with pytest.raises(openai.RateLimitError):
        full.chat.completions.create(model="mood", **CHAT)
    assert samples(full.url)["swapboard_requests_total{mood,queue_full}"] == 1

    slow = connect(EchoBackend(words=1000, pace=0.005))
    stream = slow.chat.completions.create(model="base", **CHAT, max_tokens=1000, stream=True)
    next(stream)
    assert samples(slow.url)["swapboard_running{}"] == 1
    stream.close()
    wait_until(lambda: samples(slow.url).get("swapboard_requests_total{base,cancelled}") == 1)
    assert samples(slow.url)["swapboard_running{}"] == 0


def test_the_engines_own_counts_are_shown(tmp_path: Path):
    backend = EchoBackend()
    backend.stats = lambda: BackendStats(
        running=3, waiting=2, steps=10, prefilled_tokens=70, decoded_tokens=40, evictions=5, batch_rows={1: 4, 3: 6}
    )
    service = fake_service(tmp_path, backend)
    text = Metrics(service.catalog, backend).text().decode()
    for line in (
        "swapboard_running 3.0",
        "swapboard_waiting 2.0",
        "swapboard_steps_total 10.0",
        "swapboard_prefilled_tokens_total 70.0",
        "swapboard_evictions_total 5.0",
        'swapboard_batch_rows_bucket{le="1"} 4.0',
        'swapboard_batch_rows_bucket{le="2"} 4.0',
        'swapboard_batch_rows_bucket{le="4"} 10.0',
        'swapboard_batch_rows_bucket{le="+Inf"} 10.0',
        "swapboard_batch_rows_sum 22.0",
    ):
        assert line in text.splitlines()


def test_a_batch_beyond_the_largest_bucket_is_still_counted():
    buckets = {s.labels.get("le"): s.value for s in batch_histogram({1000: 2}).samples if s.name.endswith("_bucket")}
    assert (buckets["256"], buckets["+Inf"]) == (0, 2)


def test_two_apps_in_one_process_count_apart(connect):
    one, two = connect(), connect()
    one.chat.completions.create(model="base", **CHAT)
    assert "swapboard_requests_total{base,ok}" in samples(one.url)
    assert "swapboard_requests_total{base,ok}" not in samples(two.url)
