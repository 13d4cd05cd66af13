"""Every recipe: what it trains, what it publishes, and that this is served."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from assistant.adapter_pool.loader import Loader
from assistant.adapter_pool.weights import KEY_PREFIX
from assistant.base_model import load_base
from assistant.catalog import Catalog
from assistant.errors import SettingsError
from assistant.training import run
from assistant.training.methods import adapt, quantised
from assistant.training.recipes import RECIPES, chosen_size
from assistant.training.rows import Rows
from assistant.training.sft import train_phase
from assistant.training.tasks.registry import TASKS
from tests.engine.harness import Bench
from tests.training.harness import command, examples, settings, tiny_base

SENTIMENT = TASKS["sentiment"]
ADAPTERS = [name for name, recipe in RECIPES.items() if not recipe.changes_base]
TRAINED = {
    "full": ("",),
    "last-layers": ("model.layers.1.", "model.norm."),
    "lora": (".lora_A.", ".lora_B."),
    "rslora": (".lora_A.", ".lora_B."),
    "dora": (".lora_A.", ".lora_B.", ".lora_magnitude_vector."),
    "qlora": (".lora_A.", ".lora_B."),
    "adalora": (".lora_A.", ".lora_B.", ".lora_E."),
    "loha": (".hada_w",),
    "ia3": (".ia3_l.",),
    "prompt-tuning": ("prompt_encoder.",),
    "p-tuning": ("prompt_encoder.",),
    "prefix-tuning": ("prompt_encoder.",),
    "multitask-prompt-tuning": ("prompt_encoder.",),
    "bottleneck": (".bottleneck_down.", ".bottleneck_up."),
    "bitfit": (".bias_delta",),
}


@pytest.mark.parametrize("name", RECIPES)
def test_steps_change_exactly_the_weights_of_the_recipe(place: Path, name: str) -> None:
    recipe, base, chosen = RECIPES[name], tiny_base(place), settings(name)
    base = quantised(base) if name == "qlora" else base
    adapted = adapt(base, recipe, chosen.rank, SENTIMENT, ["", "other"], steps=4)
    before = {name: tensor.detach().cpu().clone() for name, tensor in adapted.model.named_parameters()}
    pad_id = 256 if recipe.is_soft_prompt else None
    kinds = ["", "other"] if name == "multitask-prompt-tuning" else []
    both = [*examples(20), *examples(20, "other")]
    rows = Rows(both, chosen.row_tokens, 0, pad_id, kinds=kinds)
    phase = train_phase(adapted, base.tokenizer, chosen, 4 / len(rows), rows, None, place / "run", save_steps=100)
    assert phase.steps == 4
    changed = {
        name
        for name, tensor in adapted.model.named_parameters()
        if not torch.equal(tensor.detach().cpu(), before[name])
    }
    expected = {name for name in before if any(part in name for part in TRAINED[recipe.name]) and "ranknum" not in name}
    # AdaLoRA begins with singular values of 0 and may put those of a whole layer back there.
    pruned = {name for name, tensor in adapted.model.named_parameters() if ".lora_E." in name and not tensor.any()}
    assert len(pruned) < 4 and changed == expected - pruned
    assert {name for name, tensor in adapted.model.named_parameters() if tensor.requires_grad} == expected
    trained, everything = adapted.counts
    assert 0 < trained <= everything
    assert (trained == everything) == (name == "full")


@pytest.mark.parametrize("recipe", ADAPTERS)
def test_every_recipe_leaves_an_adapter_that_is_served(place: Path, recipe: str) -> None:
    assert run.main(command(recipe, epochs=6, lr=0.5 if RECIPES[recipe].is_soft_prompt else 0.1)) == 0
    [adapter] = Catalog(place / "adapters").adapters()
    assert adapter.error is None
    assert (adapter.card.conversion is not None) == (recipe == "loha")
    base = load_base("base", "float32", place)
    assert adapter.card.base_digest == base.digest
    Loader(base).load(adapter)
    files = {path.name for path in adapter.folder.iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors", "card.json", "README.md"}
    assert str(place) not in (adapter.folder / "adapter_config.json").read_text()
    assert [path.name for path in (place / "adapters").iterdir()] == ["tiny"]
    weights = load_file(adapter.folder / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    readme = (adapter.folder / "README.md").read_text()
    assert "python -m assistant.training.run --recipe" in readme
    assert "| peak memory bytes |" in readme
    assert ("converted to LoRA" in readme) == (recipe == "loha")
    bench = Bench(base)
    plain, tuned = bench.submit("good film", max_tokens=6), bench.submit("good film", adapter, max_tokens=6)
    bench.run()
    assert plain.ids != tuned.ids
    bench.close()


@pytest.mark.parametrize("recipe", ["bitfit", "bottleneck"])
def test_our_own_formats_are_served_as_they_were_trained(place: Path, recipe: str) -> None:
    """Greedy answers of the trained model and of the engine that has read its files."""
    base, chosen = tiny_base(place), settings(recipe)
    adapted = adapt(base, RECIPES[recipe], chosen.rank, SENTIMENT)
    rows = Rows(examples(20), chosen.row_tokens, 0)
    train_phase(adapted, base.tokenizer, chosen, 1.0, rows, None, place / "run", save_steps=100)
    folder = place / "adapters" / "tiny"
    folder.mkdir(parents=True)
    adapted.writers()[""](folder)
    ids = torch.tensor([[1, 2, 3, 70, 71]])
    adapted.model.eval()
    expected = adapted.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    bench = Bench(tiny_base(place))
    answer = bench.submit(ids[0].tolist(), folder, max_tokens=8)
    bench.run()
    assert answer.ids == expected[0, 5:].tolist()
    bench.close()


def test_bias_and_bottleneck_files_hold_the_documented_tensors(place: Path) -> None:
    assert run.main(command("bitfit", out="adapters/biases")) == 0
    assert run.main(command("bottleneck", out="adapters/bottlenecks")) == 0
    layers = [f"{KEY_PREFIX}model.layers.{n}." for n in range(2)]
    linear = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
              "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]  # fmt: skip
    biases = load_file(place / "adapters" / "biases" / "adapter_model.safetensors")
    assert biases.keys() == {f"{layer}{name}.bias_delta" for layer in layers for name in linear}
    parts = load_file(place / "adapters" / "bottlenecks" / "adapter_model.safetensors")
    last = [f"{layer}{name}" for layer in layers for name in ("self_attn.o_proj", "mlp.down_proj")]
    shapes = {"down.weight": (2, 32), "down.bias": (2,), "up.weight": (32, 2), "up.bias": (32,)}
    assert {name: tuple(tensor.shape) for name, tensor in parts.items()} == {
        f"{name}.bottleneck_{part}": shape for name in last for part, shape in shapes.items()
    }


@pytest.mark.parametrize("recipe", ["bitfit", "bottleneck", "ia3"])
def test_untrained_ones_answer_as_the_base_does(place: Path, recipe: str) -> None:
    ids = torch.tensor([[1, 2, 3, 4]])
    base = tiny_base(place)
    with torch.no_grad():
        before = base.model(ids).logits
        after = adapt(base, RECIPES[recipe], 2, SENTIMENT).model(input_ids=ids).logits
    torch.testing.assert_close(after, before)


def test_qlora_trains_on_four_bits_and_saves_a_plain_lora(place: Path) -> None:
    base = quantised(tiny_base(place))
    adapted = adapt(base, RECIPES["qlora"], 2, SENTIMENT)
    layer = adapted.model.get_base_model().model.layers[0].mlp.down_proj
    assert layer.base_layer.weight.dtype == torch.uint8
    rows = Rows(examples(8), 60, 0)
    train_phase(adapted, base.tokenizer, settings("qlora"), 1.0, rows, None, place / "run", save_steps=100)
    assert layer.lora_A["default"].weight.dtype == torch.float32
    # Counted as if they lay singly, as many as in the plain base.
    plain = sum(parameter.numel() for parameter in tiny_base(place).model.parameters())
    trained, everything = adapted.counts
    assert everything - trained == plain


@pytest.mark.parametrize("recipe", ["full", "last-layers"])
def test_whole_models_are_written_to_be_served_as_a_base(place: Path, recipe: str) -> None:
    assert run.main(command(recipe, out="models/tuned", epochs=4)) == 0
    folder = place / "models" / "tuned"
    assert {"config.json", "model.safetensors", "tokenizer.json", "card.json", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert str(place) not in (folder / "config.json").read_text()
    assert "SWAPBOARD_BASE" in (folder / "README.md").read_text()
    tuned, base = load_base(str(folder), "float32", place), tiny_base(place)
    assert tuned.digest != base.digest
    assert AutoTokenizer.from_pretrained(folder).chat_template == base.tokenizer.chat_template
    own = dict(tuned.model.named_parameters())
    changed = {name for name, tensor in base.model.named_parameters() if not torch.equal(tensor, own[name])}
    assert changed == {name for name in own if any(part in name for part in TRAINED[recipe])}
    assert not (place / "adapters").exists()


@pytest.mark.parametrize("recipe", ["full", "last-layers"])
def test_whole_models_are_kept_out_of_the_adapters_folder(
    place: Path, capsys: pytest.CaptureFixture[str], recipe: str
) -> None:
    assert run.main(command(recipe, out="adapters/tuned")) == 1
    assert "cannot lie in the adapters folder" in capsys.readouterr().err
    assert not (place / "runs").exists()


def test_trained_in_bfloat16_a_whole_model_is_stored_in_it(place: Path) -> None:
    assert run.main(command("full", out="models/tuned", dtype="bfloat16")) == 0
    assert AutoModelForCausalLM.from_pretrained(place / "models" / "tuned").dtype == torch.bfloat16


def test_prompts_of_several_kinds_become_adapters_of_their_own(place: Path) -> None:
    (place / "translate.jsonl").write_text('{"text": "good", "translation": "bueno", "to": "Spanish"}\n' * 4)
    data = ["sentiment=reviews.jsonl", "translation=translate.jsonl"]
    arguments = command("multitask-prompt-tuning", task="instruct", data=data, epochs=4, lr=0.5)
    assert run.main(arguments) == 0
    one, other = Catalog(place / "adapters").adapters()
    assert (one.name, other.name) == ("tiny-sentiment", "tiny-translation")
    assert {one.type, other.type} == {"MULTITASK_PROMPT_TUNING"}
    first, second = (load_file(adapter.folder / "adapter_model.safetensors") for adapter in (one, other))
    assert torch.equal(first["prompt_embeddings"], second["prompt_embeddings"])
    assert not torch.equal(first["prefix_task_cols"], second["prefix_task_cols"])
    prompts = [Loader(load_base("base", "float32", place)).load(adapter).embeddings for adapter in (one, other)]
    assert all(prompt.shape == (2, 32) for prompt in prompts)
    assert not torch.equal(*prompts)


def test_sizes_that_a_recipe_has_not_are_refused() -> None:
    with pytest.raises(SettingsError, match="'bitfit' has no --rank"):
        chosen_size(RECIPES["bitfit"], 4, None)
    with pytest.raises(SettingsError, match="give --layers"):
        chosen_size(RECIPES["last-layers"], 4, None)
    with pytest.raises(SettingsError, match="'lora' has no --layers"):
        chosen_size(RECIPES["lora"], None, 2)
    assert chosen_size(RECIPES["last-layers"], None, 2) == 2
    assert chosen_size(RECIPES["lora"], None, None) == 16


def test_more_layers_than_the_base_has_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command("last-layers", out="models/tuned", layers=3)) == 1
    assert "--layers 3; the base has 2" in capsys.readouterr().err


def test_a_fresh_prefix_is_what_the_base_makes_of_the_words(place: Path) -> None:
    base = tiny_base(place)
    words = base.tokenizer("Sort it: good or bad.", add_special_tokens=False)["input_ids"]
    text = base.tokenizer("A fine tale", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        wanted = base.model(torch.tensor([words + text])).logits[:, len(words) :]
    task = dataclasses.replace(TASKS["sentiment"], soft_prompt_text="Sort it: good or bad.")
    adapted = adapt(base, RECIPES["prefix-tuning"], len(words), task)
    with torch.inference_mode():
        found = adapted.model(input_ids=torch.tensor([text]), attention_mask=torch.ones(1, len(text))).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
