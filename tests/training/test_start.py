"""Going on from an adapter there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assistant.errors import SettingsError
from assistant.training import run
from assistant.training.methods import adapt
from assistant.training.recipes import RECIPES
from assistant.training.start import start_from
from assistant.training.tasks.registry import TASKS
from tests.tiny import write_base
from tests.training.harness import command, tiny_base


def test_first_weights_are_those_of_the_adapter(place: Path) -> None:
    assert run.main(command("lora", out="adapters/first")) == 0
    folder = place / "adapters" / "first"
    adapted = adapt(tiny_base(place), RECIPES["lora"], 2, TASKS["sentiment"])
    start_from(adapted, folder)
    kept = load_file(folder / "adapter_model.safetensors")
    for name, tensor in adapted.state().items():
        torch.testing.assert_close(tensor, kept[name.replace(".default", "")].float(), rtol=0, atol=0)
    assert run.main(command("lora", **{"out": "adapters/second", "start-from": folder})) == 0
    assert "started from" in (place / "adapters" / "second" / "README.md").read_text()


def test_another_alpha_is_made_up_for(place: Path) -> None:
    assert run.main(command("lora", out="adapters/first")) == 0
    folder = place / "adapters" / "first"
    config = json.loads((folder / "adapter_config.json").read_text())
    adapted = adapt(tiny_base(place), RECIPES["lora"], 2, TASKS["sentiment"])
    layer = adapted.model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    start_from(adapted, folder)
    change = layer.get_delta_weight("default").detach()
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 3 * config["lora_alpha"]}))
    start_from(adapted, folder)
    torch.testing.assert_close(layer.get_delta_weight("default").detach(), 3 * change)


def test_an_adapter_that_does_not_fit_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command("lora", out="adapters/first")) == 0
    folder = place / "adapters" / "first"
    base = tiny_base(place)
    with pytest.raises(SettingsError, match=r"lora_A\.weight is \(2, \d+\) there and \(4, \d+\) in this recipe"):
        start_from(adapt(base, RECIPES["lora"], 4, TASKS["sentiment"]), folder)
    with pytest.raises(SettingsError, match="its type is LORA; the recipe trains IA3"):
        start_from(adapt(tiny_base(place), RECIPES["ia3"], 1, TASKS["sentiment"]), folder)
    with pytest.raises(SettingsError, match="weights of another kind"):
        start_from(adapt(tiny_base(place), RECIPES["bitfit"], 1, TASKS["sentiment"]), folder)
    assert run.main(command("lora", **{"out": "adapters/second", "start-from": place / "nowhere"})) == 1
    assert "no adapter can be read there" in capsys.readouterr().err
    assert not (place / "adapters" / "second").exists()


def test_virtual_tokens_of_p_tuning_are_no_start(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network that made them is not in the file: it would begin from random numbers."""
    assert run.main(command("p-tuning", out="adapters/first")) == 0
    assert run.main(command("p-tuning", **{"out": "adapters/second", "start-from": "adapters/first"})) == 1
    assert "not the network that made them" in capsys.readouterr().err
    assert not (place / "adapters" / "second").exists()


@pytest.mark.parametrize("recipe", ["prompt-tuning", "prefix-tuning", "multitask-prompt-tuning", "ia3", "dora"])
def test_others_begin_where_the_adapter_ended(place: Path, recipe: str) -> None:
    assert run.main(command(recipe, out="adapters/first")) == 0
    adapted = adapt(tiny_base(place), RECIPES[recipe], 2, TASKS["sentiment"], ["sentiment"])
    start_from(adapted, place / "adapters" / "first")
    (place / "again").mkdir()
    adapted.writers()[""](place / "again")
    kept = load_file(place / "adapters" / "first" / "adapter_model.safetensors")
    for name, tensor in load_file(place / "again" / "adapter_model.safetensors").items():
        torch.testing.assert_close(tensor, kept[name].float(), rtol=0, atol=0)


def test_adapter_of_another_base_is_no_start(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(command("lora", out="adapters/first")) == 0
    write_base(place / "base", seed=1)
    assert run.main(command("lora", **{"out": "adapters/second", "start-from": "adapters/first"})) == 1
    assert "--start-from adapters/first: it was made for base base; this is base" in capsys.readouterr().err
