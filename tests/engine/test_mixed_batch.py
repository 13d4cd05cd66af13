"""Each row of a mixed batch equals PEFT's own output for that adapter alone, token for token."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from peft import PeftConfig

from assistant.base_model import load_base, parameters_digest
from tests import tiny
from tests.engine.harness import Bench

NEW_TOKENS = 12
ARCHITECTURES = ["llama", "qwen2", "mistral", "gemma2", "gpt2", *tiny.EXPERTS]

ADAPTERS = {
    "plain": lambda: tiny.lora_config(),
    "attention-only": lambda: tiny.lora_config(r=2, target_modules=["q_proj", "v_proj"]),
    "one-layer": lambda: tiny.lora_config(r=8, target_modules=["gate_proj", "o_proj"], layers_to_transform=[1]),
    "patterns": lambda: tiny.lora_config(
        r=3, rank_pattern={"k_proj": 7, "layers.0.mlp.up_proj": 1}, alpha_pattern={"q_proj": 32, "k_proj": 1}
    ),
    "rslora": lambda: tiny.lora_config(r=5, lora_alpha=3, use_rslora=True),
    "head": lambda: tiny.lora_config(r=2, target_modules=["q_proj", "lm_head"]),
    "dora": lambda: tiny.lora_config(r=3, use_dora=True, use_rslora=True),
    "dora-one-layer": lambda: tiny.lora_config(r=2, use_dora=True, target_modules=["v_proj"]),
    "adalora": tiny.adalora_config,
    "ia3": tiny.ia3_config,
    "beft": tiny.beft_config,
    "bitfit": tiny.bitfit_config,
    "bottleneck-relu": lambda: tiny.bottleneck_config("relu"),
    "bottleneck-gelu": lambda: tiny.bottleneck_config("gelu", r=5),
    "bottleneck-silu": lambda: tiny.bottleneck_config("silu"),
    "prompt": lambda: tiny.soft_config("prompt", 5),
    "ptuning": lambda: tiny.soft_config("ptuning", 3),
    "prefix": lambda: tiny.soft_config("prefix", 4),
}
PROMPTS = ["Hi", "What is the colour of the sky over the sea at noon?", "abc", "A longer prompt, " * 6]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def zoo(request, tmp_path_factory) -> tuple[Path, dict[str, Path]]:
    """A base and one adapter of every kind it can carry."""
    root = tmp_path_factory.mktemp(request.param)
    base = tiny.write_base(root / "base", request.param)
    # PEFT itself warns about a LoRA on tied output embeddings, and rightly: that one goes with the untied base.
    names = [name for name in ADAPTERS if not (name == "head" and request.param == "qwen2")]
    configs = {name: ADAPTERS[name]() for name in names}
    return base, {name: write(root / name, base, config, seed) for seed, (name, config) in enumerate(configs.items())}


def write(folder: Path, base: Path, config: PeftConfig | dict, seed: int) -> Path:
    if isinstance(config, dict):
        return tiny.write_own_adapter(folder, base, config, seed)
    return tiny.write_adapter(folder, base, config, seed, size=2.0 if config.is_prompt_learning else 0.3)


@functools.cache
def expected(base: Path, adapter: Path | None, prompt: str) -> list[int]:
    return tiny.peft_answer(base, adapter, tiny.tokenizer()(prompt)["input_ids"], NEW_TOKENS)


def test_adapters_differ_from_the_base_and_from_each_other(zoo):
    base, adapters = zoo
    answers = {name: tuple(expected(base, folder, PROMPTS[1])) for name, folder in adapters.items()}
    answers["base"] = tuple(expected(base, None, PROMPTS[1]))
    assert len(set(answers.values())) == len(answers), answers


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_every_row_of_a_mixed_batch_equals_peft_alone(zoo, device):
    base, adapters = zoo
    bench = Bench(base, max_batch=24, slots=24, device=device)
    assert bench.base.model.device.type == device
    names = [None, *adapters]
    answers = [
        (name, prompt, bench.submit(prompt, adapters.get(name), NEW_TOKENS))
        for name, prompt in zip(names, [PROMPTS[i % len(PROMPTS)] for i in range(len(names))], strict=True)
    ]
    bench.run()
    for name, prompt, answer in answers:
        assert answer.ids == expected(base, adapters.get(name), prompt), name
    bench.close()


def test_rows_that_join_and_leave_midway_change_nothing_for_the_others(zoo):
    base, adapters = zoo
    bench = Bench(base, max_batch=8, slots=9, prefill_chunk=7)
    plan = [(name, PROMPTS[(i + j) % 4]) for j in range(2) for i, name in enumerate([None, *adapters])]
    answers = []
    for index, (name, prompt) in enumerate(plan):
        new_tokens = NEW_TOKENS if index % 3 else 3
        answers.append((name, prompt, new_tokens, bench.submit(prompt, adapters.get(name), new_tokens)))
        bench.step(1 + index % 3)
        bench.engine.check_integrity()
    bench.run()
    for name, prompt, new_tokens, answer in answers:
        assert answer.ids == expected(base, adapters.get(name), prompt)[:new_tokens], (name, prompt)
    bench.close()


def test_the_base_is_untouched_by_loading_serving_and_unloading_every_kind(zoo):
    base_folder, adapters = zoo
    base = load_base(str(base_folder), "float32", Path("unused"))
    before = parameters_digest(base.model)
    bench = Bench(base, max_batch=24, slots=24)
    answers = [bench.submit(PROMPTS[0], folder) for folder in adapters.values()]
    bench.run()
    assert all(answer.finished for answer in answers)
    for answer in answers:
        bench.pool.unload(answer.sequence.adapter)
    bench.close()
    assert parameters_digest(base.model) == before
    assert bench.pool.entries() == []


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_any_decoder_only_architecture_is_served(kind, tmp_path):
    """Sliding windows (mistral, gemma2), capped scores (gemma2), Conv1D layers (gpt2), experts and sinks (gpt_oss)
    included."""
    base = tiny.write_base(tmp_path / "base", kind)
    targets = ["q_proj", "o_proj"] if kind in tiny.EXPERTS else "all-linear"
    if kind == "gpt2":
        targets = ["c_attn", "c_fc"]
    adapter = tiny.write_adapter(
        tmp_path / "a", base, tiny.lora_config(target_modules=targets, fan_in_fan_out=kind == "gpt2"), 1
    )
    bench = Bench(base, prefill_chunk=9)
    prompt = PROMPTS[1]
    plain, tuned = bench.submit(prompt, None, NEW_TOKENS), bench.submit(prompt, adapter, NEW_TOKENS)
    bench.run()
    assert plain.ids == expected(base, None, prompt)
    assert tuned.ids == expected(base, adapter, prompt)
    assert plain.ids != tuned.ids
    bench.close()
