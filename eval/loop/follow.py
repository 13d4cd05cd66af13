"""How much are answers to the taste? On prompts that nobody voted on and nothing was trained on."""

from __future__ import annotations

import numpy as np

from assistant.catalog import Gained
from eval.gate.figures import gained_mean
from eval.gate.reward import Answers
from eval.loop.tastes import Taste


def followed(taste: Taste, source: str, before: Answers, after: Answers) -> Gained:
    """The paired test that the circle is judged by: the mean value of a prompt's answers, after less before, drawn again
    over prompts. The taste is followed more where the whole 95 % interval lies above 0."""
    values = [[float(np.mean([taste.value(answer) for answer in drawn])) for drawn in side] for side in (before, after)]
    return gained_mean(f"taste {taste.name} ({taste.unit})", source, *values)
