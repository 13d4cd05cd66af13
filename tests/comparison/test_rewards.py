"""Columns that draw several answers, and rewards of all columns, over a fake judge that prefers the longer text."""

from __future__ import annotations

import asyncio
import csv
import io
from contextlib import aclosing

import pytest

from assistant.comparison.batch import Batches
from assistant.comparison.comparator import Comparator
from assistant.comparison.events import ColumnEvent
from assistant.comparison.questions import Question
from assistant.comparison.request import ComparisonRequest, Contestant, FewShot, Setup
from assistant.comparison.results import FIELDS, as_object, averages, table, to_csv
from assistant.errors import InvalidRequest, NotFound, QueueFull, UnknownAdapter
from assistant.feedback.batches import BatchStore
from assistant.feedback.leaderboard import leaderboard
from assistant.feedback.votes import Filters, Ranking, VoteStore
from assistant.messages import BestOf, Decoding, Done, Drew, PartFinished, TextDelta
from tests.comparison.conftest import collect
from tests.fakes import EchoBackend
from tests.test_best_of import Varying, write_reward

BEST = Contestant(mode="prompt", best_of=BestOf(n=3, judge="taste"))
PLAIN = Contestant(mode="prompt")
SHOWN = Contestant(mode="few-shot")


def asked(**changes: object) -> ComparisonRequest:
    contestants = (PLAIN, BEST, SHOWN)
    examples = (FewShot(question="one plus one", answer="two"),)
    whole = {"question": "two plus two", "contestants": contestants, "examples": examples, "seed": 2}
    return ComparisonRequest(**{**whole, **changes})


@pytest.fixture
def comparator(adapters, compare_over) -> Comparator:
    write_reward(adapters / "taste")
    return compare_over(Varying())


async def run(comparator, request, owner="ann"):
    events = await collect(comparator.run(request, owner))
    return events, comparator.store.comparison(events[0].id, owner)


def column(events, place):
    return [one.event for one in events if isinstance(one, ColumnEvent) and one.column == place]


async def test_a_best_of_column_tells_how_far_it_is_and_then_its_winner(comparator):
    events, kept = await run(comparator, asked())
    own = column(events, 1)
    assert [(one.done, one.of) for one in own if isinstance(one, Drew)] == [(1, 3), (2, 3), (3, 3)]
    (text,) = [one.text for one in own if isinstance(one, TextDelta)]
    assert text == "base: word1 word2 word3" == kept.columns[1].text
    assert not any(isinstance(one, Drew) for one in column(events, 0))
    (part,) = kept.columns[1].parts
    assert part.decoding.seed == 4 and part.prompt and [one.seed for one in part.drawn.candidates] == [2, 3, 4]
    # The first that is drawn has the seed of the column beside it, but for the temperature.
    assert part.drawn.candidates[0].text == kept.columns[0].text


async def test_its_cost_is_that_of_all_that_were_drawn(comparator):
    _, kept = await run(comparator, asked())
    plain, best, _ = table([kept])
    assert (plain["tokens"], best["tokens"]) == (2, 2 + 3 + 4) and best["prompt_tokens"] == 3 * plain["prompt_tokens"]
    assert best["seconds"] == best["first_token"] == kept.columns[1].parts[0].drawn.seconds > 0
    assert (best["contestant"], best["mode"], best["best_of"], best["judge"]) == (
        "prompt, best of 3 by taste", "prompt", 3, "taste"
    )  # fmt: skip
    assert (plain["best_of"], plain["judge"], plain["reward"]) == (None, None, None)
    told = as_object(kept)["columns"][1]
    assert (told["mode"], told["best_of"], told["reward"]) == ("prompt", {"n": 3, "judge": "taste"}, None)
    assert len(told["parts"][0]["drawn"]["candidates"]) == 3


async def test_all_columns_are_judged_as_answers_to_the_question_alone(comparator):
    """However they were asked: two answers of one text have one reward, and it is that of the best of n."""
    _, kept = await run(comparator, asked(reward_by="taste", system="Be short."))
    plain, best, shown = (one.parts[0].reward for one in kept.columns)
    assert kept.columns[0].text == kept.columns[2].text and plain == shown
    said = len("<system>Be short.<user>two plus two<assistant>")
    assert [plain.score, best.score] == [said + len(one.text) for one in kept.columns[:2]]
    assert best.score == max(one.reward for one in kept.columns[1].parts[0].drawn.candidates)
    rows = table([kept])
    assert [row["reward"] for row in rows] == [plain.score, best.score, shown.score]
    assert averages(rows)[1]["reward"] == best.score
    (_, second, _) = csv.DictReader(io.StringIO(to_csv(rows)))
    assert (second["best_of"], second["judge"], float(second["reward"])) == ("3", "taste", best.score)


async def test_the_reward_is_in_the_last_word_on_a_column(comparator):
    events, kept = await run(comparator, asked(reward_by="taste"))
    for place in range(3):
        done = column(events, place)[-1]
        assert isinstance(done, Done) and done.parts[0].reward == kept.columns[place].parts[0].reward is not None


async def test_before_the_names_are_told_neither_judge_nor_rewards_nor_progress_are(comparator):
    events, kept = await run(comparator, asked(blind=True, reward_by="taste"))
    assert not any(isinstance(one, ColumnEvent) and isinstance(one.event, Drew) for one in events)
    for event in events:
        if isinstance(event, ColumnEvent) and isinstance(event.event, PartFinished | Done):
            parts = [event.event.part] if isinstance(event.event, PartFinished) else event.event.parts
            assert all(part.reward is None and part.drawn is None for part in parts)
    assert all(one.parts[0].reward is None and one.parts[0].drawn is None for one in kept.columns)
    for row in table([kept]):
        assert {row[name] for name in FIELDS if name in ("best_of", "judge", "reward", "contestant")} == {None}
    assert all("reward" not in one and "best_of" not in one for one in as_object(kept)["columns"])
    told = comparator.store.reveal(kept.id, "ann")
    assert all(one.parts[0].reward is not None for one in told.columns)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"reward_by": "mood"}, InvalidRequest, "writes answers and scores none"),
        ({"reward_by": "base"}, InvalidRequest, "scores no answers"),
        ({"reward_by": "tast"}, UnknownAdapter, "no adapter named 'tast'"),
        (
            {"contestants": (PLAIN, Contestant(mode="prompt", best_of=BestOf(n=2, judge="mood")))},
            InvalidRequest,
            "writes answers and scores none",
        ),
    ],
)
async def test_who_cannot_judge_is_refused_before_anything_is_asked(comparator, changes, error, words):
    with pytest.raises(error, match=words):
        await collect(comparator.run(asked(**changes), "ann"))
    batches = Batches(comparator, BatchStore(comparator.store.database))
    with pytest.raises(error, match=words):
        await batches.start_batch("ann", "", [Question(1, "why?")], asked(**changes).setup)
    assert comparator.store.comparisons("ann") == [] == comparator.service.backend.seen


def test_a_temperature_of_0_is_refused_for_a_best_of():
    with pytest.raises(InvalidRequest, match="temperature 0 gives one answer n times"):
        Contestant(mode="prompt", best_of=BestOf(n=2, judge="taste"), decoding=Decoding(temperature=0))


def test_one_way_with_and_without_a_choice_are_two_contestants():
    both = asked(contestants=(PLAIN, BEST), examples=())
    assert both.labels == ("prompt", "prompt, best of 3 by taste") and both.judges == ("taste",)
    with pytest.raises(InvalidRequest, match="'prompt, best of 3 by taste' stands twice"):
        asked(contestants=(BEST, BEST))


async def test_leaving_stops_all_that_are_drawn(adapters, compare_over, comparisons):
    write_reward(adapters / "taste")
    backend = EchoBackend(words=1000, pace=0.001)
    async with aclosing(compare_over(backend).run(asked(contestants=(PLAIN, BEST)), "ann")) as events:
        async with asyncio.timeout(20):
            async for _ in events:
                if backend.running == 4:
                    break
    assert backend.running == 0
    (kept,) = comparisons.comparisons("ann")
    states = [one.state for one in comparisons.comparison(kept.id, "ann").columns]
    assert kept.state == "cancelled" and states == ["cancelled", "cancelled"]


class Narrow(EchoBackend):
    """Computes `max_batch` at once, and has no queue: refuses whatever comes beyond."""

    def __init__(self, max_batch: int) -> None:
        super().__init__(words=3, pace=0.001)
        self.max_batch = max_batch

    def take(self, count: int) -> None:
        if self.running + count > self.max_batch:
            raise QueueFull("no more wait", 1)

    async def generate(self, generation):
        self.take(1)
        async with aclosing(super().generate(generation)) as items:
            async for item in items:
                yield item

    async def score(self, adapter, prompts):
        count = min(len(prompts), self.max_batch)
        self.take(count)
        self.running += count
        await asyncio.sleep(0.001)
        self.running -= count
        return await super().score(adapter, prompts)


@pytest.mark.parametrize("max_batch", [1, 2, 3, 4])
async def test_however_little_is_computed_at_once_no_column_of_an_idle_server_is_refused(
    adapters, compare_over, comparisons, max_batch
):
    write_reward(adapters / "taste")
    comparator = compare_over(Narrow(max_batch))
    several = (PLAIN, BEST, Contestant(mode="tuned", adapter="sums", best_of=BestOf(n=4, judge="taste")), SHOWN)
    requests = [asked(contestants=several, reward_by="taste", seed=seed) for seed in range(3)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(collect(comparator.run(request, "ann")) for request in requests))
    kept = [comparisons.comparison(one.id, "ann") for one in comparisons.comparisons("ann")]
    assert [[one.error for one in each.columns] for each in kept] == [[None] * 4] * 3


async def test_one_that_is_left_while_it_waits_gives_its_place_to_others(adapters, compare_over, comparisons):
    write_reward(adapters / "taste")
    backend = EchoBackend(words=1000, pace=0.001)
    backend.max_batch = 2
    comparator = compare_over(backend)
    first, second = (
        asyncio.create_task(collect(comparator.run(asked(contestants=(PLAIN, BEST)), "ann"))) for _ in range(2)
    )
    async with asyncio.timeout(20):
        while backend.generated < 20:
            await asyncio.sleep(0.001)
        assert backend.running == 1, "three answers wait for both places"
        for task in (first, second):
            task.cancel()
        await asyncio.wait([first, second])
        backend.words = 3
        events = await collect(comparator.run(asked(), "ann"))
    assert [one.error for one in comparisons.comparison(events[0].id, "ann").columns] == [None] * 3


async def test_a_best_of_is_a_contestant_of_its_own_where_votes_are_counted(comparator):
    _, kept = await run(comparator, asked(contestants=(PLAIN, BEST)))
    votes = VoteStore(comparator.store.database)
    votes.rank("ann", Ranking(comparison_id=kept.id, verdict="ranked", ranks=(2, 1)))
    cases = votes.votes(Filters())
    board = leaderboard(cases, samples=20)
    assert [one.name for one in board.standings] == ["prompt, best of 3 by taste:base", "prompt:base"]
    assert leaderboard(cases, "mode", samples=20).battles == 1
    # Its length is that of the answer that was read, not of all that were drawn.
    assert cases[0].answers[1].tokens == 4
    assert votes.votes(Filters(modes=frozenset({"prompt"}))) == cases


async def test_answers_that_are_there_can_be_judged_later_and_again(adapters, comparator):
    write_reward(adapters / "second")
    _, kept = await run(comparator, asked())
    judged = await comparator.judge(kept.id, "ann", "taste")
    assert [one.parts[0].reward.judge for one in judged.columns] == ["taste"] * 3
    assert [one.text for one in judged.columns] == [one.text for one in kept.columns]
    again = await comparator.judge(kept.id, "ann", "second")
    assert comparator.store.comparison(kept.id, "ann") == again
    assert {one.parts[0].reward.judge for one in again.columns} == {"second"}
    assert [one.parts[0].reward.score for one in again.columns] == [one.parts[0].reward.score for one in judged.columns]


async def test_what_is_hidden_not_over_or_another_s_is_not_judged(comparator):
    _, kept = await run(comparator, asked(blind=True))
    with pytest.raises(InvalidRequest, match="names are hidden"):
        await comparator.judge(kept.id, "ann", "taste")
    with pytest.raises(NotFound):
        await comparator.judge(kept.id, "ben", "taste")
    running, _ = comparator.store.begin("ann", "why?", asked().record(), asked().seats, False)
    with pytest.raises(InvalidRequest, match="still being written"):
        await comparator.judge(running, "ann", "taste")


async def test_a_set_of_questions_carries_rewards_and_choices(comparator):
    store = BatchStore(comparator.store.database)
    batches = Batches(comparator, store)
    await batches.start()
    setup = Setup(contestants=(PLAIN, BEST), seed=2, reward_by="taste")
    batch_id = await batches.start_batch("ann", "", [Question(1, "why?"), Question(2, "how so?")], setup)
    async with asyncio.timeout(20):
        while store.batch(batch_id, "ann").state == "running":
            await asyncio.sleep(0.01)
    await batches.stop()
    rows = table(store.rows(batch_id, "ann"))
    assert [row["best_of"] for row in rows] == [None, 3, None, 3] and all(row["reward"] for row in rows)
    plain, best = averages(rows)
    assert best["reward"] > plain["reward"] and best["tokens"] == 9
