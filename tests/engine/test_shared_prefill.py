"""What prompts that come together begin with is read once."""

from __future__ import annotations

import pytest

from assistant.engine.scheduler import WORTH_SHARING
from assistant.engine.sequence import State
from tests import tiny
from tests.engine.harness import Bench

COMMON = [10 + i % 80 for i in range(120)]
"""A long beginning; every token is a byte."""

ENDINGS = ([1, 2, 3], [4] * 30, [5, 6])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.write_base(tmp_path_factory.mktemp("base"), "llama")


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    return {
        "base": None,
        "lora": tiny.write_adapter(folder / "lora", base, tiny.lora_config(), 1),
        "prompt": tiny.write_adapter(folder / "prompt", base, tiny.soft_config("prompt", 6), 2),
        "prefix": tiny.write_adapter(folder / "prefix", base, tiny.soft_config("prefix", 6), 3, size=2.0),
    }


@pytest.fixture
def bench(base):
    bench = Bench(base)
    yield bench
    bench.close()


def alone(base, prompt, adapter=None, **options):
    bench = Bench(base)
    answer = bench.submit(prompt, adapter, **options)
    bench.run()
    bench.close()
    return answer.ids


def warm(bench, adapter):
    """Load the adapter, so that all who ask for it later are admitted at once."""
    bench.submit([200], adapter, 1)
    bench.run()


@pytest.mark.parametrize("kind", ["base", "lora", "prompt", "prefix"])
def test_prompts_that_come_together_read_their_common_beginning_once(bench, base, adapters, kind):
    warm(bench, adapters[kind])
    before = bench.engine.prefilled_tokens
    answers = [bench.submit([*COMMON, *ending], adapters[kind]) for ending in ENDINGS]
    bench.run()
    # Virtual positions of a prompt are read with the first, a learned prefix is never read.
    virtual = 6 if kind == "prompt" else 0
    assert bench.engine.prefilled_tokens - before == virtual + len(COMMON) + sum(map(len, ENDINGS))
    for ending, answer in zip(ENDINGS, answers, strict=True):
        assert answer.ids == alone(base, [*COMMON, *ending], adapters[kind])
    assert [a.finished.usage.cached_tokens for a in answers] == [0, len(COMMON), len(COMMON)]


def test_the_same_prompt_in_all_columns_is_read_once(bench, base):
    answers = [bench.submit(COMMON, temperature=1.0, seed=seed) for seed in range(4)]
    bench.run()
    # One token is always left to run, so that there is something to pick the next one from.
    assert bench.engine.prefilled_tokens == len(COMMON) + 3
    for seed, answer in enumerate(answers):
        assert answer.ids == alone(base, COMMON, temperature=1.0, seed=seed)
    assert len({tuple(answer.ids) for answer in answers}) > 1


def test_beginnings_that_grow_from_prompt_to_prompt_are_each_read_once(bench, base):
    prompts = [[*COMMON[:60], 1], [*COMMON[:100], 2], [*COMMON, 3]]
    answers = [bench.submit(prompt) for prompt in prompts]
    bench.run()
    assert bench.engine.prefilled_tokens == 61 + 41 + 21
    assert [a.ids for a in answers] == [alone(base, prompt) for prompt in prompts]


def test_nothing_is_shared_across_adapters_and_nobody_waits(bench, base, adapters):
    warm(bench, adapters["lora"])
    before = bench.engine.prefilled_tokens
    answers = [bench.submit([*COMMON, 1], adapters[kind]) for kind in ("base", "lora")]
    bench.step()
    assert [a.sequence.state for a in answers] == [State.RUNNING] * 2
    bench.run()
    assert bench.engine.prefilled_tokens - before == 2 * (len(COMMON) + 1)
    assert [a.ids for a in answers] == [alone(base, [*COMMON, 1], adapters[k]) for k in ("base", "lora")]


def test_a_short_common_beginning_is_worth_no_wait(bench):
    start = COMMON[: WORTH_SHARING - 1]
    answers = [bench.submit([*start, ending, *COMMON]) for ending in (1, 2)]
    bench.step()
    assert [a.sequence.state for a in answers] == [State.RUNNING] * 2
    bench.run()


def test_a_stranger_passes_one_that_waits_to_share(bench, base):
    leader, follower, stranger = bench.submit([*COMMON, 1]), bench.submit([*COMMON, 2]), bench.submit([7, 7, 7])
    bench.step()
    assert [a.sequence.state for a in (leader, follower, stranger)] == [State.RUNNING, State.WAITING, State.RUNNING]
    bench.run()
    assert stranger.ids == alone(base, [7, 7, 7])


def test_whoever_passes_takes_no_place_from_one_that_waits_to_share(base):
    bench = Bench(base, max_batch=2, slots=2)
    leader, follower, stranger = bench.submit([*COMMON, 1]), bench.submit([*COMMON, 2]), bench.submit([7, 7, 7])
    while follower.sequence.state is State.WAITING:
        bench.step()
        assert stranger.sequence.state is State.WAITING
    assert leader.sequence.generated == 2, "it joined in the very step after the beginning was read"
    bench.run()
    assert all(a.finished for a in (leader, follower, stranger))
    bench.close()


def test_it_waits_no_longer_than_the_beginning_takes_to_read(base):
    bench = Bench(base, prefill_chunk=16)
    bench.submit([*COMMON, *[9] * 200])
    follower = bench.submit([*COMMON, 2])
    bench.step(len(COMMON) // 16 + 2)
    assert follower.sequence.state is State.RUNNING and follower.sequence.cached == len(COMMON)
    bench.run()
    bench.close()


def test_where_the_one_that_reads_is_cancelled_the_other_reads_on_its_own(bench, base):
    leader, follower = bench.submit([*COMMON, 1]), bench.submit([*COMMON, 2])
    bench.step(3)
    assert follower.sequence.state is State.WAITING
    bench.engine.cancel(leader.sequence)
    bench.run()
    assert follower.ids == alone(base, [*COMMON, 2])


def test_one_that_waits_to_share_can_be_cancelled(bench):
    leader, follower = bench.submit([*COMMON, 1], None, 2), bench.submit([*COMMON, 2])
    bench.step()
    bench.engine.cancel(follower.sequence)
    bench.run()
    assert leader.finished and follower.sequence.state is State.CANCELLED and follower.items == []


def test_a_beginning_that_lies_in_a_slot_already_is_not_waited_for(bench, base):
    bench.submit([*COMMON, 1], None, 1)
    bench.run()
    # The leader has its beginning from the slot as well, and reads on where the follower differs.
    leader, follower = bench.submit([*COMMON, *[8] * 90]), bench.submit([*COMMON, 2])
    bench.step()
    assert follower.sequence.state is not State.WAITING
    bench.run()
    assert follower.ids == alone(base, [*COMMON, 2]) and leader.ids == alone(base, [*COMMON, *[8] * 90])


def test_a_prompt_that_is_scored_is_read_whole_and_waits_for_nobody(bench):
    leader = bench.submit([*COMMON, 1])
    scored = bench.submit([*COMMON, 2], None, 0, echo=True, logprobs=0)
    bench.step()
    assert scored.sequence.state is State.RUNNING
    bench.run()
    assert len(scored.finished.prompt_scores) == len(COMMON) + 1 and leader.finished
