"""How often kinds come up, in which order, and how much they count."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from assistant.training.data import Example
from assistant.training.loss import answer_loss, row_losses
from assistant.training.mixture import base_losses, in_stages, resample, shares
from assistant.training.packing import pack, pad, plan_rows
from assistant.training.rows import Rows
from tests.tiny import write_base
from tests.training.harness import examples, tiny_base

MIXED = [*examples(80, "big"), *examples(20, "small")]


def test_shares_are_sizes_to_the_power_of_one_over_t() -> None:
    """100 and 4 at T = 2: 10 and 2 of 12."""
    sizes = {"big": 100, "small": 4}
    assert shares(sizes, "temperature", 2.0) == pytest.approx({"big": 10 / 12, "small": 2 / 12})
    assert shares(sizes, "proportional", 2.0) == pytest.approx({"big": 100 / 104, "small": 4 / 104})
    assert shares(sizes, "equal", 2.0) == pytest.approx({"big": 0.5, "small": 0.5})


@pytest.mark.parametrize(
    ("sampling", "expected"), [("proportional", (80, 20)), ("equal", (50, 50)), ("temperature", (67, 33))]
)
def test_kinds_come_up_in_their_shares(sampling: str, expected: tuple[int, int]) -> None:
    """At T = 2: √80 : √20 is 2 : 1."""
    counts = Counter(example.kind for example in resample(MIXED, sampling, 2.0, seed=0))
    assert (counts["big"], counts["small"]) == expected


def test_a_kind_is_repeated_only_once_all_of_it_was_used() -> None:
    drawn = Counter(e for e in resample(MIXED, "equal", 2.0, seed=0) if e.kind == "small")
    assert set(drawn.values()) == {2, 3}
    assert len(drawn) == 20
    assert max(Counter(e for e in resample(MIXED, "equal", 2.0, seed=0) if e.kind == "big").values()) == 1


def test_rows_of_a_curriculum_go_from_easy_to_hard() -> None:
    given = examples(40)
    difficulty = {example: float(-position) for position, example in enumerate(given)}
    rows = in_stages(given, [difficulty[e] for e in given], lambda part: plan_rows(part, 12, seed=0))
    hardest = [max(difficulty[e] for tree in row for e in tree.examples) for row in rows]
    easiest = [min(difficulty[e] for tree in row for e in tree.examples) for row in rows]
    stage = [int((value + 39) // 4) for value in hardest]
    assert stage == [int((value + 39) // 4) for value in easiest]
    assert stage == sorted(stage)
    assert set(stage) == set(range(10))


def test_easy_is_what_the_base_loses_little_on(tmp_path: Path) -> None:
    """The loss of each example alone, in the order the examples came in."""
    write_base(tmp_path / "base")
    model = tiny_base(tmp_path).model
    given = [*examples(5), Example((1, 2, 3, 4, 5, 6), (9,))]
    losses = base_losses(model, given, pad_id=256, row_tokens=20)
    with torch.no_grad():
        alone = [answer_loss(model, pad([example], 256)).item() / len(example.answer) for example in given]
        assert row_losses(model, pad(given, 256)).tolist() == pytest.approx(alone, rel=1e-4)
    assert losses == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("form", ["packed", "padded"])
def test_weight_of_a_kind_scales_its_share_of_the_loss(tmp_path: Path, form: str) -> None:
    write_base(tmp_path / "base")
    model = tiny_base(tmp_path).model
    big, small = examples(3, "big"), examples(2, "small")

    def loss(given: list[Example], weights: dict[str, float] | None) -> float:
        if form == "padded":
            return answer_loss(model, pad(given, 256, weights)).item()
        return sum(answer_loss(model, pack(row, weights)).item() for row in plan_rows(given, 500, seed=0))

    with torch.no_grad():
        expected = 3 * loss(big, None) + loss(small, None)
        assert loss([*big, *small], {"big": 3.0}) == pytest.approx(expected, rel=1e-4)
        assert loss([*big, *small], None) == pytest.approx(loss(big, None) + loss(small, None), rel=1e-4)


def test_rows_know_their_tokens_and_number_their_kinds() -> None:
    packed = Rows(MIXED, 60, seed=0)
    assert packed.tokens == sum(packed[n]["labels"].numel() for n in range(len(packed)))
    padded = Rows(MIXED, 60, seed=0, pad_id=256, kinds=["big", "small"])
    assert padded.tokens == sum(padded[n]["labels"].numel() for n in range(len(padded)))
    numbers = torch.cat([padded[n]["task_ids"] for n in range(len(padded))])
    assert numbers.bincount().tolist() == [80, 20]
