"""Best of n, over fakes: the fake judge prefers the longer text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.best_of import NotAnswered, best_of
from assistant.errors import EngineFailed, InvalidRequest
from assistant.messages import ChatRequest, Decoding, Message
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


def asked(**decoding: object) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content="hello"),), decoding=Decoding(**decoding))


@pytest.fixture
def service(tmp_path: Path):
    write_reward(tmp_path / "judge")
    write_adapter(tmp_path / "mood")
    return fake_service(tmp_path, Varying())


async def test_answers_are_ranked_by_the_judge_and_each_has_a_seed_of_its_own(service):
    ranked = await best_of(service, asked(seed=2), "judge", 4)
    assert [one.done.parts[0].decoding.seed for one in ranked] == [5, 4, 3, 2]
    assert [one.reward for one in ranked] == sorted((one.reward for one in ranked), reverse=True)
    assert len({one.done.turn_id for one in ranked}) == 4
    assert all(one.done.parts[0].decoding.temperature > 0 for one in ranked)


async def test_an_answer_without_a_word_comes_last(service):
    ranked = await best_of(service, asked(seed=10), "judge", 3)
    assert [one.text for one in ranked][-1] == "" and ranked[-1].reward == float("-inf")


@pytest.mark.parametrize(
    ("request_", "judge", "n", "words"),
    [
        (asked(), "judge", 0, "allowed are 1 to 16"),
        (asked(), "judge", 17, "allowed are 1 to 16"),
        (asked(temperature=0), "judge", 2, "temperature 0"),
        (asked(seed=1), "mood", 2, "writes answers and scores none"),
        (asked(seed=1), "base", 2, "'base' scores no answers"),
    ],
)
async def test_what_cannot_be_ranked_is_refused(service, request_, judge, n, words):
    with pytest.raises(InvalidRequest, match=words):
        await best_of(service, request_, judge, n)


async def test_one_answer_that_fails_fails_the_call(tmp_path: Path):
    write_reward(tmp_path / "judge")
    service = fake_service(tmp_path, EchoBackend(error=EngineFailed("broken")))
    with pytest.raises(NotAnswered, match="broken") as refusal:
        await best_of(service, asked(), "judge", 3)
    assert refusal.value.code == "engine_failed"
