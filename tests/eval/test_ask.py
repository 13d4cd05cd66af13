"""Many requests at once: order, bound, and how a failure ends them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from assistant.errors import EvaluationError
from assistant.messages import ChatRequest, CompletionRequest, Decoding, Message, Retrieval
from eval.ask import ask_all
from eval.tasks.scorers import confidence
from tests.fakes import EchoBackend, fake_service, write_adapter


def chat(text: str, words: int) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content=text),), decoding=Decoding(max_tokens=words))


async def test_ends_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    service = fake_service(tmp_path, EchoBackend(pace=0.001))
    requests = [chat("long", 5), chat("short", 1), CompletionRequest(prompt="raw", decoding=Decoding(max_tokens=2))]
    ends = await ask_all(service, requests, concurrency=3)
    assert [end.text for end in ends] == ["base: word1 word2 word3 word4", "base:", "base: word1"]


async def test_no_more_run_at_once_than_allowed(tmp_path: Path) -> None:
    backend = EchoBackend(pace=0.001)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, backend.running)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await ask_all(fake_service(tmp_path, backend), [chat("x", 3)] * 12, concurrency=4)
    watching.cancel()
    assert most == 4


async def test_failure_names_its_example_and_cancels_the_others(tmp_path: Path) -> None:
    backend = EchoBackend(words=100, pace=0.01)
    requests = [chat("fine", 100), chat("x" * 3000, 1)]
    with pytest.raises(EvaluationError, match="example r2 failed: context_length_exceeded"):
        await ask_all(fake_service(tmp_path, backend), requests, concurrency=2, names=["r1", "r2"])
    assert backend.running == 0
    assert backend.generated < 100


async def test_asking_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no examples"):
        await ask_all(fake_service(tmp_path), [], concurrency=1)


async def test_a_failure_that_is_no_answer_gives_an_empty_one_of_which_nobody_is_sure(tmp_path: Path) -> None:
    asked = [chat("fine", 1), chat("nothing fits", 1).model_copy(update={"retrieval": Retrieval()})]
    with pytest.raises(EvaluationError, match="nothing_relevant"):
        await ask_all(fake_service(tmp_path), asked, concurrency=2)
    ends = await ask_all(fake_service(tmp_path), asked, concurrency=2, unanswered=["nothing_relevant"])
    assert [end.text for end in ends] == ["base:", ""]
    assert confidence(ends[1].parts[0].scores, 0, 0) == 0


async def test_only_the_named_revision_of_an_adapter_may_answer(tmp_path: Path) -> None:
    write_adapter(tmp_path / "mood")
    service = fake_service(tmp_path)
    asked = [chat("fine", 1), chat("fine", 1).model_copy(update={"adapter": "mood"})]
    ends = await ask_all(service, asked, 2, revisions={"mood": service.catalog.get("mood").digest})
    assert [end.text for end in ends] == ["base:", "mood:"]
    with pytest.raises(
        EvaluationError, match=r"adapter 'mood' was replaced while it was measured: .* and ffffffffffff"
    ):
        await ask_all(service, asked, 2, revisions={"mood": "f" * 64})
