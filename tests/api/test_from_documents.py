"""Answers from the documents over HTTP."""

from __future__ import annotations

import openai
import pytest

from tests.fakes import passage

QUESTION = [{"role": "user", "content": "Who built the lighthouse?"}]
LIGHTHOUSE = passage(1, "The lighthouse was built by Ana Rivas. Every word1 and word2 counts.")


def ask(client: openai.OpenAI, retrieval: object, **options: object):
    return client.chat.completions.create(
        model="mood", messages=QUESTION, extra_body={"retrieval": retrieval}, **options
    )


def test_the_passages_and_what_the_answer_rests_on_stand_beside_the_answer(connect):
    client = connect()
    client.service.retriever.passages.append(LIGHTHOUSE)
    (part,) = ask(client, {"top_k": 2, "collections": ["c1"]}).swapboard["parts"]
    assert part["passages"] == [LIGHTHOUSE.model_dump(mode="json")]
    assert part["text"] == "mood: word1 word2"
    assert part["grounding"] == {
        "share": pytest.approx(2 / 3),
        "is_found": True,
        "citations": [{"start": 0, "end": 17, "passage": 1}],
    }
    ((query, retrieval),) = client.service.retriever.asked
    assert query == "Who built the lighthouse?"
    assert (retrieval.top_k, retrieval.collections, retrieval.query) == (2, ("c1",), None)


def test_a_stream_tells_the_passages_first_and_what_the_answer_rests_on_last(connect):
    client = connect()
    client.service.retriever.passages.append(LIGHTHOUSE)
    first, *_, last = ask(client, {}, stream=True)
    assert [one["id"] for one in first.swapboard["part"]["passages"]] == [1]
    assert last.swapboard["parts"][0]["grounding"]["is_found"]


def test_an_answer_without_documents_says_nothing_of_them(connect):
    client = connect()
    reply = client.chat.completions.create(model="mood", messages=QUESTION)
    assert not {"passages", "grounding"} & reply.swapboard["parts"][0].keys()


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_relevant_is_an_error_with_a_word_of_its_own(connect, stream):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        list(ask(connect(), {"top_k": 1}, stream=stream))
    assert refused.value.code == "nothing_relevant" and refused.value.status_code == 422


@pytest.mark.parametrize(
    ("retrieval", "param"),
    [
        ({"top_k": 0}, "retrieval.top_k"),
        ({"top_k": 21}, "retrieval.top_k"),
        ({"topk": 4}, "retrieval.topk"),
        ({"collections": "all"}, "retrieval.collections"),
        ({"query": ""}, "retrieval.query"),
        (True, "retrieval"),
    ],
)
def test_what_is_wrong_with_the_field_is_named(connect, retrieval, param):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(connect(), retrieval)
    assert refused.value.param == param
