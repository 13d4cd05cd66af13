"""Rows that share first tokens give the loss of their examples one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from assistant.training.data import Example
from assistant.training.loss import answer_loss
from assistant.training.packing import IGNORED, batches, common_tokens, pack, pad, plan_rows, stack, visible
from tests.tiny import lora_config, soft_config, write_base

EXAMPLES = [
    Example(prompt=(1, 2, 3, 4, 10 + n, 5, *range(20, 20 + n)), answer=(30 + n, 31, 256), group="a") for n in range(4)
] + [Example(prompt=(1, 2, 9, 40 + n, 41), answer=(50 + n, 256), group="b") for n in range(3)]


def test_common_tokens_leave_every_prompt_one_of_its_own() -> None:
    same = [Example((1, 2, 3), (7,)), Example((1, 2, 3), (8,))]
    assert common_tokens(same) == 2
    assert common_tokens(EXAMPLES[:4]) == 4
    assert common_tokens(EXAMPLES) == 2


def test_every_example_is_in_exactly_one_row_and_no_row_is_too_long() -> None:
    rows = plan_rows(EXAMPLES, row_tokens=30, seed=0)
    assert sorted(e.answer for row in rows for tree in row for e in tree.examples) == sorted(e.answer for e in EXAMPLES)
    assert all(sum(map(len, row)) <= 30 for row in rows)
    assert len(plan_rows([Example((1,) * 50, (2,))], row_tokens=30, seed=0)) == 1


def test_packed_tokens_see_their_trunk_and_their_own_branch_only() -> None:
    """Two examples (1 2 | 3 → 4) and (1 2 | 5 → 6): the row is 1 2 3 4 5 6; 5 sees 1 2 5, not 3 4."""
    [[tree]] = plan_rows([Example((1, 2, 3), (4,)), Example((1, 2, 5), (6,))], row_tokens=30, seed=1)
    row = pack([tree])
    first, second = (3, 4), (5, 6)
    ids = row["input_ids"][0].tolist()
    assert ids in ([1, 2, *first, *second], [1, 2, *second, *first])
    assert row["position_ids"][0].tolist() == [0, 1, 2, 3, 2, 3]
    assert row["labels"][0].tolist() == [IGNORED, IGNORED, IGNORED, ids[3], IGNORED, ids[5]]
    sees = visible(row["trunks"], row["branches"])
    assert sees.shape == (1, 1, 6, 6)
    assert sees[0, 0, 4].tolist() == [True, True, False, False, True, False]


def test_packed_loss_is_the_loss_of_the_examples_one_by_one(tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(write_base(tmp_path / "base"))
    torch.manual_seed(0)
    model = get_peft_model(base, lora_config(init_lora_weights=False))
    with torch.no_grad():
        alone = [answer_loss(model, pad([example], 256)).item() for example in EXAMPLES]
        packed = sum(answer_loss(model, pack(row)).item() for row in plan_rows(EXAMPLES, row_tokens=40, seed=0))
        padded = answer_loss(model, pad(EXAMPLES, 256)).item()
    assert packed == pytest.approx(sum(alone), rel=1e-4)
    assert padded == pytest.approx(sum(alone), rel=1e-4)


def test_rows_of_unlike_length_in_one_pass_give_the_same_loss_and_gradient(tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(write_base(tmp_path / "base"))
    torch.manual_seed(0)
    model = get_peft_model(base, lora_config(init_lora_weights=False))
    rows = [pack(row, {"": 2.0}) for row in plan_rows(EXAMPLES, row_tokens=26, seed=0)]
    assert len(rows) > 2 and len({row["input_ids"].shape[1] for row in rows}) > 1

    def gradients() -> list[torch.Tensor]:
        found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        model.zero_grad()
        return found

    one_by_one = sum(answer_loss(model, row) for row in rows)
    one_by_one.backward()
    expected = gradients()
    together = answer_loss(model, stack(rows))
    together.backward()
    assert together.item() == pytest.approx(one_by_one.item(), rel=1e-4)
    torch.testing.assert_close(gradients(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["prompt", "ptuning", "prefix"])
def test_soft_prompt_loss_scores_the_answer_columns(tmp_path: Path, kind: str) -> None:
    """The loss of the whole row's logits at the answer columns, picked by hand."""
    base = AutoModelForCausalLM.from_pretrained(write_base(tmp_path / "base"))
    torch.manual_seed(0)
    model = get_peft_model(base, soft_config(kind))
    batch = pad(EXAMPLES, 256)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        logits = logits[:, -batch["input_ids"].shape[1] :]
        expected = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        assert answer_loss(model, batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_padded_batches_hold_every_example_once_within_the_limit() -> None:
    parts = list(batches(EXAMPLES, row_tokens=25, seed=0))
    assert sorted(e.answer for part in parts for e in part) == sorted(e.answer for e in EXAMPLES)
    assert all(len(part) * max(map(len, part)) <= 25 for part in parts)
