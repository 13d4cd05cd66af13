"""A reward adapter's score from a mixed batch is what transformers' own classifier computes for the text alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from assistant.adapter_pool.loader import Loader
from assistant.adapter_pool.reward_head import HEAD
from assistant.backends.local import LocalBackend
from assistant.base_model import load_base
from assistant.catalog import read_adapter
from assistant.errors import AdapterBroken, InvalidRequest, PromptTooLong
from tests import tiny
from tests.engine.harness import Bench

TEXTS = ["Hi", "What is the colour of the sky over the sea at noon?", "abc", "A longer text, " * 6]


def classifier(base: Path) -> torch.nn.Module:
    # No padding token: the head then reads the last token there is.
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, pad_token_id=None)


def write_reward(folder: Path, base: Path, seed: int) -> Path:
    """A reward adapter as TRL leaves it, all weights random."""
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"])
    tuned = get_peft_model(classifier(base), config)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    tuned.save_pretrained(folder)
    return folder


def expected(base: Path, adapter: Path, ids: list[int]) -> float:
    tuned = PeftModel.from_pretrained(classifier(base), adapter)
    with torch.no_grad():
        return float(tuned(input_ids=torch.tensor([ids])).logits[0, 0])


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def zoo(request, tmp_path_factory) -> tuple[Path, dict[str, Path]]:
    root = tmp_path_factory.mktemp(request.param)
    base = tiny.write_base(root / "base", request.param)
    rewards = {name: write_reward(root / name, base, seed) for seed, name in enumerate(("one", "two"))}
    return base, {**rewards, "writer": tiny.write_adapter(root / "writer", base, tiny.lora_config(), 7)}


@pytest.mark.parametrize("chunk", [5, 500])
def test_scores_of_a_mixed_batch_are_those_of_the_classifier(zoo, chunk):
    base, adapters = zoo
    bench = Bench(base, max_batch=16, slots=16, prefill_chunk=chunk)
    scored = [(name, bench.submit(text, adapters[name], 0)) for text in TEXTS for name in ("one", "two")]
    answers = [bench.submit(TEXTS[1], adapters["writer"], 6), bench.submit(TEXTS[0], None, 6)]
    bench.run()
    found = [answer.sequence.reward for _, answer in scored]
    wanted = [expected(base, adapters[name], list(answer.sequence.prompt)) for name, answer in scored]
    assert found == pytest.approx(wanted, abs=2e-4, rel=1e-4)
    assert len({round(score, 3) for score in wanted}) == len(wanted)
    for answer, name in zip(answers, ("writer", None), strict=True):
        folder = adapters[name] if name else None
        assert answer.ids == tiny.peft_answer(base, folder, list(answer.sequence.prompt), 6)
        assert answer.sequence.reward is None
    bench.close()


def test_a_text_scored_again_reads_its_last_token_again(zoo):
    base, adapters = zoo
    bench = Bench(base)
    first = bench.submit(TEXTS[3], adapters["one"], 0)
    bench.run()
    again = bench.submit(TEXTS[3], adapters["one"], 0)
    bench.run()
    assert again.finished.usage.cached_tokens > 0
    assert again.sequence.reward == pytest.approx(first.sequence.reward, abs=1e-4)
    bench.close()


@pytest.fixture
async def backend(zoo) -> AsyncIterator[LocalBackend]:
    base = load_base(str(zoo[0]), "float32", zoo[0])
    backend = LocalBackend(base, 200, max_batch=2, max_queue=0, prefill_chunk=16, cache_slots=4, pool_bytes=1 << 20)
    await backend.start()
    yield backend
    await backend.stop()


async def test_more_texts_than_the_queue_holds_are_scored_in_their_order(zoo, backend):
    base, adapters = zoo
    prompts = [tuple(backend.base.tokenizer(text)["input_ids"]) for text in TEXTS * 2]
    found = await backend.score(read_adapter(adapters["one"]), prompts)
    assert found == pytest.approx([expected(base, adapters["one"], list(p)) for p in prompts], abs=2e-4, rel=1e-4)


async def test_what_cannot_be_scored_is_refused(zoo, backend):
    with pytest.raises(InvalidRequest, match="'writer' writes answers and scores none"):
        await backend.score(read_adapter(zoo[1]["writer"]), [(1, 2)])
    with pytest.raises(PromptTooLong, match="has 300 tokens"):
        await backend.score(read_adapter(zoo[1]["one"]), [(1,), (1,) * 300])
    with pytest.raises(InvalidRequest, match="empty"):
        await backend.score(read_adapter(zoo[1]["one"]), [()])


@pytest.mark.parametrize(
    ("head", "message"),
    [(None, "found: none"), (torch.zeros(2, 32), r"found: \(2, 32\)"), (torch.zeros(1, 8), r"found: \(1, 8\)")],
)
def test_a_head_that_gives_no_one_score_is_refused(zoo, tmp_path, head, message):
    base, adapters = zoo
    tensors = load_file(adapters["one"] / "adapter_model.safetensors")
    del tensors[HEAD]
    save_file(tensors if head is None else {**tensors, HEAD: head}, tmp_path / "adapter_model.safetensors")
    config = json.loads((adapters["one"] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    loader = Loader(load_base(str(base), "float32", tmp_path))
    with pytest.raises(AdapterBroken, match=message):
        loader.load(read_adapter(tmp_path))
