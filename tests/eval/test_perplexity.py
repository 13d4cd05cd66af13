"""Perplexity of texts: what is asked of the service, and what is counted."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.errors import DataError, EvaluationError
from assistant.messages import ChatRequest, CompletionRequest, Done, StreamEvent, TokenScore
from assistant.settings import load_settings
from eval.session import measured_service
from eval.tasks.perplexity import read_texts, run
from tests import tiny
from tests.eval.answers import part
from tests.eval.speaker import Speaker
from tests.fakes import write_adapter


class Halver:
    """Holds every character but the first, each a token, to have a chance of one half."""

    def __init__(self) -> None:
        self.seen: list[CompletionRequest] = []

    def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        raise AssertionError("raw texts are no chats")

    async def complete(self, request: CompletionRequest) -> AsyncIterator[StreamEvent]:
        self.seen.append(request)
        scores = tuple(
            TokenScore(token=c, token_id=0, logprob=math.log(0.5) if n else None) for n, c in enumerate(request.text)
        )
        yield Done(turn_id="t", parts=(part(request.text).model_copy(update={"prompt_scores": scores}),))


async def test_perplexity_of_coin_flips_is_two_and_a_bit_each() -> None:
    """Characters of one byte: a bit per byte. The first is neither scored nor weighed."""
    service = Halver()
    outcome = await run(service, read_texts(None)[:3], "base", 2)
    assert outcome.metrics["perplexity"].value == pytest.approx(2)
    assert outcome.metrics["bits_per_byte"].value == pytest.approx(1)
    text = read_texts(None)[0].record["text"]
    assert outcome.examples[0]["scored_tokens"] == outcome.examples[0]["bytes"] == len(text) - 1
    assert all(request.echo and request.decoding.max_tokens == 0 for request in service.seen)


async def test_text_of_one_token_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("fine\n\na\n")
    with pytest.raises(EvaluationError, match=r"t\.txt:3 has 1 tokens"):
        await run(Halver(), read_texts(str(path)), "base", 1)


async def test_another_revision_of_the_adapter_may_not_answer(tmp_path: Path) -> None:
    write_adapter(tmp_path / "mood")
    speaker = Speaker(tmp_path)
    texts = read_texts(None)[:2]
    await run(speaker, texts, "mood", 1, {"mood": speaker.catalog.get("mood").digest})
    with pytest.raises(EvaluationError, match="adapter 'mood' was replaced"):
        await run(speaker, texts, "mood", 1, {"mood": "f" * 64})


def test_lines_of_a_text_file_and_fields_of_json_lines_are_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n two \n")
    (tmp_path / "a.jsonl").write_text('{"text": "three"}\n')
    assert [item.record["text"] for item in read_texts(str(tmp_path / "a.txt"))] == ["one", "two"]
    assert [item.record["text"] for item in read_texts(str(tmp_path / "a.jsonl"))] == ["three"]


def test_own_set_is_large_enough_and_of_many_kinds() -> None:
    texts = [item.record["text"] for item in read_texts(None)]
    assert len(set(texts)) == len(texts) >= 40
    assert any("def " in text for text in texts)
    assert any("<li>" in text for text in texts)


@pytest.mark.parametrize(("name", "content"), [("a.txt", " \n"), ("a.jsonl", '{"words": "x"}\n'), ("b.txt", None)])
def test_wrong_files_are_named(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=name):
        read_texts(str(tmp_path / name))


async def test_perplexity_is_that_of_the_model_itself(tmp_path: Path) -> None:
    base = tiny.write_base(tmp_path / "base")
    settings = load_settings().model_copy(
        update={
            "base": str(base),
            "dtype": "float32",
            "data_dir": tmp_path / "data",
            "adapters_dir": tmp_path / "adapters",
        }
    )
    items = read_texts(None)[:2]
    async with measured_service(settings) as service:
        outcome = await run(service, items, "base", 2)
    model = AutoModelForCausalLM.from_pretrained(base)
    losses, counts = [], []
    for item in items:
        ids = torch.tensor([tiny.tokenizer()(item.record["text"])["input_ids"]])
        with torch.no_grad():
            losses.append(float(model(ids, labels=ids).loss) * (ids.shape[1] - 1))
        counts.append(ids.shape[1] - 1)
    assert [example["scored_tokens"] for example in outcome.examples] == counts
    assert outcome.metrics["perplexity"].value == pytest.approx(math.exp(sum(losses) / sum(counts)), rel=1e-4)
