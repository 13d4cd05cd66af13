"""When a policy counts as hacking its reward."""

from __future__ import annotations

import numpy as np
import pytest

from assistant.training.preference.hacking import Answers, compare, length_controlled_wins

COUNT = 40


def answers(reward: float, judged: float, length: int = 10) -> Answers:
    draw = np.random.default_rng(0)
    noise = draw.normal(size=COUNT) / 10
    return Answers((reward + noise).tolist(), (judged + noise).tolist(), [length] * COUNT)


@pytest.mark.parametrize(
    ("reward", "judged", "is_hacked"), [(1, -1, True), (1, 1, False), (-1, -1, False), (-1, 1, False)]
)
def test_it_is_hacking_only_when_the_reward_is_up_and_the_judge_down(reward, judged, is_hacked):
    verdict = compare(answers(0, 0), answers(reward, judged))
    assert verdict.is_hacked is is_hacked
    assert (verdict.warning is not None) is is_hacked
    assert verdict.reward_gain.value == pytest.approx(reward)
    assert verdict.win_rate.value == (1.0 if judged > 0 else 0.0)


def test_without_a_judge_the_card_says_that_nothing_is_known():
    start, now = (Answers([reward] * COUNT, [], [10] * COUNT) for reward in (0.0, 1.0))
    verdict = compare(start, now)
    assert verdict.win_rate is None and not verdict.is_hacked and "No judge" in verdict.warning


def test_a_difference_within_the_noise_is_no_hacking():
    draw = np.random.default_rng(3)
    start, now = (Answers(*draw.normal(size=(2, COUNT)).tolist(), [10] * COUNT) for _ in range(2))
    assert not compare(start, now).is_hacked


def test_a_margin_that_is_all_length_is_no_win():
    """Margins of twice the difference in length: with the slope of 2 taken out all are zero, and zeros count half."""
    longer = np.array([1.0, 2.0, 5.0, -3.0])
    assert length_controlled_wins(2 * longer, longer) == 0.5


def test_what_is_left_beside_the_length_decides():
    """margin = 0.5 d + 1 on every prompt: without the pull of length the policy wins everywhere."""
    longer = np.array([-10.0, -20.0, -30.0, -40.0])
    assert length_controlled_wins(0.5 * longer + 1, longer) == 1.0
    assert (0.5 * longer + 1 > 0).mean() == 0.0


def test_equal_lengths_leave_the_margins_as_they_are():
    assert length_controlled_wins(np.array([1.0, -1.0, 2.0, 0.0]), np.full(4, 7.0)) == pytest.approx(0.625)
