"""Strengths from battles: Bradley–Terry with ties, by maximum likelihood.

The model is R. R. Davidson's (On extending the Bradley–Terry model to accommodate ties, JASA 65, 1970): with strengths
θ and η = θ_a − θ_b,

    P(a wins) : P(tie) : P(b wins)  =  exp(η / 2) : ν : exp(−η / 2)

so that given a winner, a is it with probability 1 / (1 + exp(−η)), as R. A. Bradley and M. E. Terry have it. Further
terms of η adjust for what is not strength, as the Chatbot Arena does for style (Li, Angelopoulos and Chiang, Does
style matter?, LMSYS 2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assistant.errors import EvaluationError

Floats = NDArray[np.float64]

RIDGE = 1e-2
"""Precision of a normal prior around 0 on every parameter. It keeps those finite who always won, and makes the
strengths sum to 0; beside a dozen battles it weighs nothing."""

LARGEST_STEP, LARGEST = 2.0, 300.0
LEAST_GAIN, ROUNDING = 1e-4, 1e-10
"""A step must gain this share of what its slope promises, less what is lost in the last digits."""
STEPS = 100
CLOSE = 1e-8


def fit(design: Floats, counts: Floats, start: Floats | None = None) -> Floats:
    """The likeliest parameters, for several sets of battles at once.

    Args:
        design: (rows, p), what each parameter adds to η of each row.
        counts: (sets, rows, 3), how often a row ended in a win of a, a tie, a win of b; weights may be fractions.
        start: (p + 1,), where to begin; near the solution it saves steps.

    Returns:
        (sets, p + 1): the parameters, and log ν last.

    Raises:
        EvaluationError: Newton's method does not settle.
    """
    sets, width = len(counts), design.shape[1]
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    total = counts.sum(axis=2)
    won, tied = (counts[..., 0] - counts[..., 2]) / 2, counts[..., 1]
    ties = tied.sum(axis=1)
    found = np.zeros((sets, width + 1))
    if start is not None:
        found += start
    from_, step, slope = found.copy(), np.zeros_like(found), np.zeros(sets)
    best = np.full(sets, -np.inf)
    hessian = np.empty((sets, width + 1, width + 1))
    diagonal = np.arange(width + 1)
    for _ in range(STEPS):
        # The exponential overflows beyond 709; no strength that the prior allows comes near.
        half = np.clip(found[:, :width] @ design.T / 2, -LARGEST, LARGEST)
        nu = np.exp(np.clip(found[:, width:], -LARGEST, LARGEST))
        win = np.exp(half)
        loss = 1 / win
        all_three = win + nu + loss
        gained = 2 * np.einsum("sr,sr->s", won, half) - np.einsum("sr,sr->s", total, np.log(all_three))
        gained += ties * np.log(nu[:, 0]) - RIDGE / 2 * (found**2).sum(axis=1)
        lead, tie = (win - loss) / (2 * all_three), nu / all_three
        gradient = np.concatenate(
            [(won - total * lead) @ design, (tied - total * tie).sum(axis=1, keepdims=True)], axis=1
        )
        gradient -= RIDGE * found
        hessian[:, :width, :width] = (total * ((1 - tie) / 4 - lead**2) @ outer).reshape(sets, width, width)
        hessian[:, width, :width] = hessian[:, :width, width] = -(total * tie * lead) @ design
        hessian[:, width, width] = (total * tie * (1 - tie)).sum(axis=1)
        hessian[:, diagonal, diagonal] += RIDGE
        newton = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        # Far from the solution Newton's step is too long, and may lead back and forth for ever. The likelihood is
        # concave, so a shorter one is safe: one that does not gain enough is halved.
        newton /= np.maximum(1, np.abs(newton).max(axis=1, keepdims=True) / LARGEST_STEP)
        too_far = gained < best + LEAST_GAIN * slope - ROUNDING * (1 + np.abs(best))
        from_ = np.where(too_far[:, None], from_, found)
        step = np.where(too_far[:, None], step / 2, newton)
        slope = np.where(too_far, slope / 2, (gradient * newton).sum(axis=1))
        best = np.where(too_far, best, gained)
        found = from_ + step
        if np.abs(step).max(initial=0) < CLOSE:
            return found
    raise EvaluationError(f"the strengths do not settle in {STEPS} steps")


def pairwise(a: NDArray[np.intp], b: NDArray[np.intp], contestants: int) -> tuple[Floats, NDArray[np.intp]]:
    """The design without further terms, (pairs, contestants), and which of its rows each battle belongs to.

    Battles of one pair look alike to the model, so that they are counted instead of kept.
    """
    pairs, rows = np.unique(np.stack([a, b], axis=1), axis=0, return_inverse=True)
    design = np.zeros((len(pairs), contestants))
    design[np.arange(len(pairs)), pairs[:, 0]] += 1
    design[np.arange(len(pairs)), pairs[:, 1]] -= 1
    return design, rows.reshape(-1)


def resampled(groups: int, sets: int, seed: int) -> Floats:
    """How often each group is drawn in each bootstrap sample, (sets, groups); the first set is the sample itself."""
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=sets)
    return np.concatenate([np.ones((1, groups)), drawn.astype(np.float64)])


def counted(rows: NDArray[np.intp], outcomes: NDArray[np.intp], groups: NDArray[np.intp], drawn: Floats) -> Floats:
    """The counts that `fit` takes, (sets, rows, 3), where whole groups of battles are drawn together.

    Args:
        rows, outcomes, groups: (battles,): the row of the design; 0 for a win of a, 1 for a tie, 2 for a win of b; and
            the group of each battle.
        drawn: (sets, groups).
    """
    cells = (int(rows.max()) + 1) * 3
    of_group = np.zeros((drawn.shape[1], cells))
    np.add.at(of_group, (groups, rows * 3 + outcomes), 1)
    return (drawn @ of_group).reshape(len(drawn), -1, 3)
