"""Reward models: what is learnt, what is left, and that the server scores with it as it was trained."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from assistant.backends.local import LocalBackend
from assistant.base_model import load_base
from assistant.catalog import Catalog
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.training import run
from tests.training.preference.harness import command, curve, report

UNSEEN = [("question 99", "aaaa", "AAAA"), ("question 31", "bbbb", "BBBB"), ("question 77", "eeee", "EEEE")]


def conversations(place: Path) -> list[tuple[int, ...]]:
    prompter = Prompter(AutoTokenizer.from_pretrained(place / "base"))
    texts = []
    for prompt, *answers in UNSEEN:
        for answer in answers:
            turns = [Message(role="user", content=prompt), Message(role="assistant", content=answer)]
            texts.append(tuple(itertools.chain(*prompter.render_example(turns))))
    return texts


def test_the_reward_model_ranks_pairs_it_has_not_seen(place: Path) -> None:
    assert run.main(command("reward")) == 0
    told = report(place, "reward")
    assert told["validation_accuracy"] == 1.0 and told["validation_margin"] > 0.5
    losses = curve(place, "reward", "loss")
    assert losses[-1] < losses[0]
    adapter = Catalog(place / "adapters").get("reward")
    assert adapter.is_reward and adapter.card.task == "reward"
    assert "/v1/score" in (place / "adapters/reward/README.md").read_text(encoding="utf-8")


async def test_the_server_scores_as_transformers_does_and_in_the_learnt_order(place: Path) -> None:
    assert run.main(command("reward")) == 0
    texts = conversations(place)
    base = load_base("base", "float32", place)
    backend = LocalBackend(base, 200, max_batch=4, max_queue=8, prefill_chunk=64, cache_slots=4, pool_bytes=1 << 20)
    await backend.start()
    try:
        scores = await backend.score(Catalog(place / "adapters").get("reward"), texts)
    finally:
        await backend.stop()
    # No padding token: the head then reads the last token there is.
    plain = AutoModelForSequenceClassification.from_pretrained("base", num_labels=1, pad_token_id=None)
    tuned = PeftModel.from_pretrained(plain, "adapters/reward")
    with torch.no_grad():
        wanted = [float(tuned(input_ids=torch.tensor([ids])).logits[0, 0]) for ids in texts]
    assert scores == pytest.approx(wanted, abs=2e-3, rel=1e-3)
    assert all(better > worse for better, worse in zip(scores[::2], scores[1::2], strict=True))
