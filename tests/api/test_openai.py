"""OpenAI's endpoints, asked by OpenAI's own client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import openai
import pytest

from assistant.errors import QueueFull
from assistant.merge import AT_ONCE
from assistant.messages import Message
from tests.fakes import EchoBackend


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def prompt_of(generation) -> str:
    return "".join(map(chr, generation.prompt))


def test_a_chat_answers_with_text_usage_and_who_answered(connect):
    client = connect()
    answer = client.chat.completions.create(model="mood", messages=ask("great"), temperature=1)
    (choice,) = answer.choices
    assert (answer.object, answer.model, answer.system_fingerprint) == ("chat.completion", "mood", "0" * 12)
    assert answer.id.startswith("chatcmpl-")
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "mood: word1 word2",
        "length",
    )
    prompt = len("<user>great<assistant>")
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": prompt,
        "completion_tokens": 3,
        "total_tokens": prompt + 3,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    (part,) = answer.swapboard["parts"]
    assert answer.swapboard["turn_id"] in client.service.store.turns
    assert (part["adapter"], part["digest"]) == ("mood", client.service.catalog.get("mood").digest)
    assert part["decoding"]["temperature"] == 1 and part["decoding"]["seed"] is not None


def test_a_stream_has_the_same_text_then_the_reason_and_the_record(connect):
    client = connect()
    chunks = list(client.chat.completions.create(model="base", messages=ask("hi"), stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant" and all(delta.role is None for delta in deltas[1:])
    assert [d.content for d in deltas] == ["", "base:", " word1", " word2", " word3", " word4", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 6 + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1 and {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1].swapboard["turn_id"] in client.service.store.turns
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_usage_where_it_is_asked_for(connect):
    stream = connect().chat.completions.create(
        model="base", messages=ask("hi"), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == [] and last.usage.completion_tokens == 5


def test_every_event_leaves_as_soon_as_it_is_there(connect):
    backend = EchoBackend(words=1000, pace=0.002)
    with connect(backend).chat.completions.create(
        model="base", messages=ask("hi"), max_tokens=1000, stream=True
    ) as stream:
        next(stream)
        next(stream)
        assert backend.generated < 500


def test_several_intents_are_parts_of_one_answer(connect):
    client = connect()
    question = {"model": "auto", "messages": ask("mood and sums")}
    answer = client.chat.completions.create(**question)
    assert answer.choices[0].message.content == "mood: word1 word2\n\nsums: word1 word2 word3 word4"
    assert answer.choices[0].finish_reason == "length" and answer.model == "auto"
    assert [part["adapter"] for part in answer.swapboard["parts"]] == ["mood", "sums"]
    chunks = list(client.chat.completions.create(**question, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.choices[0].message.content
    started = [c.swapboard["part"]["adapter"] for c in chunks if "part" in (getattr(c, "swapboard", None) or {})]
    assert started == ["mood", "sums"]


def test_developer_messages_text_parts_and_earlier_answers_are_understood(connect):
    client = connect()
    first = client.chat.completions.create(model="base", messages=ask("one"))
    client.chat.completions.create(
        model="base",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "more"}]},
            first.choices[0].message,
            {"role": "user", "content": "two"},
        ],
    )
    *_, request = client.service.store.turns.values()
    assert request["request"].messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="one\nmore"),
        Message(role="assistant", content="base: word1 word2 word3 word4"),
        Message(role="user", content="two"),
    )


def test_only_what_was_asked_for_overrides_the_defaults(connect):
    client = connect()
    client.chat.completions.create(model="mood", messages=ask("x"), top_p=None)
    client.chat.completions.create(
        model="mood",
        messages=ask("x"),
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop="end",
        max_completion_tokens=4,
        extra_body={"top_k": 3, "repetition_penalty": 1.1},
    )
    default, asked = client.service.backend.seen
    assert (default.decoding.temperature, default.decoding.max_tokens, default.caps_length) == (0, 3, True)
    assert asked.decoding.model_dump() == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "repetition_penalty": 1.1,
        "seed": 7,
        "max_tokens": 4,
        "stop": ("end",),
        "logprobs": None,
        "constraint": None,
    }
    assert not asked.caps_length


@pytest.mark.parametrize("model", ["base", "mood"])
def test_a_request_may_ask_for_words_of_its_message_only(connect, model):
    client = connect()
    told = ask("The mill burnt down in May. When did the mill burn down?")
    client.chat.completions.create(model=model, messages=told, extra_body={"constraint": "span"})
    [asked] = client.service.backend.seen
    assert asked.decoding.constraint == "span"
    assert asked.span_sources == (told[-1]["content"],)
    with pytest.raises(openai.BadRequestError, match=r"constraint.*span"):
        client.chat.completions.create(model=model, messages=told, extra_body={"constraint": "json"})
    assert len(client.service.backend.seen) == 1


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1, "logprobs": False, "presence_penalty": 0.0, "frequency_penalty": 0},
        {"response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "store": False},
        {"user": "u-1", "metadata": {"run": "3"}, "temperature": None, "stop": None, "seed": None},
    ],
)
def test_neutral_values_of_fields_that_are_not_offered_are_taken(connect, neutral):
    assert connect().chat.completions.create(model="base", messages=ask("x"), **neutral).choices


def test_concurrent_streams_each_get_the_text_of_their_own_adapter(connect):
    client = connect(EchoBackend(words=20, pace=0.001))

    def stream(model: str) -> str:
        chunks = client.chat.completions.create(model=model, messages=ask("x"), max_tokens=20, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    models = ["base", "mood", "sums"] * 4
    with ThreadPoolExecutor(len(models)) as pool:
        answers = list(pool.map(stream, models))
    words = "".join(f" word{index}" for index in range(1, 20))
    assert answers == [f"{model}:{words}" for model in models]


def test_raw_text_is_continued(connect):
    client = connect()
    answer = client.completions.create(model="sums", prompt="once", max_tokens=2)
    assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "text_completion",
        "sums: word1",
        "length",
    )
    assert answer.id.startswith("cmpl-") and answer.usage.prompt_tokens == len("once")
    assert prompt_of(client.service.backend.seen[0]) == "once"


def test_several_prompts_are_several_choices_in_order(connect):
    client = connect(EchoBackend(words=3, pace=0.001))
    prompts = ["a", "bb", "ccc"]
    answer = client.completions.create(model="base", prompt=prompts)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.prompt_tokens == 6 and answer.usage.completion_tokens == 9
    turns = client.service.store.turns
    assert [turns[turn["turn_id"]]["request"].prompt for turn in answer.swapboard["turns"]] == prompts


class FullBackend(EchoBackend):
    """Refuses whatever comes while as many requests run as one client may have at once."""

    async def generate(self, generation):
        if self.running >= min(AT_ONCE, self.max_batch):
            raise QueueFull("many requests wait already", 2)
        async with aclosing(super().generate(generation)) as pieces:
            async for piece in pieces:
                yield piece


@pytest.mark.parametrize("max_batch", [2, 256])
def test_very_many_prompts_of_one_request_do_not_fill_the_queue(connect, max_batch):
    backend = FullBackend(words=2, pace=0.001)
    backend.max_batch = max_batch
    client = connect(backend)
    answer = client.completions.create(model="base", prompt=["a"] * 128)
    assert [choice.text for choice in answer.choices] == ["base: word1"] * 128


def test_several_prompts_stream_side_by_side(connect):
    client = connect(EchoBackend(words=4, pace=0.002))
    texts, ends, usage = {0: "", 1: ""}, {}, None
    order = []
    for chunk in client.completions.create(
        model="base", prompt=["a", "b"], stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            order.append(choice.index)
            if choice.finish_reason:
                ends[choice.index] = (choice.finish_reason, chunk.swapboard["turn_id"])
    assert texts == {0: "base: word1 word2 word3", 1: "base: word1 word2 word3"}
    assert {index: reason for index, (reason, _) in ends.items()} == {0: "stop", 1: "stop"}
    assert usage.completion_tokens == 8
    assert order.index(1) < len(order) - 1 - order[::-1].index(0), "the second waited for the first"


def test_the_models_are_base_auto_and_every_usable_adapter(connect, folder):
    client = connect()
    (folder / "broken").mkdir()
    models = {model.id: model for model in client.models.list()}
    assert list(models) == ["base", "auto", "mood", "sums"]
    assert (models["base"].root, models["base"].parent, models["base"].max_model_len) == ("fake-base", None, 2000)
    assert models["mood"].root == f"mood@{client.service.catalog.get('mood').digest}"
    assert models["mood"].parent == "base" and models["mood"].object == "model"
    assert client.models.retrieve("sums") == models["sums"]
