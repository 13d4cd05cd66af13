"""What goes wrong, told with its true status and in the shape clients read."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

import assistant.api.errors as api_errors
from assistant import errors
from assistant.backends.base import Generation
from assistant.errors import EngineFailed, QueueFull, SwapboardError
from tests.api.conftest import build
from tests.fakes import EchoBackend

CHAT = {"model": "base", "messages": [{"role": "user", "content": "x"}]}


def tree(kind: type[SwapboardError]) -> Iterator[type[SwapboardError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(SwapboardError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_and_a_code_and_is_told(kind):
    app = FastAPI()
    api_errors.install_error_handlers(app)

    @app.get("/v1/raise")
    async def fail() -> None:
        raise QueueFull("what happened", 7) if kind is QueueFull else kind("what happened")

    answer = TestClient(app).get("/v1/raise")
    assert 400 <= kind.status < 600 and answer.status_code == kind.status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["message"], error["code"]) == ("what happened", kind.code)
    assert kind.__name__ in errors.__doc__.split(), "the tree at the top of errors.py lacks it"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_404_with_near_matches(connect, stream):
    with pytest.raises(openai.NotFoundError, match="near matches: mood") as caught:
        connect().chat.completions.create(**{**CHAT, "model": "moood"}, stream=stream)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_an_unknown_model_cannot_be_retrieved(connect):
    with pytest.raises(openai.NotFoundError, match="near matches: mood"):
        connect().models.retrieve("moood")


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_queue_is_429_and_says_when_to_retry(connect, stream):
    client = connect(EchoBackend(error=QueueFull("64 requests wait", 7)))
    with pytest.raises(openai.RateLimitError, match="64 requests wait") as caught:
        client.chat.completions.create(**CHAT, stream=stream)
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.type == "rate_limit_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_400_with_the_counts(connect, stream):
    with pytest.raises(openai.BadRequestError, match="context holds 2000") as caught:
        connect().chat.completions.create(
            model="base", messages=[{"role": "user", "content": "x" * 3000}], stream=stream
        )
    assert caught.value.code == "context_length_exceeded"


def test_one_prompt_that_does_not_fit_refuses_them_all_and_stops_the_rest(connect):
    backend = EchoBackend(words=1000, pace=0.002)
    with pytest.raises(openai.BadRequestError):
        connect(backend).completions.create(model="base", prompt=["ok", "x" * 3000], max_tokens=1000)
    assert backend.running == 0


class BreaksMidway(EchoBackend):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.late_error = error

    async def generate(self, generation: Generation):
        yield "half"
        raise self.late_error


def test_an_error_midway_is_an_event_and_the_stream_does_not_pretend_to_be_done(connect):
    client = connect(BreaksMidway(EngineFailed("a step failed")))
    stream = client.chat.completions.create(**CHAT, stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "half"]
    with pytest.raises(openai.APIError, match="a step failed"):
        next(stream)
    raw = httpx.post(f"{client.url}/v1/chat/completions", json={**CHAT, "stream": True}).text
    assert '"code": "engine_failed"' in raw.splitlines()[-2] and "[DONE]" not in raw and 'finish_reason": "' not in raw


@pytest.mark.parametrize("stream", [False, True])
def test_a_mistake_of_ours_tells_no_secrets(connect, stream):
    client = connect(BreaksMidway(RuntimeError("/secret/path")))
    answer = httpx.post(f"{client.url}/v1/chat/completions", json={**CHAT, "stream": stream})
    assert "internal_error" in answer.text and "secret" not in answer.text and "[DONE]" not in answer.text
    assert answer.status_code == (200 if stream else 500)


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"temperature": 3}, "temperature", "less than or equal to 2 (got 3"),
        ({"temperature": "hot"}, "temperature", "valid number (got 'hot')"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "differs from max_completion_tokens"),
        ({"stop": ["x"] * 9}, "stop", "at most 8"),
        ({"stop": ""}, "stop.0", "at least 1 character"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"n": 2}, "n", "allowed: null, 1"),
        ({"n": True}, "n", "allowed: null, 1"),
        ({"tools": [{"type": "function"}]}, "tools", "not offered here"),
        ({"functions": [{"name": "f"}]}, "functions", "not offered here"),
        ({"response_format": {"type": "json_object"}}, "response_format", "{'type': 'text'}"),
        ({"logprobs": 1}, "logprobs", "valid boolean (got 1)"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20 (got 21)"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs", "greater than or equal to 0"),
        ({"top_logprobs": 2}, "top_logprobs", "together with logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "not offered here"),
        ({"presence_penalty": 0.5}, "presence_penalty", "allowed: null, 0"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "allowed: null, 0"),
        ({"audio": {"voice": "x"}}, "audio", "not offered here"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "together with stream"),
        ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage", "no such field"),
        ({"temprature": 1}, "temprature", "did you mean 'temperature'?"),
        ({"zzz": 1}, "zzz", "allowed: model, max_tokens"),
        ({"model": None}, "model", "valid string"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "'user'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "a string or a list of text parts"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "required"),
        ({"messages": [{"role": "user", "content": "x", "type": "image"}]}, "messages.0.type", "allowed: null, 'text'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0.image_url",
            "no such field",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, None, "must be the user's"),
    ],
)
def test_a_wrong_field_is_400_and_named_with_what_is_allowed(folder, change, param, words):
    app, service = build(folder)
    answer = TestClient(app).post("/v1/chat/completions", json={**CHAT, **change})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert words in error["message"] and (param is None or error["message"].startswith(f"{param}: "))
    assert service.backend.generated == 0


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"prompt": [1, -2, 3]}, "prompt", "a list of token ids"),
        ({"prompt": [[1, 2], "x"]}, "prompt", "a list of token ids"),
        ({"prompt": [True]}, "prompt", "a list of token ids"),
        ({"prompt": [[]]}, None, "the prompt is empty"),
        ({"prompt": [[1]] * 129}, "prompt", "at most 128"),
        ({"prompt": []}, "prompt", "at least 1 item"),
        ({"prompt": ["x"] * 200}, "prompt", "at most 128"),
        ({"prompt": ""}, None, "the prompt is empty"),
        ({"echo": "yes"}, "echo", "valid boolean"),
        ({"logprobs": 21}, "logprobs", "less than or equal to 20 (got 21)"),
        ({"logprobs": True}, "logprobs", "valid integer"),
        ({"max_tokens": 0}, "max_tokens", "0 is allowed only together with echo"),
        ({"max_tokens": -1, "echo": True}, "max_tokens", "greater than or equal to 0"),
        ({"suffix": "x"}, "suffix", "not offered here"),
        ({"best_of": 2}, "best_of", "not offered here"),
        ({"model": "auto"}, None, "raw text"),
    ],
)
def test_a_wrong_field_of_raw_text_is_400_too(folder, change, param, words):
    app, _ = build(folder)
    answer = TestClient(app).post("/v1/completions", json={"model": "base", "prompt": "x", **change})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param) and words in error["message"]


def test_a_body_that_is_no_json_is_400(connect):
    url = connect().url
    answer = httpx.post(f"{url}/v1/chat/completions", content="{", headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/chat/completions"), ("DELETE", "/v1/nothing/here")])
def test_a_wrong_method_or_path_is_told_in_the_same_shape_whatever_is_mounted_beside(folder, method, path):
    app, _ = build(folder)
    app.mount("/", lambda scope, receive, send: PlainTextResponse("a page")(scope, receive, send))
    client = TestClient(app)
    answer = client.request(method, path)
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "http_error"
    assert answer.json()["error"]["message"].startswith(f"{method} {path}: ")
    assert client.get("/anything").text == "a page"


def test_other_pages_of_the_app_keep_their_own_errors(connect):
    url = connect().url
    assert httpx.get(f"{url}/page/x").status_code == 422
    assert httpx.get(f"{url}/nothing").json() == {"detail": "Not Found"}
    assert httpx.get(f"{url}/page/0").text == "Internal Server Error"
