"""Figures of reward adapters, worked out by hand."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager

import pytest

from assistant.errors import EvaluationError
from assistant.messages import BASE, Message
from assistant.training.preference.data import Pair
from eval import run as command
from eval.metrics.bootstrap import measure, over_groups
from eval.tasks import reward
from eval.tasks.reward import judge, read_pairs, run
from tests.fakes import fake_service
from tests.test_best_of import write_reward


def pair(prompt: str, chosen: str, rejected: str) -> Pair:
    return Pair((Message(role="user", content=prompt),), f"{prompt}:1", chosen, rejected)


PAIRS = [
    pair("a", "long answer", "short"),
    pair("b", "yes", "no, never"),
    pair("c", "abc", "xyz"),
    pair("d", "x", "yy"),
]


def test_accuracy_length_and_calibration_are_counted_by_pair():
    """Margins 1, −1, 1, 0: two right, one wrong, one even; by length one right, two wrong, one even.

    Confidence is sigmoid(1) three times and 0.5 once. In the bin of sigmoid(1) = 0.731 two of three are right, a gap of
    |2 − 3 · 0.731| = 0.193; in that of 0.5 the even one counts half, which leaves no gap.
    """
    outcome = judge(PAIRS, [1.0, 0.0, 2.0, 3.0], [0.0, 1.0, 1.0, 3.0])
    figures = {name: figure.value for name, figure in outcome.metrics.items()}
    assert figures["accuracy"] == 2.5 / 4
    assert figures["length_accuracy"] == 1.5 / 4
    assert figures["above_length"] == 1 / 4
    assert figures["margin"] == 0.25
    sure = 1 / (1 + math.exp(-1))
    assert figures["ece"] == pytest.approx(abs(2 - 3 * sure) / 4)
    assert [(row["count"], row["accuracy"]) for row in outcome.config["reliability"]] == [(1, 0.5), (3, 0.6667)]


def test_pairs_of_one_prompt_are_drawn_together():
    """Ten pairs of one prompt are one thing to draw: every resample is the whole, so the interval is a point."""
    same = [pair("a", f"answer {n}", "other") for n in range(10)]
    outcome = judge(same, [1.0] * 6 + [0.0] * 4, [0.5] * 10)
    accuracy = outcome.metrics["accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.6, 0.6, 0.6)
    apart = judge([pair(f"p{n}", f"answer {n}", "other") for n in range(10)], [1.0] * 6 + [0.0] * 4, [0.5] * 10)
    assert apart.metrics["accuracy"].low < 0.6 < apart.metrics["accuracy"].high


def test_a_group_that_is_drawn_twice_counts_twice():
    drawn = over_groups(lambda chosen: [float(len(chosen))], [[0, 1], [2]])
    assert list(drawn([0, 0, 1])) == [5.0]
    assert measure(lambda chosen: [1.0], 1)[0].value == 1.0


class Longest:
    """Scores a text by its length; remembers how many came at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def score(self, adapter, conversations):
        self.calls.append(len(conversations))
        return [float(len(messages[-1].content)) for messages in conversations]


async def test_both_answers_of_every_pair_are_scored_in_order():
    service = Longest()
    outcome = await run(service, PAIRS * 20, "judge", seed=0)
    assert service.calls == [64, 64, 32]
    assert outcome.metrics["accuracy"].value == outcome.metrics["length_accuracy"].value == 1.5 / 4
    assert outcome.metrics["above_length"].value == 0


async def test_the_base_and_missing_data_are_refused():
    with pytest.raises(EvaluationError, match="give --adapter NAME"):
        await run(Longest(), PAIRS, BASE, seed=0)
    with pytest.raises(EvaluationError, match="needs --data"):
        read_pairs(None)


def test_the_command_scores_with_a_reward_adapter_and_writes_the_figures(tmp_path, monkeypatch, capsys):
    """The fake backend prefers the longer text: it is right where the longer answer was chosen."""
    write_reward(tmp_path / "adapters" / "taste")
    rows = [{"prompt": f"p{n}", "chosen": "a long answer" if n < 3 else "x", "rejected": "short"} for n in range(4)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    @asynccontextmanager
    async def service(settings):
        yield fake_service(tmp_path / "adapters")

    monkeypatch.setenv("SWAPBOARD_ADAPTERS_DIR", str(tmp_path / "adapters"))
    monkeypatch.setattr(command, "measured_service", service)
    options = ["--task", "reward", "--adapter", "taste", "--data", str(tmp_path / "pairs.jsonl")]
    assert command.main([*options, "--out", str(tmp_path / "out.json")]) == 0
    result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert result["metrics"]["accuracy"]["value"] == 0.75 and result["count"] == 4
    assert len(result["data_digest"]) == 64
    assert "above_length" in capsys.readouterr().out
    assert command.main(["--task", "reward", "--adapter", "taste", "--out", str(tmp_path / "out.json")]) == 1
    assert "needs --data" in capsys.readouterr().err
    judged = reward.run

    async def replacing(*asked):
        weights = tmp_path / "adapters" / "taste" / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"@")
        return await judged(*asked)

    monkeypatch.setattr(reward, "run", replacing)
    assert command.main([*options, "--out", str(tmp_path / "other.json")]) == 1
    assert "adapter 'taste' was replaced while it was measured" in capsys.readouterr().err
