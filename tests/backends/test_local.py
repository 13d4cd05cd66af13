"""The embedded engine behind the backend's interface, on a tiny base."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from assistant.backends.base import Generation
from assistant.backends.local import LocalBackend
from assistant.base_model import load_base
from assistant.catalog import read_adapter
from assistant.engine.spans import word_edges
from assistant.errors import InvalidRequest
from assistant.messages import Decoding, Finished, Scored
from tests import tiny

TEXT = "Ida Holm baked bread in Lund."


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    base = load_base(str(tiny.write_base(tmp_path / "base")), "float32", tmp_path)
    backend = LocalBackend(
        base, max_context=200, max_batch=4, max_queue=8, prefill_chunk=16, cache_slots=4, pool_bytes=1 << 20
    )
    await backend.start()
    yield backend
    await backend.stop()


async def collect(backend: LocalBackend, prompt: list[int], **options: object) -> list:
    decoding = Decoding(**{"temperature": 0, "max_tokens": 20, **options.pop("decoding", {})})
    return [item async for item in backend.generate(Generation(tuple(prompt), None, decoding, **options))]


async def test_it_is_alive_while_its_engine_computes(backend):
    assert backend.is_alive
    backend.engine.stop()
    assert not backend.is_alive


async def test_an_echo_brings_the_prompts_text_and_its_scores_first(backend):
    prompt = backend.base.tokenizer(TEXT)["input_ids"]
    first, *rest, finished = await collect(backend, prompt, echo=True, decoding={"logprobs": 2})
    assert isinstance(first, Scored) and first.text == TEXT and first.scores == finished.prompt_scores
    assert all(isinstance(item, Scored) for item in rest)
    assert len(finished.scores) == finished.usage.completion_tokens
    assert {len(score.top) for score in (*finished.prompt_scores[1:], *finished.scores)} == {2}


async def test_whoever_asks_for_no_scores_is_sent_plain_text(backend):
    *pieces, finished = await collect(backend, [72, 73])
    assert all(isinstance(piece, str) for piece in pieces) and isinstance(finished, Finished)
    assert finished.scores == finished.prompt_scores == ()


async def test_a_load_whose_asker_leaves_goes_on_for_the_others(backend, tmp_path, monkeypatch):
    adapter = read_adapter(tiny.write_adapter(tmp_path / "a", tmp_path / "base", tiny.lora_config(), 1))
    load, gate = backend.pool._load, threading.Event()
    monkeypatch.setattr(backend.pool, "_load", lambda wanted: gate.wait(10) and load(wanted))
    leaving = asyncio.create_task(backend.load(adapter))
    await asyncio.sleep(0.05)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.set()
    async with asyncio.timeout(20):
        await backend.load(adapter)
        answers = [item async for item in backend.generate(Generation((72, 73), adapter, Decoding(max_tokens=1)))]
    assert isinstance(answers[-1], Finished)


async def test_a_token_id_beyond_the_vocabulary_is_refused(backend):
    with pytest.raises(InvalidRequest, match="token id 257; allowed: 0 to 256"):
        await collect(backend, [1, 257, 3])


async def test_a_constrained_answer_is_a_span_of_its_source(backend):
    held = {"constraint": "span", "temperature": 1.0}
    answers = []
    for seed in range(8):
        *pieces, _ = await collect(backend, [72], span_sources=(TEXT,), decoding={**held, "seed": seed})
        answers.append("".join(pieces))
    starts, ends = word_edges(TEXT)
    assert len(set(answers)) > 1 and set(answers) <= {TEXT[start:end] for start in starts for end in ends}


async def test_a_limit_in_which_no_word_fits_and_a_missing_source_are_refused(backend):
    with pytest.raises(InvalidRequest, match="max_tokens 1; allowed: more"):
        await collect(backend, [72], span_sources=("bread",), decoding={"constraint": "span", "max_tokens": 1})
    with pytest.raises(InvalidRequest, match="needs the text"):
        await collect(backend, [72], decoding={"constraint": "span"})
