"""Agreement of voters."""

from __future__ import annotations

import pytest

from assistant.feedback.agreement import Alpha, agreeing, alphas
from tests.feedback.cases import case, rating_case


def test_voters_who_agree_have_an_alpha_of_one_and_those_who_oppose_a_negative_one():
    questions = [f"question {number}" for number in range(8)]

    def votes(voter: str, flips: bool) -> list:
        return [
            case(["a", "b"], ranks=(1, 2) if (number % 2) ^ flips else (2, 1), voter=voter, question=question)
            for number, question in enumerate(questions)
        ]

    ann = votes("ann", False)
    assert alphas([*ann, *votes("bob", False)])["preference"] == Alpha(1.0, 8, 2)
    assert alphas([*ann, *votes("bob", True)])["preference"].value < -0.8


def test_alpha_is_that_of_the_published_example():
    """Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C: nominal data, four observers, some
    values missing. Only two of its values are thumbs, so here the binary example of section A: alpha 0.095.

    Two observers, ten units: 0 1 0 0 0 0 0 0 1 0 and 1 1 1 0 0 1 0 0 0 0.
    """
    ann, bob = "0100000010", "1110010000"
    cases = [
        rating_case(f"answer {unit}", voter=voter, thumb=value == "1")
        for voter, values in (("ann", ann), ("bob", bob))
        for unit, value in enumerate(values)
    ]
    found = alphas(cases)["thumb"]
    assert found.value == pytest.approx(0.095, abs=5e-4) and (found.units, found.voters) == (10, 2)


def test_scales_are_judged_one_by_one():
    cases = [
        rating_case(f"answer {unit}", voter=voter, scales={"fluency": stars, "relevance": 3})
        for unit, both in enumerate(((1, 1), (3, 3), (5, 4)))
        for voter, stars in zip(("ann", "bob"), both, strict=True)
    ]
    found = alphas(cases)
    assert 0.5 < found["fluency"].value < 1 and found["relevance"] == Alpha(None, 3, 2)
    assert found["correctness"] == Alpha(None, 0, 0)


def test_what_only_one_judged_says_nothing_about_agreement():
    assert alphas([case(["a", "b"], ranks=(1, 2))])["preference"] == Alpha(None, 0, 0)


def test_the_side_on_which_an_answer_stood_makes_no_difference():
    same = [case(["a", "b"], ranks=(1, 2)), case(["b", "a"], ranks=(2, 1), voter="bob")]
    other = [case(["a", "b"], (2, 1), question="x"), case(["a", "b"], (2, 1), voter="bob", question="x")]
    assert alphas([*same, *other])["preference"].value == 1


def test_votes_that_too_few_share_are_left_out():
    ann, bob = case(["a", "b"], ranks=(1, 2)), case(["a", "b"], ranks=(1, 2), voter="bob")
    eve, alone = case(["a", "b"], ranks=(2, 1), voter="eve"), case(["c", "d"], ranks=(1, 2), question="x")
    cases = [ann, bob, eve, alone]
    assert agreeing(cases, 0.0) == cases
    assert agreeing(cases, 0.5) == [ann, bob, alone]
    assert agreeing(cases, 0.7) == [alone]


def test_a_ranking_agrees_by_the_mean_over_its_pairs():
    # Of three pairs the two voters share two: each is supported by (1 + 1 + 1/2) / 3.
    cases = [case(["a", "b", "c"], ranks=(1, 2, 3)), case(["a", "b", "c"], ranks=(1, 3, 2), voter="bob")]
    assert agreeing(cases, 0.83) == cases and agreeing(cases, 0.84) == []
