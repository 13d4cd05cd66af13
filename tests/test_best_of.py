"""Best of n and rewards, over fakes: the fake judge prefers the longer text."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from assistant.errors import EngineFailed
from assistant.merge import AT_ONCE
from assistant.messages import BestOf, ChatRequest, Decoding, Done, Failed, Message
from tests.fakes import EchoBackend, fake_service, write_adapter


class Varying(EchoBackend):
    """Says as many words as its seed asks for."""

    async def generate(self, generation):
        self.words = generation.decoding.seed % 10
        async for item in super().generate(generation):
            yield item


def write_reward(folder: Path) -> None:
    write_adapter(folder, task="reward")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "task_type": "SEQ_CLS"}))


def asked(n: int = 4, judge: str = "judge", **decoding: object) -> ChatRequest:
    return ChatRequest(
        messages=(Message(role="user", content="hello"),),
        decoding=Decoding(**decoding),
        best_of=BestOf(n=n, judge=judge),
    )


@pytest.fixture
def service(tmp_path: Path):
    write_reward(tmp_path / "judge")
    write_adapter(tmp_path / "mood", decoding={"temperature": 0})
    return fake_service(tmp_path, Varying())


async def events_of(service, request):
    return [event async for event in service.reply(request)]


async def ending(service, request):
    return (await events_of(service, request))[-1]


async def test_the_best_of_several_is_the_answer_and_all_of_them_are_told(service):
    started, *drew, text, finished, done = await events_of(service, asked(seed=2))
    assert [(one.done, one.of) for one in drew] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert started.kind == "part_started" and text.text == done.text == "base: word1 word2 word3 word4"
    (part,) = done.parts
    assert finished.part == part and part.decoding.seed == 5 and part.usage.completion_tokens == 5
    assert [(one.seed, one.usage.completion_tokens) for one in part.drawn.candidates] == [
        (2, 2),
        (3, 3),
        (4, 4),
        (5, 5),
    ]
    assert part.drawn.judge == "judge" and part.drawn.digest == service.catalog.get("judge").digest
    rewards = [one.reward for one in part.drawn.candidates]
    assert rewards == sorted(rewards) and part.drawn.usage.completion_tokens == 14


async def test_one_turn_is_recorded_with_the_answers_that_were_not_chosen(service):
    done = await ending(service, asked(seed=2))
    ((turn_id, turn),) = service.store.turns.items()
    assert (turn_id, turn["parts"]) == (done.turn_id, done.parts) and turn["request"].best_of.n == 4
    assert turn["parts"][0].drawn.candidates[0].text == "base: word1"


async def test_the_adapters_own_temperature_gives_way(service):
    done = await ending(service, asked(seed=2).model_copy(update={"adapter": "mood"}))
    assert done.parts[0].decoding.temperature > 0 and done.text.startswith("mood: word1")


async def test_an_answer_without_a_word_comes_last(service):
    done = await ending(service, asked(n=3, seed=9))
    assert [one.reward is None for one in done.parts[0].drawn.candidates] == [False, True, False]
    assert done.parts[0].decoding.seed == 9


async def test_where_all_say_nothing_nobody_is_asked_to_judge(tmp_path: Path):
    write_reward(tmp_path / "judge")
    done = await ending(fake_service(tmp_path, EchoBackend(words=0)), asked(n=2))
    assert done.text == "" and [one.reward for one in done.parts[0].drawn.candidates] == [None, None]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asked(temperature=0), "temperature 0"),
        (asked(temperature=1e-9), "temperature 1e-09 gives one answer n times; allowed for best of n: from 1e-05"),
        (asked(judge="mood"), "writes answers and scores none"),
        (asked(judge="base"), "'base' scores no answers"),
        (asked(judge="judges"), "no adapter named 'judges'"),
    ],
)
async def test_what_cannot_be_ranked_is_refused_and_nothing_is_drawn(service, request_, words):
    end = await ending(service, request_)
    assert isinstance(end, Failed) and words in end.message and service.backend.seen == []


@pytest.mark.parametrize("n", [1, 17])
def test_two_to_sixteen_answers_can_be_drawn(n):
    with pytest.raises(ValidationError, match="2" if n == 1 else "16"):
        BestOf(n=n, judge="judge")


async def test_one_answer_that_fails_fails_the_turn(tmp_path: Path):
    write_reward(tmp_path / "judge")
    end = await ending(fake_service(tmp_path, EchoBackend(error=EngineFailed("broken"))), asked())
    assert (end.code, end.message) == ("engine_failed", "broken")


@pytest.mark.parametrize("max_batch", [3, 256])
async def test_leaving_cancels_all_that_are_drawn_and_few_are_drawn_at_once(tmp_path: Path, max_batch: int):
    write_reward(tmp_path / "judge")
    backend = EchoBackend(words=1000, pace=0.001)
    backend.max_batch = max_batch
    service = fake_service(tmp_path, backend)
    task = asyncio.create_task(events_of(service, asked(n=16)))
    async with asyncio.timeout(20):
        while backend.generated < 50:
            await asyncio.sleep(0.001)
    assert backend.running == min(AT_ONCE, max_batch)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.running == 0
    (turn,) = service.store.turns.values()
    assert turn["error"].code == "cancelled"


def judged(text: str, **changes: object) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content=text),), reward_by="judge", **changes)


async def test_a_finished_answer_is_given_its_reward_where_that_is_asked_for(service):
    """The fake's reward is a length: `<user>hello<assistant>` is 22 characters, the answer `base: word1` is 11."""
    done = await ending(service, judged("hello", decoding=Decoding(seed=2)))
    reward = done.parts[0].reward
    assert (reward.judge, reward.score) == ("judge", 33.0) and reward.digest == service.catalog.get("judge").digest
    short = (Message(role="user", content="hi"),)
    done = await ending(service, judged("hello", decoding=Decoding(seed=2), judged=short))
    assert done.parts[0].reward.score == 30.0


async def test_the_reward_of_a_best_of_by_the_same_judge_is_what_it_was_chosen_by(service):
    request = judged("hello", decoding=Decoding(seed=2), best_of=BestOf(n=3, judge="judge"))
    (part,) = (await ending(service, request)).parts
    assert part.reward.score == max(one.reward for one in part.drawn.candidates)


@pytest.mark.parametrize(
    ("name", "seed", "words"),
    [("mood", 2, "scores none"), ("nobody", 2, "no adapter named"), ("judge", 10, "nothing to be judged by")],
)
async def test_an_answer_that_cannot_be_judged_is_an_answer_all_the_same(service, name, seed, words):
    request = judged("hello", decoding=Decoding(seed=seed)).model_copy(update={"reward_by": name})
    done = await ending(service, request)
    assert isinstance(done, Done) and done.parts[0].reward.score is None and words in done.parts[0].reward.error
