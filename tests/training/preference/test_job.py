"""One command for all four: it goes on after an interruption, and refuses what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from assistant.training import run
from tests.training.preference.harness import command, curve

RL = {"reward": "adapters/taste", "generations": 2, "new-tokens": 4, "iterations": 1}


class Killed(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize("recipe", ["reward", "dpo", "kto", "grpo"])
def test_an_interrupted_run_goes_on_as_one_that_never_was(
    place: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    if recipe == "grpo":
        assert run.main(command("reward", out="adapters/taste", epochs=1)) == 0
    arguments = command(recipe, epochs=2, save_steps=2, **(RL if recipe == "grpo" else {}))
    save = Trainer._save_checkpoint

    def save_and_die(trainer: Trainer, *args: object) -> None:
        save(trainer, *args)
        if trainer.state.global_step == 4:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            run.main(arguments)
    assert not (place / "adapters" / recipe).exists()
    assert run.main(arguments) == 0
    assert run.main([*arguments, "--out", "adapters/unbroken"]) == 0
    assert curve(place, recipe, "step") == sorted(curve(place, recipe, "step"))
    resumed, whole = (load_file(place / "adapters" / n / "adapter_model.safetensors") for n in (recipe, "unbroken"))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("reward", {"beta": 0.1}, "--beta is of dpo, kto and grpo"),
        ("dpo", {"beta": -1}, "allowed are numbers above 0"),
        ("dpo", {"reward": "adapters/x"}, "it needs one, others none"),
        ("kto", {"judge": "adapters/x"}, "--judge watches recipe 'grpo'"),
        ("reward", {"start_from": "adapters/x"}, "its head is trained from the beginning"),
        ("dpo", {"patience": 2, "validation": 0}, "--validation is 0"),
        ("dpo", {"start_from": "nowhere"}, "no adapter can be read there"),
        ("dpo", {"data": "none.jsonl"}, "none.jsonl: cannot be read"),
        ("dpo", {"max_tokens": 3}, "raise --max-tokens"),
    ],
)
def test_what_does_not_go_together_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], recipe: str, changes: dict[str, object], words: str
) -> None:
    assert run.main(command(recipe, **changes)) == 1
    assert words in capsys.readouterr().err
    assert not (place / "adapters").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "dpo", "--task", "sentiment"], "leave out --task"),
        (["--recipe", "lora"], "needs a --task"),
    ],
)
def test_a_task_goes_with_the_recipes_that_have_one(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        run.main([*arguments, "--data", "x", "--out", "adapters/x"])
    assert words in capsys.readouterr().err


def test_patience_keeps_the_best_weights_and_says_so(place: Path) -> None:
    assert run.main(command("reward", patience=1, lr=0.3, epochs=8)) == 0
    readme = (place / "adapters/reward/README.md").read_text(encoding="utf-8")
    assert "| best step |" in readme and "| patience | 1 |" in readme
