"""The leaderboard, held against known strengths."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from scipy.optimize import minimize

from assistant.errors import InvalidRequest
from assistant.feedback.battles import FAILED, HIDDEN, LEAKED, SAME, SKIPPED, Battle, battles, names_itself
from assistant.feedback.bradley_terry import RIDGE, fit
from assistant.feedback.leaderboard import FEWEST, MEAN, POINTS, adjusted_strengths, interval, leaderboard, strengths
from tests.feedback.cases import case, rating_case

NAMES = ("a", "b", "c", "d", "e")
TRUTH = np.array([0.8, 0.4, 0.0, -0.3, -0.9])
TRUE_POINTS = MEAN + POINTS * TRUTH


def duels(
    rng: np.random.Generator, count: int, nu: float = 0.5, seat: float = 0.0, length: float = 0.0
) -> list[Battle]:
    """Battles of two under Davidson's model; `seat` and `length` are added to the log-odds of the left and longer."""
    fought = []
    for number in range(count):
        a, b = rng.choice(5, 2, replace=False)
        # The better ones talk more, so that length looks like strength.
        size_a, size_b = (int(rng.poisson(60 + 30 * TRUTH[one])) + 1 for one in (a, b))
        eta = TRUTH[a] - TRUTH[b] + seat + length * (size_a - size_b) / (size_a + size_b)
        chances = np.array([math.exp(eta / 2), nu, math.exp(-eta / 2)])
        outcome = rng.choice([1.0, 0.5, 0.0], p=chances / chances.sum())
        fought.append(Battle(str(number), NAMES[a], NAMES[b], float(outcome), size_a, size_b))
    return fought


def orders(rng: np.random.Generator, count: int) -> list[Battle]:
    """Rankings of four under Plackett–Luce, whose every pair follows Bradley–Terry: best has the largest θ + Gumbel."""
    fought = []
    for number in range(count):
        some = rng.choice(5, 4, replace=False)
        worth = {one: TRUTH[one] + rng.gumbel() for one in some}
        fought += [
            Battle(str(number), NAMES[a], NAMES[b], float(worth[a] > worth[b]), 10, 10)
            for index, a in enumerate(some)
            for b in some[index + 1 :]
        ]
    return fought


def coverage(simulate, count: int, runs: int, samples: int = 400) -> float:
    """The share of the intervals, over runs and contestants, that hold the true strength."""
    held = 0
    for run in range(runs):
        points = strengths(simulate(np.random.default_rng(run), count), NAMES, samples, seed=run)
        for index, true in enumerate(TRUE_POINTS):
            found = interval(points[:, index])
            held += found.low <= true <= found.high
    return held / (runs * len(NAMES))


@pytest.mark.parametrize(("simulate", "count"), [(duels, 400), (orders, 150)])
def test_intervals_hold_the_true_strengths(simulate, count):
    # Sixty runs have a standard error of about 1.5 points; the five hundred of the slow test have half a point.
    assert 0.90 <= coverage(simulate, count, runs=60, samples=200) <= 0.99


def few_votes(count: int, chance: float, runs: int, samples: int) -> list[bool]:
    """Of two contestants one wins with this chance: whether its interval, where there is one, holds its strength."""
    true, held = MEAN + POINTS * math.log(chance / (1 - chance)) / 2, []
    for run in range(runs):
        wins = np.random.default_rng(run).random(count) < chance
        cases = [case(["x", "y"], (1, 2) if win else (2, 1), voter=f"{at}") for at, win in enumerate(wins)]
        (found,) = [one.rating for one in leaderboard(cases, samples=samples).standings if one.name == "prompt:base"]
        if found.low is not None:
            held.append(found.low <= true <= found.high)
    return held


@pytest.mark.parametrize("count", [3, 5, 10, 20])
def test_where_few_votes_give_an_interval_it_holds_the_true_strength(count):
    held = few_votes(count, 0.75, runs=60, samples=100)
    assert bool(held) is (count >= FEWEST) and sum(held) >= 0.85 * len(held)


@pytest.mark.slow
@pytest.mark.parametrize("chance", [0.6, 0.75, 0.9])
@pytest.mark.parametrize("count", [10, 20])
def test_nine_in_ten_of_the_intervals_of_few_votes_hold_the_true_strength(count, chance):
    held = few_votes(count, chance, runs=500, samples=400)
    share = sum(held) / len(held)
    print(f"\ncoverage over {len(held)} of 500 runs, {count} votes, {chance:.0%} won: {share:.1%}")
    assert share >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("simulate", "count"), [(duels, 400), (orders, 150)])
def test_ninety_five_percent_of_the_intervals_hold_the_true_strengths(simulate, count):
    share = coverage(simulate, count, runs=500)
    print(f"\ncoverage over 500 runs, {simulate.__name__}: {share:.1%}")
    assert 0.93 <= share <= 0.97


def test_drawing_battles_instead_of_rankings_would_give_intervals_that_are_too_narrow():
    fought = orders(np.random.default_rng(0), 150)
    alone = [replace(one, ranking=str(number)) for number, one in enumerate(fought)]
    widths = []
    for one in (fought, alone):
        found = interval(strengths(one, NAMES, 400, seed=0)[:, 0])
        widths.append(found.high - found.low)
    assert widths[0] > 1.1 * widths[1]


def test_the_fit_is_the_maximum_of_the_likelihood():
    """Against scipy's optimiser on the likelihood as the model's definition has it, with the same prior."""
    fought = duels(np.random.default_rng(1), 120, seat=0.4, length=1.5)

    def minus_log_posterior(parameters: np.ndarray) -> float:
        theta, seat, length, log_nu = parameters[:5], *parameters[5:]
        total = RIDGE / 2 * float(parameters @ parameters)
        for one in fought:
            longer = (one.length_a - one.length_b) / (one.length_a + one.length_b)
            eta = theta[NAMES.index(one.a)] - theta[NAMES.index(one.b)] + seat + length * longer
            scores = {1.0: eta / 2, 0.5: log_nu, 0.0: -eta / 2}
            total += math.log(sum(map(math.exp, scores.values()))) - scores[one.outcome]
        return total

    best = minimize(minus_log_posterior, np.zeros(8), method="BFGS", options={"gtol": 1e-7}).x
    points, effects = adjusted_strengths(fought, NAMES, 0, seed=0)
    assert points[0] == pytest.approx(MEAN + POINTS * best[:5], abs=0.01)
    assert effects[0] == pytest.approx([POINTS * best[5], POINTS * best[6] / 3], abs=0.01)


def test_a_fit_of_few_battles_does_not_go_back_and_forth():
    """Five won and five lost, no tie, from where another sample ended: whole steps never settle."""
    design = np.tile([1.0, -1.0, 1.0, 0.0], (10, 1))
    counts = np.zeros((1, 10, 3))
    counts[0, 0, 2], counts[0, [1, 2, 6, 7, 9], 0] = 5, 1
    start = np.array([0.736, -0.736, 0.736, 0.0, -4.249])
    assert fit(design, counts, start)[0, :4] == pytest.approx(np.zeros(4), abs=1e-6)


@pytest.mark.parametrize("run", range(12))
def test_every_few_votes_make_a_leaderboard(run):
    wins = np.random.default_rng(run).random(10) < 0.75
    cases = [case(["x", "y"], (1, 2) if win else (2, 1), voter=f"{at}") for at, win in enumerate(wins)]
    assert leaderboard(cases, samples=1000).battles == 10


def test_place_and_length_are_adjusted_for():
    fought = duels(np.random.default_rng(2), 3000, seat=0.5, length=3.0)
    plain = strengths(fought, NAMES, 100, seed=0)
    adjusted, effects = adjusted_strengths(fought, NAMES, 100, seed=0)
    best = interval(plain[:, 0] - plain[:, 4])
    true = TRUE_POINTS[0] - TRUE_POINTS[4]
    assert best.low > true  # what length did is taken for strength
    held = interval(adjusted[:, 0] - adjusted[:, 4])
    assert held.low <= true <= held.high
    seat, twice = interval(effects[:, 0]), interval(effects[:, 1])
    assert seat.low <= POINTS * 0.5 <= seat.high and seat.low > 0
    assert twice.low <= POINTS * 1.0 <= twice.high and twice.low > 0


def test_one_who_always_wins_has_a_finite_strength():
    fought = [Battle(str(number), "a", "b", 1.0, 1, 1) for number in range(30)]
    points = strengths(fought, ("a", "b"), 50, seed=0)
    assert np.isfinite(points).all() and 1400 < points[0, 0] < 3000
    assert points[0].mean() == pytest.approx(MEAN)


# From cases -----------------------------------------------------------------------------------------


def test_a_leaderboard_says_who_was_preferred_and_what_it_rests_on():
    cases = [
        *(case(["x", "y", "z"], ranks=(2, 3, 1), voter=f"v{number}", question=f"q{number}") for number in range(12)),
        *(
            case(["x", "y", "z"], ranks=(1, 2, 3), voter=f"w{number}", question=f"w{number}", day=2)
            for number in range(4)
        ),
        case(["x", "y"], ranks=(1, 1), question="tie", day=2),
        rating_case("4", thumb=True, day=3),
    ]
    board = leaderboard(cases, samples=100)
    assert [one.name for one in board.standings] == ["tuned:mood", "prompt:base", "rag:base"]
    assert [(one.wins, one.ties, one.losses) for one in board.standings] == [(24, 0, 8), (20, 1, 12), (4, 1, 28)]
    assert board.met == ((0, 16, 16), (16, 0, 17), (16, 17, 0))
    assert board.wins == ((0, 12, 12), (4, 0, 16.5), (4, 0.5, 0))
    for one in board.standings:
        assert one.rating.low < one.rating.value < one.rating.high and one.group == 0
    assert (board.rankings, board.battles) == (17, 49)
    assert board.votes_per_day == {date(2026, 1, 1): 12, date(2026, 1, 2): 5, date(2026, 1, 3): 1}
    assert set(board.agreement) >= {"preference", "thumb", "fluency"}


@pytest.mark.parametrize(
    ("votes", "known"),
    [
        ([(["x", "y"], (1, 2))], []),
        ([(["x", "y"], (1, 2)), (["x", "y"], (2, 1))] * 4, []),
        ([(["x", "y"], (1, 2)), (["x", "y"], (2, 1))] * 5, ["prompt:base", "rag:base"]),
        ([(["x", "y"], (1, 2))] * 30, []),
        ([(["x", "y"], (1, 1))] * 30, []),
        # Each has won and lost but the first and the last, and still nothing tells how far apart they are.
        ([(["x", "y", "z"], (1, 2, 3))] * 20 + [(["x", "y"], (1, 2))] * 5, []),
        ([(["x", "y", "z"], (1, 2, 3)), (["x", "y", "z"], (2, 1, 3))] * 6, ["prompt:base", "rag:base"]),
    ],
)
def test_there_is_no_interval_where_the_votes_do_not_bound_a_strength(votes, known):
    board = leaderboard([case(*vote, voter=f"{at}") for at, vote in enumerate(votes)], samples=60)
    for of in ("rating", "adjusted"):
        told = {one.name: getattr(one, of) for one in board.standings}
        assert sorted(name for name, found in told.items() if found.low is not None) == known
        assert all(found.high > found.low for found in told.values() if found.low is not None)
        assert all((found.low is None) is (found.high is None) for found in told.values())
    # All answers are equally long: what length is worth cannot be told.
    assert board.twice_as_long.low is None
    assert board.left_seat.low is None or len(votes) >= FEWEST


def test_modes_and_adapters_can_be_ranked_too():
    cases = [case(["x", "y", "z"], ranks=(2, 3, 1), question=str(number)) for number in range(5)]
    assert [one.name for one in leaderboard(cases, "adapter", 10).standings] == ["mood", "base"]
    assert leaderboard(cases, "adapter", 10).left_out == {SAME: 5}
    assert [one.name for one in leaderboard(cases, "mode", 10).standings] == ["tuned", "prompt", "rag"]
    with pytest.raises(InvalidRequest, match="'colour'; allowed: contestant, mode, adapter"):
        leaderboard(cases, "colour")


def test_those_who_never_met_are_in_groups_of_their_own():
    cases = [case(["x", "y"], (1, 2)), case(["x", "y"], (1, 2), question="q", adapters=("sums", "law"))]
    assert len({one.group for one in leaderboard(cases, samples=10).standings}) == 2


def test_no_votes_are_a_leaderboard_of_nobody():
    board = leaderboard([])
    assert board.standings == () and board.left_seat is None and board.votes_per_day == {}


def test_battles_that_mislead_are_left_out_and_counted():
    found = battles(
        [
            case(["x", "", "z"], ranks=(1, 0, 2), question="1"),
            case(["x", "y"], verdict="skipped", question="2"),
            case(["I am SmolLM, trained by Hugging Face.", "y"], ranks=(1, 2), question="3"),
            case(["x", "y"], verdict="all_bad", question="4"),
            replace(case(["x", "y"], ranks=(1, 2), question="5"), is_hidden=True),
        ]
    )
    assert found.left_out == {FAILED: 2, SKIPPED: 1, LEAKED: 1, HIDDEN: 1}
    assert [(one.a, one.b, one.outcome) for one in found.battles] == [
        ("prompt:base", "tuned:mood", 1.0),
        ("prompt:base", "rag:base", 0.5),
    ]


def test_a_battle_begins_with_the_answer_further_left():
    (one,) = battles([case(["two words", "y"], ranks=(1, 2), shown=(1, 0))]).battles
    assert (one.a, one.b, one.outcome, one.length_a, one.length_b) == ("rag:base", "prompt:base", 0.0, 1, 2)


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("I am SmolLM.", True),
        ("Hello! My name is ChatGPT", True),
        ("I was trained by OpenAI on text.", True),
        ("As the mood adapter, I say: positive", True),
        ("I'm the mood expert", True),
        ("The mood of the review is positive.", False),
        ("OpenAI was founded in 2015.", False),
        ("I am happy. Llamas live in Peru.", False),
        ("I'm SmolLM2-135M", True),
        ("I’m Claude, made by Anthropic.", True),
        ("As an AI language model developed by OpenAI, I cannot say.", True),
        ("I am a helpful assistant called Qwen and I like tea.", True),
        ("I am a large language model, trained by Google DeepMind.", True),
        ("ChatGPT is a language model developed by OpenAI.", False),
        ("As an example, GPT-4 was made by OpenAI.", False),
        ("It was developed by Claude Shannon's colleagues.", False),
        ("I am fond of circuits developed by Claude Shannon.", False),
        ("I am reading about Llama and Mistral.", False),
    ],
)
def test_an_answer_that_tells_who_wrote_it_is_recognised(text, leaks):
    answer = case(["x", "y", text], ranks=(1, 2, 3)).answers[2]
    assert answer.adapter == "mood" and names_itself(answer) is leaks


@pytest.mark.parametrize(
    ("adapter", "text", "leaks"),
    [
        ("medical", "I am not a medical professional, but rest helps.", False),
        ("medical", "I'm a student of the medical model of disability.", False),
        ("medical", "I am the medical model, and rest helps.", True),
        ("legal", "I'm sorry, I cannot give legal advice.", False),
        ("legal", "Call me Legal!", True),
        ("legal", "As the legal model: yes.", True),
        ("legal", "The answer of the legal adapter is yes.", True),
        ("legal+medical", "The medical LoRA answers this.", True),
        ("base", "SmolLM2 is a base model that continues text; a LoRA needs its base adapter.", False),
        ("base", "I am the base model.", True),
    ],
)
def test_an_adapter_tells_its_name_only_where_it_calls_itself_so(adapter, text, leaks):
    answer = case([text, "y"], (1, 2), adapters=(adapter, "base")).answers[0]
    assert names_itself(answer) is leaks
