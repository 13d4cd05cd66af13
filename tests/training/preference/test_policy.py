"""GRPO: a reward that is known rises, the divergence is bounded, and a judge that disagrees is heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.base_model import load_base
from assistant.catalog import Catalog
from assistant.messages import Message
from assistant.prompt import Prompter
from assistant.training import run
from assistant.training.methods import adapt
from assistant.training.preference.data import Asked
from assistant.training.preference.policy import train_grpo
from assistant.training.preference.rendering import Rendering
from assistant.training.preference.settings import PreferenceSettings
from assistant.training.recipes import RECIPES
from assistant.training.tasks.sentiment import SENTIMENT
from tests.training.preference.harness import command, curve, report


def settings(**changes: object) -> PreferenceSettings:
    return PreferenceSettings(
        **{"recipe": "grpo", "rank": 4, "epochs": 10.0, "learning_rate": 0.02, "batch": 4, "warmup": 0.0, "seed": 0,
           "scheduler": "constant", "dtype": "float32", "beta": 0.01, "generations": 6, "new_tokens": 8,
           "temperature": 1.0, "iterations": 2, "epsilon": 0.2, **changes}
    )  # fmt: skip


def small_letters(conversations: object, answers: list[str]) -> list[float]:
    return [sum(letter.islower() for letter in answer) / 8 for answer in answers]


def no_small_letters(conversations: object, answers: list[str]) -> list[float]:
    return [-reward for reward in small_letters(conversations, answers)]


def learn(place: Path, reward: object, judge: object, **changes: object) -> tuple:
    base = load_base("base", "float32", place)
    prompter = Prompter(base.tokenizer)
    rendering = Rendering(prompter, None)
    asked = [Asked((Message(role="user", content=f"question {n}"),), f"line {n}") for n in range(16)]
    prompts = [rendering.prompt(one) for one in asked]
    adapted = adapt(base, RECIPES["lora"], 4, SENTIMENT)
    place.joinpath("run").mkdir()
    outcome = train_grpo(
        adapted, prompter, settings(**changes), prompts[:8], prompts[8:], place / "run", 100, reward, judge
    )
    return (*outcome, adapted)


def test_a_known_reward_rises_on_prompts_it_was_not_trained_on(place: Path) -> None:
    phase, verdict, adapted = learn(place, small_letters, small_letters)
    assert verdict.reward_gain.low > 0
    assert verdict.win_rate.value > 0.5 and not verdict.is_hacked
    assert list(adapted.model.peft_config) == ["default"]
    assert phase.measured["validation_reward"] > 0


def test_a_judge_that_prefers_the_start_is_heard(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, verdict, _ = learn(place, small_letters, no_small_letters)
    assert verdict.is_hacked and "Reward hacking" in verdict.warning
    assert any("Reward hacking" in record.message for record in caplog.records)


def test_a_policy_learns_from_a_reward_adapter_with_another_as_judge(place: Path) -> None:
    """All of them on one base; what is published is the policy alone, with what the judge says on its card."""
    assert run.main(command("reward")) == 0
    assert run.main(command("reward", out="adapters/judge", seed=1)) == 0
    changes = {"reward": "adapters/reward", "judge": "adapters/judge", "generations": 4, "new-tokens": 6, "epochs": 2}
    assert run.main(command("grpo", **changes)) == 0
    [folder] = place.glob("runs/grpo-*")
    for column in ("reward", "kl", "length", "entropy", "validation_reward", "validation_win_rate"):
        assert curve(place, "grpo", column), column
    assert (folder / "curves.png").stat().st_size > 1000
    told = report(place, "grpo")["against_start"]
    assert set(told) == {"reward_gain", "win_rate", "is_hacked"}
    adapter = Catalog(place / "adapters").get("grpo")
    card = json.loads((adapter.folder / "card.json").read_text(encoding="utf-8"))
    assert card["training"]["against_start"] == told and card["training"]["hyperparameters"]["epsilon"] == 0.2
    assert "share preferred by the judge" in (adapter.folder / "README.md").read_text(encoding="utf-8")
    assert not adapter.is_reward and not [path for path in adapter.folder.iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "recipe 'grpo' needs --reward"),
        ({"reward": "nowhere"}, "no reward adapter can be read there"),
        ({"reward": "adapters/dpo", "judge": "adapters/dpo"}, "the reward adapter itself"),
        ({"reward": "adapters/dpo"}, "this adapter scores no answers"),
        ({"reward": "adapters/dpo", "generations": 1}, "allowed: from 2"),
    ],
)
def test_rewards_and_judges_that_are_none_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], words: str
) -> None:
    if "adapters/dpo" in changes.values():
        assert run.main(command("dpo", epochs=1)) == 0
    assert run.main(command("grpo", **changes)) == 1
    assert words in capsys.readouterr().err
    assert not (place / "adapters/grpo").exists()
