"""What the API takes: OpenAI's request bodies, with every field either obeyed or refused by name."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from assistant.messages import (
    MOST_LOGPROBS,
    MOST_PASSAGES,
    ChatRequest,
    CompletionRequest,
    Decoding,
    Message,
    Retrieval,
)

MAX_PROMPTS = 128


def only(*allowed: object) -> AfterValidator:
    """Marks a known field that is not offered: nothing but null and these neutral values is taken."""

    def check(value: object) -> object:
        # Compared by type too, as False == 0 in Python and not in JSON.
        if value is None or any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
            return value
        words = ", ".join(["null", *map(repr, allowed)])
        raise ValueError(f"not offered here; allowed: {words}, or leave it out")

    return AfterValidator(check)


def one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def text_parts(value: object) -> object:
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise ValueError("allowed: a string or a list of text parts")
    return value


def prompts(value: object) -> object:
    """All of OpenAI's forms as a list of prompts: texts, or each a list of token ids."""
    if isinstance(value, str) or (value and _are_token_ids(value)):
        return [value]
    if isinstance(value, list) and (all(isinstance(one, str) for one in value) or all(map(_are_token_ids, value))):
        return value
    raise ValueError("allowed: a string, a list of strings, a list of token ids, or a list of such lists")


def _are_token_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def refuse_unknown_fields(cls, data: object) -> object:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(cls.model_fields)}"
                raise PydanticCustomError("unknown_field", "no such field; {hint}", {"hint": hint, "field": str(key)})
        return data


class TextPart(Body):
    type: Literal["text"]
    text: str


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[list[TextPart], BeforeValidator(text_parts)]
    # What an answer carries besides its text comes back when a client sends the answer again as history.
    name: Annotated[Any, only()] = None
    refusal: Annotated[Any, only()] = None
    annotations: Annotated[Any, only([])] = None
    audio: Annotated[Any, only()] = None
    function_call: Annotated[Any, only()] = None
    tool_calls: Annotated[Any, only([])] = None
    # lm-evaluation-harness says so of every message.
    type: Annotated[Any, only("text")] = None

    def message(self) -> Message:
        role: Literal["system", "user", "assistant"] = "system" if self.role == "developer" else self.role
        return Message(role=role, content="\n".join(part.text for part in self.content))


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: Annotated[Any, only(False)] = None


class Sampling(Body):
    """The fields both endpoints share. Null is the same as leaving a field out."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: Annotated[list[str] | None, BeforeValidator(one_or_many)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Labels of the caller's own; they change nothing about the answer.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None

    n: Annotated[Any, only(1)] = None
    logit_bias: Annotated[Any, only({})] = None
    frequency_penalty: Annotated[Any, only(0)] = None
    presence_penalty: Annotated[Any, only(0)] = None

    @model_validator(mode="after")
    def check_stream_options(self) -> Sampling:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError(
                "needs_stream", "allowed only together with stream: true", {"field": "stream_options"}
            )
        return self

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def decoding(self, scores: int | None) -> Decoding:
        """Holds only what was asked for, so that the adapter's and the general defaults apply to the rest.

        `scores` is how many likeliest tokens are asked for beside each token's score; None for no scores.
        """
        asked: dict[str, Any] = {
            name: value
            for name in ("temperature", "top_p", "top_k", "repetition_penalty", "seed", "max_tokens")
            if (value := getattr(self, name)) is not None
        }
        if self.stop is not None:
            asked["stop"] = tuple(self.stop)
        if scores is not None:
            asked["logprobs"] = scores
        try:
            return Decoding.model_validate(asked)
        except ValidationError as error:
            raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


class RetrievalBody(Body):
    """Ours: answer from the documents. What is left out is as in `Retrieval`."""

    top_k: Annotated[int, Field(ge=1, le=MOST_PASSAGES)] | None = None
    collections: list[str] | None = None
    query: Annotated[str, Field(min_length=1)] | None = None

    def retrieval(self) -> Retrieval:
        return Retrieval.model_validate(self.model_dump(exclude_none=True))


class ChatBody(Sampling):
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    retrieval: RetrievalBody | None = None
    constraint: Literal["span"] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None

    tools: Annotated[Any, only([])] = None
    tool_choice: Annotated[Any, only("none")] = None
    parallel_tool_calls: Annotated[Any, only()] = None
    functions: Annotated[Any, only([])] = None
    function_call: Annotated[Any, only("none")] = None
    response_format: Annotated[Any, only({"type": "text"})] = None
    modalities: Annotated[Any, only(["text"])] = None
    audio: Annotated[Any, only()] = None
    prediction: Annotated[Any, only()] = None
    reasoning_effort: Annotated[Any, only("none")] = None
    verbosity: Annotated[Any, only()] = None
    web_search_options: Annotated[Any, only()] = None
    moderation: Annotated[Any, only()] = None
    service_tier: Annotated[Any, only("auto", "default")] = None
    store: Annotated[Any, only(False)] = None
    prompt_cache_key: Annotated[Any, only()] = None
    prompt_cache_options: Annotated[Any, only()] = None
    prompt_cache_retention: Annotated[Any, only()] = None

    @model_validator(mode="after")
    def settle_limit(self) -> ChatBody:
        if self.max_completion_tokens is not None:
            if self.max_tokens not in (None, self.max_completion_tokens):
                raise PydanticCustomError(
                    "two_limits", "differs from max_completion_tokens; give one of them", {"field": "max_tokens"}
                )
            self.max_tokens = self.max_completion_tokens
        return self

    @model_validator(mode="after")
    def check_top_logprobs(self) -> ChatBody:
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError(
                "needs_logprobs", "allowed only together with logprobs: true", {"field": "top_logprobs"}
            )
        return self

    def request(self) -> ChatRequest:
        decoding = self.decoding((self.top_logprobs or 0) if self.logprobs else None)
        if self.constraint is not None:
            decoding = decoding.model_copy(update={"constraint": self.constraint})
        return ChatRequest(
            messages=tuple(message.message() for message in self.messages),
            adapter=self.model,
            decoding=decoding,
            retrieval=None if self.retrieval is None else self.retrieval.retrieval(),
        )


class CompletionBody(Sampling):
    prompt: Annotated[list[str | list[int]], BeforeValidator(prompts), Field(min_length=1, max_length=MAX_PROMPTS)]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None

    best_of: Annotated[Any, only(1)] = None
    suffix: Annotated[Any, only()] = None

    @model_validator(mode="after")
    def check_limit(self) -> CompletionBody:
        if self.max_tokens == 0 and not self.echo:
            raise PydanticCustomError(
                "needs_echo", "0 is allowed only together with echo: true", {"field": "max_tokens"}
            )
        return self

    def requests(self) -> list[CompletionRequest]:
        decoding = self.decoding(self.logprobs)
        return [
            CompletionRequest(
                prompt=prompt if isinstance(prompt, str) else tuple(prompt),
                adapter=self.model,
                decoding=decoding,
                echo=bool(self.echo),
            )
            for prompt in self.prompt
        ]


class LoadBody(Body):
    """vLLM's body. Without `lora_path` the adapter of that name in the catalogue is loaded."""

    lora_name: str
    lora_path: Annotated[str, Field(min_length=1)] | None = None
    load_inplace: bool = False


class UnloadBody(Body):
    lora_name: str
    lora_int_id: Annotated[Any, only()] = None


class PinBody(Body):
    pinned: bool


class RevertBody(Body):
    """`digest`, or the beginning of it, of a kept revision; null for the newest of them."""

    digest: Annotated[str, Field(min_length=6)] | None = None
