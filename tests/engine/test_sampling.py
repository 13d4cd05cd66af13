"""Logits → ids, each row by its own rules."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from assistant.engine.sampling import candidates, penalise, pick
from assistant.engine.sequence import Sequence
from assistant.messages import Decoding


def sequence(prompt: tuple[int, ...] = (1, 2), **decoding: object) -> Sequence:
    return Sequence(prompt, None, Decoding(**decoding), 10, lambda item: None)


@pytest.mark.parametrize(
    ("top_k", "top_p", "temperature"),
    [(0, 0.9, 1.0), (50, 1.0, 0.7), (300, 0.5, 1.3), (1, 0.95, 1.0), (0, 0.9999, 2.0)],
)
def test_the_candidates_are_those_of_transformers(top_k, top_p, temperature):
    torch.manual_seed(0)
    logits = torch.randn(1000) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(None, logits[None].clone())[0].softmax(-1)
    weights, ids = candidates(logits / temperature, top_k, top_p)
    got = torch.zeros(1000).index_put((ids,), weights / weights.sum())
    assert torch.equal(got > 0, expected > 0)
    torch.testing.assert_close(got, expected)


def test_the_repetition_penalty_is_that_of_transformers():
    torch.manual_seed(0)
    logits, tokens = torch.randn(50), [3, 3, 7, 40]
    expected = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([tokens]), logits[None].clone())[0]
    penalise(logits, tokens, 1.3)
    torch.testing.assert_close(logits, expected)


def test_a_seed_gives_the_same_ids_whoever_else_is_in_the_batch():
    torch.manual_seed(0)
    logits = torch.randn(20, 100)
    alone = sequence(temperature=1.0, seed=5)
    first = [pick(row[None], [alone])[0] for row in logits]
    same, other, greedy = sequence(temperature=1.0, seed=5), sequence(temperature=1.0, seed=6), sequence(temperature=0)
    rows = [pick(torch.stack([row, row, row]), [other, same, greedy]) for row in logits]
    assert [row[1] for row in rows] == first != [row[0] for row in rows]
    assert [row[2] for row in rows] == logits.argmax(-1).tolist()


def test_draws_follow_the_probabilities():
    """Three tokens at 0.5, 0.3, 0.2: in 4,000 draws each share lies within four standard errors (< 0.032)."""
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    drawn = sequence(temperature=1.0, top_p=1.0, seed=1)
    counts = torch.bincount(torch.tensor([pick(logits[None].clone(), [drawn])[0] for _ in range(4000)]), minlength=3)
    torch.testing.assert_close(counts / 4000, torch.tensor([0.5, 0.3, 0.2]), atol=0.032, rtol=0)


def test_a_row_that_is_not_finite_gets_no_id_and_spoils_no_other():
    logits = torch.tensor([[1.0, float("nan")], [2.0, float("inf")], [3.0, -200.0]])
    assert pick(logits, [sequence(temperature=0.7, seed=1) for _ in logits]) == [None, None, 0]


@pytest.mark.parametrize("temperature", [1e-39, 1e-6, 1e-5, 0.01])
def test_however_low_the_temperature_and_large_the_scores_the_likeliest_token_is_drawn(temperature):
    logits = torch.tensor([[-3e38, 0.0, 3e38], [-3e38, -1e38, -3e38], [20.0, 21.0, 0.0]])
    assert pick(logits, [sequence(temperature=temperature, seed=1) for _ in logits]) == [2, 1, 1]
