"""The shared vocabulary: what a request is, and what comes back.

A reply is a stream: for every part `PartStarted`, then `TextDelta`…, then `PartFinished`
(for a best of n `Drew`… before its text); after the last part exactly one `Done`. A failure at any point ends the stream with exactly
one `Failed` instead.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BASE = "base"
"""The name under which the frozen base itself is asked for."""

AUTO = "auto"
"""The name under which the router is asked to choose."""

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Frozen):
    role: Role
    content: str


MOST_LOGPROBS = 20
"""How many of the likeliest tokens can be asked for beside each token."""


GREEDY_BELOW = 1e-5
"""Temperatures below it are as good as 0, and too small to divide by."""


HIGHEST_TEMPERATURE = 2


class Decoding(Frozen):
    """How the next token is picked. `temperature` below `GREEDY_BELOW` is greedy; `top_k` 0 means no limit.

    `max_tokens` 0 generates nothing, which only an echoed completion may ask for. `logprobs` n asks for the score of
    each token and the n likeliest ones, see `TokenScore`; None for no scores. `constraint` "span" allows only answers
    that stand in the last user message, word for word.
    """

    temperature: Annotated[float, Field(ge=0, le=HIGHEST_TEMPERATURE)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: Annotated[int, Field(ge=0)] = 0
    repetition_penalty: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] = 512
    stop: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=8)] = ()
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    constraint: Literal["span"] | None = None

    @property
    def is_greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW


class Passage(Frozen):
    """A piece of a document that fits a question. `start` and `end` are character offsets in the document's text,
    `page` counts from 1 where the format has pages, `heading` is the path of headings above it.

    `score` is what it was ranked by, higher is better; only the order has a meaning. `withheld` are the pieces
    (start, end) of `text`, in order, that give orders to whoever answers: no model is shown them.
    """

    id: int
    document_id: str
    document: str
    start: int
    end: int
    text: str
    page: int | None = None
    heading: str = ""
    score: float = 0.0
    withheld: tuple[tuple[int, int], ...] = ()


MOST_PASSAGES = 20
"""How many passages can be asked for."""


class Retrieval(Frozen):
    """Answer from the documents: from these collections, or from all where none is named.

    `query` is searched for in place of the question.
    """

    collections: tuple[str, ...] = ()
    top_k: Annotated[int, Field(ge=1, le=MOST_PASSAGES)] = 4
    query: str | None = None


class Citation(Frozen):
    """The piece `start` to `end` of an answer rests on the passage of number `passage`, counted from 1 as shown."""

    start: int
    end: int
    passage: int


class Grounding(Frozen):
    """How much of an answer stands in the passages it was given: `share` of its content words, in [0, 1].

    `is_found` is False where the answer is to be marked as not found in the documents.
    """

    share: float
    is_found: bool
    citations: tuple[Citation, ...] = ()


MOST_DRAWN = 16
"""How many answers can be drawn for the best of them."""


class BestOf(Frozen):
    """Draw `n` answers, each with a seed of its own, and give the one that the reward adapter `judge` scores highest."""

    n: Annotated[int, Field(ge=2, le=MOST_DRAWN)]
    judge: Annotated[str, Field(min_length=1)]


class ChatRequest(Frozen):
    """One turn. `adapter` is "base", "auto" or a name in the catalogue.

    When `conversation_id` is given, the turn is recorded as the next one of that conversation. `turn_id` is the id
    to record it under, one that nothing has yet; None lets the store choose. With `show_prompt` each part tells the
    exact prompt that was sent.

    With `best_of` each part is the best of several. `reward_by` names a reward adapter that scores the finished
    answer. Both judge it as an answer to `judged`, or to `messages` where that is None.
    """

    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    adapter: str = BASE
    decoding: Decoding = Decoding()
    conversation_id: str | None = None
    retrieval: Retrieval | None = None
    turn_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    show_prompt: bool = False
    best_of: BestOf | None = None
    reward_by: str | None = None
    judged: Annotated[tuple[Message, ...], Field(min_length=1)] | None = None


class CompletionRequest(Frozen):
    """Raw text, or token ids, continued as they stand, without the chat template. "auto" is not allowed here.

    With `echo` the answer begins with the prompt, and its scores are given where `decoding.logprobs` asks for any.
    """

    prompt: str | tuple[Annotated[int, Field(ge=0)], ...]
    adapter: str = BASE
    decoding: Decoding = Decoding()
    echo: bool = False

    @property
    def text(self) -> str:
        """The prompt to be read; bare token ids have none."""
        return self.prompt if isinstance(self.prompt, str) else ""


class Route(Frozen):
    """One step of a reply: which adapter answers which text, and why it was chosen.

    `confidence` is in [0, 1]; 1 for a choice the user made.
    """

    adapter: str
    confidence: float
    reason: str
    text: str


class Usage(Frozen):
    """Token counts. `cached_tokens` are the prompt tokens that needed no prefill."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


class Timing(Frozen):
    """Seconds, measured from the moment the engine was given the request."""

    queued: float = 0.0
    first_token: float = 0.0
    total: float = 0.0

    def tokens_per_second(self, usage: Usage) -> float:
        """Decoding speed: tokens after the first, over the time after the first."""
        elapsed = self.total - self.first_token
        return (usage.completion_tokens - 1) / elapsed if elapsed > 0 and usage.completion_tokens > 1 else 0.0


class TopToken(Frozen):
    """One of the likeliest tokens of a place."""

    token: str
    token_id: int
    logprob: float


class TokenScore(Frozen):
    """How likely the model held a token to be: natural logarithms, before temperature, penalties and limits.

    The tokens' texts, joined, are the text with its special tokens: a character of several tokens is the last one's.
    `logprob` is None only for the first token of an echoed prompt. `top` is likeliest first.
    """

    token: str
    token_id: int
    logprob: float | None
    top: tuple[TopToken, ...] = ()


class Scored(Frozen):
    """A piece of text with the scores of its tokens; the text may be empty where the scores are not."""

    text: str
    scores: tuple[TokenScore, ...]


class Finished(Frozen):
    """How one generation ended: the last item of its stream. The scores are those that were asked for."""

    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    scores: tuple[TokenScore, ...] = ()
    prompt_scores: tuple[TokenScore, ...] = ()


class Candidate(Frozen):
    """One of the answers that were drawn. `reward` is None for one without a word, which nothing can be judged by."""

    seed: int
    text: str
    usage: Usage
    reward: float | None


class Drawn(Frozen):
    """All that a best of n was chosen from, in the order of their seeds, and who judged.

    `seconds` are those from the beginning of the first until all were judged.
    """

    judge: str
    digest: str
    candidates: tuple[Candidate, ...]
    seconds: float

    @property
    def usage(self) -> Usage:
        """The tokens of all of them."""
        return sum((one.usage for one in self.candidates), Usage())


class Reward(Frozen):
    """What a reward adapter makes of an answer, as far as it is known; `error` says why there is no `score`.

    Only differences between answers to the same have a meaning: see `assistant.scoring`.
    """

    judge: str
    digest: str | None = None
    score: float | None = None
    error: str | None = None


class Part(Frozen):
    """One finished step of a reply. `digest` is None for the base.

    `scores` has one entry for each token of the answer, the end-of-turn token included, and `prompt_scores` one for
    each of an echoed prompt; neither is written down with the rest. `passages` are those in the prompt, in the order
    of their numbers, and `grounding` is given where there are any.

    A best of n is the answer that was chosen, with its own decoding, counts and times; `drawn` tells of all of them.
    `reward` is that of the whole reply, and stands with its last part.
    """

    route: Route
    digest: str | None
    decoding: Decoding
    text: str
    finish_reason: FinishReason
    usage: Usage
    timing: Timing
    prompt: str | None = None
    passages: tuple[Passage, ...] = ()
    grounding: Grounding | None = None
    drawn: Drawn | None = None
    reward: Reward | None = None
    scores: Annotated[tuple[TokenScore, ...], Field(exclude=True)] = ()
    prompt_scores: Annotated[tuple[TokenScore, ...], Field(exclude=True)] = ()


class PartStarted(Frozen):
    kind: Literal["part_started"] = "part_started"
    index: int
    of: int
    route: Route
    digest: str | None
    passages: tuple[Passage, ...] = ()


class Drew(Frozen):
    """Of the `of` answers to choose from, `done` have been drawn. Their text comes once one has been chosen."""

    kind: Literal["drew"] = "drew"
    index: int
    done: int
    of: int


class TextDelta(Frozen):
    """`scores` are those of the tokens that became certain with this text, an echoed prompt's included."""

    kind: Literal["text"] = "text"
    index: int
    text: str
    scores: tuple[TokenScore, ...] = ()


class PartFinished(Frozen):
    kind: Literal["part_finished"] = "part_finished"
    index: int
    part: Part


class Done(Frozen):
    kind: Literal["done"] = "done"
    turn_id: str
    parts: tuple[Part, ...]

    @property
    def usage(self) -> Usage:
        return sum((part.usage for part in self.parts), Usage())

    @property
    def text(self) -> str:
        return "\n\n".join(part.text for part in self.parts)


class Failed(Frozen):
    """`turn_id` is set when the turn had been recorded; `retry_after` is in seconds."""

    kind: Literal["failed"] = "failed"
    status: int
    code: str
    message: str
    retry_after: int | None = None
    turn_id: str | None = None


StreamEvent = PartStarted | Drew | TextDelta | PartFinished | Done | Failed


class PromptTemplate(Frozen):
    """How an adapter was trained to be spoken to: the same template wraps every user message when it serves.

    `user` holds `{input}` once; `system` replaces the system message unless the request brings its own.
    With `single_turn` the adapter was trained on single messages and is shown the last one only: a task adapter
    that reads an earlier review or passage answers about that.
    """

    system: str | None = None
    user: Annotated[str, Field(pattern=r"\{input\}")] = "{input}"
    single_turn: bool = False

    def wrap(self, text: str) -> str:
        return self.user.replace("{input}", text)
