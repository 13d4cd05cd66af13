"""The real base with the shipped, trained adapters: every row of a mixed batch equals PEFT alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from assistant.base_model import Base, load_base, parameters_digest
from assistant.catalog import Adapter, Catalog
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.settings import load_settings
from tests.engine.harness import Bench

ROOT = Path(__file__).parents[2]
NEW_TOKENS = 24
QUESTIONS = (
    "A warm, funny film that never outstays its welcome.",
    "Context: The lighthouse was built in 1872 by two brothers from Bergen.\n\nQuestion: When was the lighthouse built?",
    "Name three things one can see at night.",
    "The plot makes no sense and the jokes fall flat, but the music saves some of it.",
)


@pytest.fixture(scope="module")
def base() -> Base:
    settings = load_settings(env_file="")
    return load_base(settings.base, "float32", ROOT / settings.data_dir)


@pytest.fixture(scope="module")
def adapters() -> list[Adapter]:
    shipped = [adapter for adapter in Catalog(ROOT / "adapters").adapters() if not adapter.is_reward]
    assert len(shipped) >= 3 and all(adapter.is_usable for adapter in shipped)
    assert {"LORA", "PROMPT_TUNING"} <= {adapter.type for adapter in shipped}
    return shipped


@pytest.fixture(scope="module")
def plan(base, adapters) -> list[tuple[Adapter | None, tuple[int, ...]]]:
    """Every adapter and the base, each with two prompts of unequal length, as they are served."""
    prompter = Prompter(base.tokenizer)
    rows = []
    for index, adapter in enumerate([None, *adapters]):
        for question in (QUESTIONS[index % 4], QUESTIONS[(index + 1) % 4]):
            template = adapter.card.template if adapter else None
            rows.append((adapter, tuple(prompter.render([Message(role="user", content=question)], template))))
    return rows


@pytest.fixture(scope="module")
def oracle(base, adapters, plan) -> list[list[int]]:
    """PEFT's own greedy answers, one adapter at a time; none of them ends early."""
    answers: list[list[int]] = [[] for _ in plan]
    for adapter in [None, *adapters]:
        model = load_base(base.name, "float32", ROOT / "data").model
        model.generation_config.eos_token_id = None
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter.folder)
        for index, (wanted, prompt) in enumerate(plan):
            if wanted == adapter:
                ids = torch.tensor([prompt])
                output = model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                )
                answers[index] = output[0, len(prompt) :].tolist()
    return answers


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")
def test_each_row_of_a_mixed_batch_on_the_real_base_equals_peft_alone(base, adapters, plan, oracle):
    # Two adapters may well answer alike, but a row of another adapter is noticed only where each has an answer of its own.
    said: dict[tuple[int, ...], set[str | None]] = {}
    for (adapter, _), expected in zip(plan, oracle, strict=True):
        said.setdefault(tuple(expected), set()).add(adapter.card.task if adapter else None)
    alone = {next(iter(tasks)) for tasks in said.values() if len(tasks) == 1}
    assert alone == {None, *(adapter.card.task for adapter in adapters)}, "the adapters differ"
    before = parameters_digest(base.model)
    # Nothing may end an answer early, here as in the oracle: all rows run their full length.
    bench = Bench(dataclasses.replace(base, stop_ids=frozenset()), max_batch=4, slots=6, prefill_chunk=48, length=1024)
    answers = []
    for adapter, prompt in plan:
        answers.append(bench.submit(list(prompt), adapter, NEW_TOKENS))
        bench.step(2)
    bench.run()
    for (adapter, _), answer, expected in zip(plan, answers, oracle, strict=True):
        assert answer.ids == expected, adapter.name if adapter else "base"
    for adapter in adapters:
        bench.pool.unload(adapter)
    bench.close()
    assert parameters_digest(base.model) == before, "the base is untouched"
