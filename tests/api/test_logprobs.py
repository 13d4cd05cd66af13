"""Scores, echoed prompts and token ids, in OpenAI's shapes and read by OpenAI's own client."""

from __future__ import annotations

import pytest

from assistant.api.logprobs import chat_logprobs, text_logprobs
from assistant.messages import TokenScore, TopToken

CHAT = {"model": "base", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}


def test_a_chat_gives_each_tokens_score_bytes_and_likeliest_tokens(connect):
    (choice,) = connect().chat.completions.create(**CHAT, logprobs=True, top_logprobs=2).choices
    first, second = choice.logprobs.content
    assert (first.token, first.logprob, first.bytes) == ("base:", -0.25, list(b"base:"))
    assert [(top.token, top.logprob, top.bytes) for top in second.top_logprobs] == [
        (" word10", -0.125, list(b" word10")),
        (" word11", -0.25, list(b" word11")),
    ]
    assert choice.logprobs.refusal is None


def test_a_chat_without_top_logprobs_gives_none_of_them(connect):
    client = connect()
    (choice,) = client.chat.completions.create(**CHAT, logprobs=True).choices
    assert [token.top_logprobs for token in choice.logprobs.content] == [[], []]
    for silent in ({}, {"logprobs": False}, {"logprobs": False, "top_logprobs": 0}):
        assert client.chat.completions.create(**CHAT, **silent).choices[0].logprobs is None


def test_a_streamed_chat_gives_the_same_scores_with_their_text(connect):
    client = connect()
    whole = client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=1).choices[0].logprobs.content
    chunks = list(client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=1, stream=True))
    scored = [chunk.choices[0] for chunk in chunks if chunk.choices[0].logprobs]
    assert [token for choice in scored for token in choice.logprobs.content] == whole
    assert ["".join(t.token for t in choice.logprobs.content) for choice in scored] == [c.delta.content for c in scored]


def test_several_parts_give_the_scores_of_them_all(connect):
    question = [{"role": "user", "content": "mood and sums"}]
    (choice,) = connect().chat.completions.create(model="auto", messages=question, logprobs=True).choices
    tokens = [token.token for token in choice.logprobs.content]
    assert tokens[:2] == ["mood:", " word1"] and tokens[3:5] == ["sums:", " word1"]


def test_an_echoed_completion_begins_with_its_prompt_and_scores_it(connect):
    (choice,) = connect().completions.create(model="base", prompt="abc", echo=True, logprobs=1, max_tokens=2).choices
    logprobs = choice.logprobs
    assert choice.text == "abcbase: word1" == "".join(logprobs.tokens)
    assert logprobs.tokens == ["a", "b", "c", "base:", " word1"]
    assert logprobs.token_logprobs == [None, -0.5, -0.5, -0.25, -0.5]
    assert logprobs.top_logprobs[0] is None
    assert logprobs.top_logprobs[3] == {"base:0": -0.125, "base:": -0.25}
    assert logprobs.text_offset == [0, 1, 2, 3, 8]
    assert [
        choice.text[at:][: len(token)] for at, token in zip(logprobs.text_offset, logprobs.tokens, strict=True)
    ] == (logprobs.tokens)


def test_a_prompt_is_scored_alone(connect):
    answer = connect().completions.create(model="base", prompt="abc", echo=True, logprobs=0, max_tokens=0)
    assert answer.choices[0].text == "abc" and answer.choices[0].logprobs.tokens == ["a", "b", "c"]
    assert answer.usage.completion_tokens == 0


def test_an_echo_without_scores_is_only_text(connect):
    (choice,) = connect().completions.create(model="base", prompt="abc", echo=True, max_tokens=1).choices
    assert (choice.text, choice.logprobs) == ("abcbase:", None)


@pytest.mark.parametrize("prompt", ["abc", ["abc", "de"], [97, 98, 99], [[97, 98, 99], [100, 101]]])
def test_texts_and_token_ids_are_the_same_prompt(connect, prompt):
    client = connect()
    answer = client.completions.create(model="base", prompt=prompt, echo=True, logprobs=0, max_tokens=1)
    texts = ["abcbase:", "debase:"][: len(answer.choices)]
    assert [choice.text for choice in answer.choices] == texts
    assert {generation.prompt for generation in client.service.backend.seen} == {(97, 98, 99), (100, 101)} or (
        len(answer.choices) == 1 and client.service.backend.seen[0].prompt == (97, 98, 99)
    )


def test_a_streamed_completion_gives_the_same_scores_and_offsets(connect):
    client = connect()
    asked = {"model": "base", "prompt": ["abc", "de"], "echo": True, "logprobs": 2, "max_tokens": 3}
    whole = client.completions.create(**asked)
    texts = ["", ""]
    found = [{"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []} for _ in texts]
    for chunk in client.completions.create(**asked, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.text
        if choice.logprobs:
            for name, values in found[choice.index].items():
                values.extend(getattr(choice.logprobs, name))
    assert texts == [choice.text for choice in whole.choices]
    assert found == [choice.logprobs.model_dump() for choice in whole.choices]


def test_bytes_that_are_no_character_are_not_made_up():
    top = (TopToken(token="\ufffd", token_id=3, logprob=-1.0), TopToken(token="\ufffd", token_id=4, logprob=-2.0))
    scores = [
        TokenScore(token="", token_id=3, logprob=-1.0, top=top),
        TokenScore(token="é", token_id=5, logprob=-0.5),
    ]
    first, second = chat_logprobs(scores)["content"]
    assert (first["bytes"], second["bytes"]) == ([], [0xC3, 0xA9]), "a character of two tokens is the last one's"
    assert [entry["bytes"] for entry in first["top_logprobs"]] == [None, None]
    assert text_logprobs(scores)["top_logprobs"][0] == {"\ufffd": -1.0, "": -1.0}
    assert text_logprobs(scores, 7)["text_offset"] == [7, 7]
