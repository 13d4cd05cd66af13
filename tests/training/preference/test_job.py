"""One command for all four: it goes on after an interruption, and refuses what does not go together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

from assistant.training import run
from assistant.training.preference import job
from assistant.training.progress import Progress
from tests.training.preference.harness import command, curve, report

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
    assert report(place, recipe)["train_loss"] == pytest.approx(report(place, "unbroken")["train_loss"], abs=1e-3)


@pytest.mark.parametrize("recipe", ["dpo", "grpo"])
def test_a_run_that_has_ended_is_published_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    """Publishing failed: the same command again takes no step, and tells the same."""
    if recipe == "grpo":
        assert run.main(command("reward", out="adapters/taste", epochs=1)) == 0
    arguments = command(recipe, epochs=2, **(RL if recipe == "grpo" else {}))
    with monkeypatch.context() as patched:
        patched.setattr(job, "publish", None)
        with pytest.raises(TypeError):
            run.main(arguments)
    before = report(place, recipe)
    monkeypatch.setattr(Progress, "on_step_end", None)
    assert run.main(arguments) == 0
    after = report(place, recipe)
    for figure in ("steps", "train_loss", "validation_loss", "against_start", "warning"):
        assert after[figure] == before[figure], figure
    assert (after["against_start"] is not None) == (recipe == "grpo")
    [folder] = place.glob(f"runs/{recipe}-*")
    assert {path.name for path in folder.iterdir()} == {"config.json", "report.json", "loss.csv", "curves.png"}


def test_cut_off_after_the_publication_the_same_command_finishes_up(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, card = command("dpo", epochs=1), place / "adapters" / "dpo" / "card.json"
    with monkeypatch.context() as patched:
        patched.setattr(job, "close_run", None)
        with pytest.raises(TypeError):
            run.main(arguments)
    published = card.stat().st_mtime_ns
    # Other settings are another run, which did not leave it.
    assert run.main([*arguments, "--seed", "7"]) == 1
    assert "adapters/dpo exists" in capsys.readouterr().err
    assert run.main(arguments) == 0
    assert card.stat().st_mtime_ns == published
    assert run.main(arguments) == 1
    assert "adapters/dpo exists" in capsys.readouterr().err


def test_other_data_under_the_same_name_is_another_run(place: Path) -> None:
    assert run.main(command("dpo", epochs=1)) == 0
    rows = (place / "pairs.jsonl").read_text(encoding="utf-8")
    (place / "pairs.jsonl").write_text(rows.replace("question", "another question"), encoding="utf-8")
    assert run.main([*command("dpo", epochs=1), "--replace"]) == 0
    assert len(list(place.glob("runs/dpo-*"))) == 2


@pytest.mark.parametrize("option", ["start_from", "reward", "judge"])
def test_adapters_of_another_base_are_refused(place: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert run.main(command("reward", epochs=1)) == 0
    assert run.main(command("dpo", epochs=1, out="adapters/other")) == 0
    card = place / "adapters" / "other" / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "base_digest": "another"}))
    changes = {**RL, "reward": "adapters/reward", option: "adapters/other"}
    assert run.main(command("grpo", **changes)) == 1
    assert f"--{option.replace('_', '-')} adapters/other: it was made for base base" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("dpo", {"beta": -1}, "allowed are numbers above 0"),
        ("reward", {"centre": -1}, "--centre -1.0: allowed are numbers from 0"),
        ("reward", {"start_from": "adapters/x"}, "its head is trained from the beginning"),
        ("dpo", {"patience": 2, "validation": 0}, "nothing is held out; raise --validation"),
        ("dpo", {"start_from": "nowhere"}, "no adapter can be read there"),
        ("grpo", {"reward": "r", "judge": "j", "validation": 0}, "--judge compares answers to prompts held out"),
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
        (
            ["--recipe", "dpo", "--task", "sentiment"],
            "recipe 'dpo' has no --task; it is of the recipes that learn a task",
        ),
        (["--recipe", "lora"], "needs a --task"),
        (["--recipe", "reward", "--beta", "0.1"], "recipe 'reward' has no --beta; it is of dpo, kto, grpo"),
        (["--recipe", "dpo", "--reward", "adapters/x"], "recipe 'dpo' has no --reward; it is of grpo"),
        (["--recipe", "kto", "--judge", "adapters/x"], "recipe 'kto' has no --judge; it is of grpo"),
        (["--recipe", "grpo", "--centre", "1"], "recipe 'grpo' has no --centre; it is of reward"),
        (["--recipe", "dpo", "--generations", "4"], "recipe 'dpo' has no --generations"),
        (["--recipe", "dpo", "--layers", "2"], "recipe 'dpo' has no --layers"),
        (["--recipe", "dpo", "--sampling", "equal"], "recipe 'dpo' has no --sampling"),
        (["--recipe", "dpo", "--row-tokens", "512"], "recipe 'dpo' has no --row-tokens"),
        (["--recipe", "dpo", "--raw-text", "x"], "recipe 'dpo' has no --raw-text"),
        (["--recipe", "dpo", "--weights", "qa=2"], "recipe 'dpo' has no --weights"),
        (["--recipe", "dpo", "--curriculum", "easy-to-hard"], "recipe 'dpo' has no --curriculum"),
        (["--recipe", "dpo", "--per-label", "5"], "recipe 'dpo' has no --per-label"),
    ],
)
def test_options_go_with_the_recipes_that_have_them(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        run.main([*arguments, "--data", "x", "--out", "adapters/x"])
    assert words in capsys.readouterr().err


def test_patience_keeps_the_best_weights_and_says_so(place: Path) -> None:
    assert run.main(command("reward", patience=1, lr=0.3, epochs=8)) == 0
    readme = (place / "adapters/reward/README.md").read_text(encoding="utf-8")
    assert "| best step |" in readme and "| patience | 1 |" in readme
