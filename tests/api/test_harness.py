"""lm-evaluation-harness: the bodies it sends, over a real engine, and its own reading of the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI

from assistant.api.openai import install
from assistant.backends.local import LocalBackend
from assistant.base_model import load_base
from tests import tiny
from tests.api.conftest import MAX_UPLOAD
from tests.fakes import fake_service

QUESTION = "Bees dance to show the way to"
ENDINGS = (" flowers", " the moon and its café")
"""The tiny tokenizer has a token for each byte: é is two of them, and only the last has text."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A tiny base and an adapter that changes its answers."""
    base = tiny.write_base(tmp_path / "base")
    tiny.write_adapter(tmp_path / "adapters" / "lora", base, tiny.lora_config(), 1)
    return tmp_path


@pytest.fixture
async def client(place: Path) -> AsyncIterator[httpx.AsyncClient]:
    base = load_base(str(place / "base"), "float32", place)
    backend = LocalBackend(
        base, max_context=200, max_batch=4, max_queue=8, prefill_chunk=16, cache_slots=4, pool_bytes=1 << 24
    )
    service = fake_service(place / "adapters", backend)
    app = FastAPI()
    install(app, service, MAX_UPLOAD)
    await service.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server/v1") as client:
        yield client
    await service.stop()


def body(model: str, prompt: list[Any]) -> dict[str, Any]:
    """What the harness sends for a log-likelihood: `prompt` is one of token ids, or a batch of such."""
    return {
        "model": model,
        "prompt": prompt,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }


def endings() -> tuple[list[list[int]], int]:
    """Prompts of question and ending, and how many tokens the question has."""
    tokenizer = tiny.tokenizer()
    prompts = [tokenizer(QUESTION + ending)["input_ids"] for ending in ENDINGS]
    return prompts, len(tokenizer(QUESTION)["input_ids"])


def expected(place: Path, model: str, prompt: list[int]) -> tuple[list[float], list[float], int]:
    """By the model itself: ln P of every token but the first, of the likeliest in its place, and the token after."""
    tuned = tiny.tuned_model(place / "base", None if model == "base" else place / "adapters" / model)
    with torch.no_grad():
        logprobs = torch.log_softmax(tuned(torch.tensor([prompt])).logits[0].float(), dim=-1)
    given = [float(logprobs[place, token]) for place, token in enumerate(prompt[1:])]
    return given, logprobs[:-1].max(dim=-1).values.tolist(), int(logprobs[-1].argmax())


async def scored(client: httpx.AsyncClient, model: str, prompt: list[Any]) -> list[dict[str, Any]]:
    """The choices in the harness's order."""
    answer = await client.post("/completions", json=body(model, prompt))
    assert answer.status_code == 200, answer.text
    return sorted(answer.json()["choices"], key=lambda choice: choice["index"])


@pytest.mark.parametrize("model", ["base", "lora"])
@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "a batch"])
async def test_log_likelihoods_are_the_models_own(place, client, model, batched):
    """All but the last entry are of the prompt: the one more is the token that max_tokens: 1 makes."""
    prompts, context = endings()
    choices = (
        await scored(client, model, prompts)
        if batched
        else [choice for prompt in prompts for choice in await scored(client, model, prompt)]
    )
    assert len(choices) == len(prompts)
    for choice, prompt in zip(choices, prompts, strict=True):
        found, (given, likeliest, _) = choice["logprobs"], expected(place, model, prompt)
        assert len({len(found[name]) for name in ("tokens", "token_logprobs", "top_logprobs")}) == 1
        assert len(found["tokens"]) == len(prompt) + 1
        assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
        assert found["token_logprobs"][1:-1] == pytest.approx(given, abs=1e-4)
        assert "".join(found["tokens"][context:-1]) == (QUESTION + ENDINGS[prompts.index(prompt)])[len(QUESTION) :]
        # As LocalCompletionsAPI.parse_logprobs reads them.
        ending, top = (found[name][context:-1] for name in ("token_logprobs", "top_logprobs"))
        assert sum(ending) == pytest.approx(sum(given[context - 1 :]), abs=1e-3)
        assert [max(each.values()) for each in top] == pytest.approx(likeliest[context - 1 :], abs=1e-4)
        greedy = [one == max(each.values()) for one, each in zip(ending, top, strict=True)]
        assert greedy == [abs(a - b) < 1e-6 for a, b in zip(given, likeliest, strict=True)][context - 1 :]


async def test_an_ending_that_the_model_would_write_itself_is_told_as_greedy(place, client):
    prompts, context = endings()
    prompt = prompts[0][:context]
    for _ in range(3):
        prompt = [*prompt, expected(place, "base", prompt)[2]]
    [choice] = await scored(client, "base", [prompt])
    ending, top = (choice["logprobs"][name][context:-1] for name in ("token_logprobs", "top_logprobs"))
    assert [one == max(each.values()) for one, each in zip(ending, top, strict=True)] == [True] * 3


async def test_chat_messages_may_say_that_they_are_text(client):
    messages = [{"role": "user", "content": "Hi", "type": "text"}]
    settings = {"model": "base", "max_tokens": 3, "temperature": 0, "stop": ["<|end|>"], "seed": 1234}
    answer = await client.post("/chat/completions", json={**settings, "messages": messages})
    assert answer.status_code == 200, answer.text
    del messages[0]["type"]
    plain = await client.post("/chat/completions", json={**settings, "messages": messages})
    assert answer.json()["choices"] == plain.json()["choices"]
