"""DPO: the margin rises, only the adapter is trained, and the reference is what the training started from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from assistant.adapter_pool.loader import Loader
from assistant.base_model import load_base, parameters_digest
from assistant.catalog import Catalog
from assistant.training import run
from assistant.training.methods import adapt
from assistant.training.preference import pairwise
from assistant.training.preference.answers import score_answers_only
from assistant.training.preference.rendering import PairIds
from assistant.training.preference.settings import PreferenceSettings
from assistant.training.recipes import RECIPES
from assistant.training.start import start_from
from assistant.training.tasks.sentiment import SENTIMENT
from tests.training.preference.harness import command, curve, report

PAIRS = [PairIds([1, 2, 3 + n], [40 + n, 41, 256], [60, 61 + n, 62, 256]) for n in range(4)]


def settings(**changes: object) -> PreferenceSettings:
    return PreferenceSettings(
        **{"recipe": "dpo", "rank": 2, "epochs": 1.0, "learning_rate": 0.01, "batch": 2, "warmup": 0.0, "seed": 0,
           "scheduler": "constant", "dtype": "float32", "beta": 0.1, **changes}
    )  # fmt: skip


def test_the_margin_rises_on_pairs_it_has_not_seen(place: Path) -> None:
    assert run.main(command("dpo")) == 0
    margins = curve(place, "dpo", "validation_margin")
    assert margins[-1] > margins[0] and margins[-1] > 0.2
    assert report(place, "dpo")["validation_accuracy"] == 1.0
    [folder] = place.glob("runs/dpo-*")
    assert (folder / "curves.png").stat().st_size > 1000
    adapter = Catalog(place / "adapters").get("dpo")
    weights = Loader(load_base("base", "float32", place)).load(adapter)
    assert weights.layers and weights.head is None and not adapter.is_reward
    # Nothing of the reference is left beside it.
    assert sorted(path.name for path in adapter.folder.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "card.json"
    ]  # fmt: skip


def test_nothing_but_the_adapter_is_trained(place: Path) -> None:
    base = load_base("base", "float32", place)
    before = parameters_digest(base.model)
    adapted = adapt(base, RECIPES["lora"], 2, SENTIMENT)
    (place / "one").mkdir()
    phase = pairwise.train_dpo(adapted, base.tokenizer, settings(), PAIRS, PAIRS, place / "one", save_steps=100)
    assert phase.measured["validation_margin"] > 0
    assert parameters_digest(adapted.model.unload()) == before


def test_a_pair_counts_for_its_weight(place: Path) -> None:
    """The same two answers in both orders: the heavier order wins, whatever the unit of weights."""
    margins = []
    for name, weights in (("first", (3.0, 1.0)), ("second", (1.0, 3.0)), ("third", (30.0, 10.0))):
        both = [
            PairIds([1, 2, 3], [40, 256], [60, 256], weights[0]),
            PairIds([1, 2, 3], [60, 256], [40, 256], weights[1]),
        ]
        base = load_base("base", "float32", place)
        torch.manual_seed(0)
        adapted = adapt(base, RECIPES["lora"], 2, SENTIMENT)
        (place / name).mkdir()
        chosen = settings(epochs=10.0)
        phase = pairwise.train_dpo(adapted, base.tokenizer, chosen, both, both[:1], place / name, save_steps=100)
        margins.append(phase.measured["validation_margin"])
    assert margins[0] > 0 > margins[1]
    assert margins[2] == pytest.approx(margins[0], abs=1e-3)


@pytest.mark.parametrize("is_fresh", [True, False])
def test_the_margin_is_counted_from_where_the_training_started(place: Path, is_fresh: bool) -> None:
    """With weights that are not moved, policy and reference are the same, whatever the start."""
    assert run.main(command("dpo", out="adapters/first")) == 0
    base = load_base("base", "float32", place)
    adapted = adapt(base, RECIPES["lora"], 2, SENTIMENT)
    if not is_fresh:
        start_from(adapted, place / "adapters/first")
    chosen = settings(learning_rate=1e-12, started_from=None if is_fresh else "a digest")
    (place / "still").mkdir()
    phase = pairwise.train_dpo(adapted, base.tokenizer, chosen, PAIRS, PAIRS, place / "still", save_steps=100)
    assert phase.measured["validation_margin"] == pytest.approx(0, abs=1e-4)
    assert phase.train_loss == pytest.approx(0.6931, abs=1e-3)


def test_going_on_from_an_adapter_keeps_its_card_and_its_rank(place: Path) -> None:
    assert run.main(command("dpo", out="adapters/first", rank=3)) == 0
    assert run.main(command("dpo", out="adapters/second", rank=None, start_from="adapters/first", epochs=1)) == 0
    second = Catalog(place / "adapters").get("second")
    assert second.rank == 3
    first, after = (load_file(place / "adapters" / n / "adapter_model.safetensors") for n in ("first", "second"))
    assert first.keys() == after.keys() and any(not torch.equal(first[name], after[name]) for name in first)


def test_answers_are_scored_as_the_model_itself_does(place: Path) -> None:
    """The log-probabilities of the short way are those of all logits, prompt and padding left out."""
    model = AutoModelForCausalLM.from_pretrained("base")
    ids = torch.tensor([[1, 2, 3, 40, 41, 256], [1, 2, 50, 256, 256, 256]])
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    labels = torch.tensor([[-100] * 3 + [40, 41, 256], [-100] * 2 + [50, 256] + [-100] * 2])
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1] / 2.0
    logprobs = logits.log_softmax(-1)
    wanted = logprobs.gather(-1, ids[:, 1:, None])[..., 0].masked_fill(labels[:, 1:] == -100, 0)
    entropy = -(logprobs.exp() * logprobs).sum(-1).masked_fill(labels[:, 1:] == -100, 0)
    score_answers_only(model, temperature=2.0)
    found = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    torch.testing.assert_close(found.log_probs, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.entropy, entropy, atol=1e-4, rtol=1e-4)
    assert found.label_mask.tolist() == (labels[:, 1:] != -100).tolist()
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits[:, :-1] / 2.0, logits)


def test_peft_reads_what_was_published(place: Path) -> None:
    assert run.main(command("dpo")) == 0
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("base"), "adapters/dpo")
