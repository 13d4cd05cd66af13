"""What a turn will compute: request → routes, passages and prompts, settled before the first token."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from assistant.backends.base import Backend, Generation
from assistant.catalog import Adapter, Catalog
from assistant.errors import InvalidRequest, NothingRelevant, PromptTooLong
from assistant.messages import (
    AUTO,
    BASE,
    ChatRequest,
    CompletionRequest,
    Decoding,
    Finished,
    Message,
    Part,
    Passage,
    PromptTemplate,
    Retrieval,
    Route,
)
from assistant.retrieval.grounding import ground
from assistant.retrieval.packing import NOTICE, fitting, pack, pieces, shown
from assistant.routing.clauses import read_request

ANSWER_SHARE = 4
"""One part in so many of the context is kept free of passages for an answer whose limit nobody asked for."""

LEAST_MATERIAL = 24
"""Characters of the shortest text that is there to be quoted: less is a greeting, or the half of "In the U.S. Congress"."""

MORE_THAN_ONE = re.compile(r"\n|[?？]\s*\S")
"""Between sentences of which one may be a question."""


class Routes(Protocol):
    def route(self, text: str, has_documents: bool = False) -> list[Route]: ...


class Renders(Protocol):
    def write(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> str: ...

    def render(self, messages: Sequence[Message], template: PromptTemplate | None = None) -> list[int]: ...

    def render_example(
        self, messages: Sequence[Message], template: PromptTemplate | None = None
    ) -> tuple[list[int], list[int]]: ...

    def encode(self, text: str) -> list[int]: ...

    def disarm(self, text: str) -> str: ...


class Searches(Protocol):
    """What is needed of the retriever; `assistant.retrieval.retriever` provides it."""

    def search(self, query: str, retrieval: Retrieval) -> tuple[Passage, ...]: ...

    def refresh(self) -> None: ...


@dataclass(frozen=True)
class Step:
    """One part of a reply, ready to compute. `passages` are those in the prompt, `prompt` is given where it is shown."""

    route: Route
    generation: Generation
    passages: tuple[Passage, ...] = ()
    prompt: str | None = None

    @property
    def digest(self) -> str | None:
        return self.generation.adapter.digest if self.generation.adapter else None

    def part(self, text: str, end: Finished) -> Part:
        return Part(
            route=self.route,
            digest=self.digest,
            decoding=self.generation.decoding,
            text=text,
            prompt=self.prompt,
            passages=self.passages,
            grounding=ground(text, self.passages) if self.passages else None,
            **dict(end),
        )


@dataclass(frozen=True)
class Planner:
    """Turns requests into steps. Methods raise `SwapboardError`, and compute no token."""

    catalog: Catalog
    backend: Backend
    prompter: Renders
    router: Routes
    retriever: Searches

    def chat(self, request: ChatRequest) -> list[Step]:
        """The steps of a reply, each with passages of its own where the request asks for them.

        Raises:
            InvalidRequest: the last message is not the user's or empty, or the decoding asks for nothing.
            AdapterError: an adapter is unknown or broken.
            NothingRelevant, NotFound: there are no passages to answer from.
            PromptTooLong: no passage fits beside the conversation and the answer.
        """
        last = request.messages[-1]
        if last.role != "user" or not last.content.strip():
            raise InvalidRequest("the last message must be the user's and hold some text")
        if request.adapter == AUTO:
            routes = self.router.route(last.content, has_documents=request.retrieval is not None)
        else:
            routes = [Route(adapter=request.adapter, confidence=1.0, reason="chosen by you", text=last.content)]
        return [self._chat_step(request, route) for route in routes]

    def completion(self, request: CompletionRequest) -> list[Step]:
        """The one step of raw text. Raises InvalidRequest, AdapterError."""
        if request.adapter == AUTO:
            raise InvalidRequest(
                f"model {AUTO!r} chooses by the message, which raw text has not; allowed: base or an adapter"
            )
        if not request.prompt:
            raise InvalidRequest("the prompt is empty")
        adapter = self._find(request.adapter)
        decoding = resolve_decoding(request.decoding, adapter, has_material=False)
        if not decoding.max_tokens and not request.echo:
            raise InvalidRequest("max_tokens 0 generates nothing; allowed: from 1, or 0 together with echo")
        if decoding.constraint:
            raise InvalidRequest(f"constraint {decoding.constraint!r} needs a message, which raw text has not")
        prompt = request.prompt if isinstance(request.prompt, tuple) else self.prompter.encode(request.prompt)
        route = Route(adapter=request.adapter, confidence=1.0, reason="chosen by you", text=request.text)
        caps = caps_length(request)
        return [Step(route, Generation(tuple(prompt), adapter, decoding, caps, echo=request.echo, continues=True))]

    def _chat_step(self, request: ChatRequest, route: Route) -> Step:
        adapter = self._find(route.adapter)
        # Only a constraint asks whether there is a text to quote, and to take a long message apart costs time.
        has_constraint = adapter is not None and "constraint" in adapter.card.decoding
        has_material = has_constraint and (request.retrieval is not None or brings_material(route.text))
        decoding = resolve_decoding(request.decoding, adapter, has_material)
        if not decoding.max_tokens:
            raise InvalidRequest("max_tokens 0 generates nothing; allowed: from 1")
        template = adapter.card.template if adapter else None
        passages: tuple[Passage, ...] = ()
        messages = [*request.messages[:-1], Message(role="user", content=route.text)]
        sources: tuple[str, ...] = (route.text,)
        if request.retrieval is not None:
            found = self.retriever.search(request.retrieval.query or route.text, request.retrieval)
            if not found:  # deleted while it was searched for
                raise NothingRelevant("Nothing in the documents fits the question.")
            if not any(map(shown, found)):
                raise NothingRelevant(
                    f"What fits the question, in {found[0].document}, only gives orders to whoever answers, and is withheld."
                )
            passages = self._fitting(messages, found, adapter, decoding, caps_length(request))
            messages = self._with_passages(messages, passages, template)
            sources = tuple(piece for passage in passages for piece in pieces(passage, self.prompter.disarm))
        prompt = self.prompter.write(messages, template)
        generation = Generation(
            prompt=tuple(self.prompter.encode(prompt)),
            adapter=adapter,
            decoding=decoding,
            caps_length=caps_length(request),
            span_sources=sources if decoding.constraint else (),
        )
        return Step(route, generation, passages, prompt if request.show_prompt else None)

    def _fitting(
        self,
        messages: Sequence[Message],
        found: Sequence[Passage],
        adapter: Adapter | None,
        decoding: Decoding,
        caps_length: bool,
    ) -> tuple[Passage, ...]:
        """The best of what was found that the context holds beside the conversation and the answer."""
        template = adapter.card.template if adapter else None
        context = self.backend.context_length
        room = min(decoding.max_tokens, context // ANSWER_SHARE) if caps_length else decoding.max_tokens
        taken = room + (adapter.virtual_tokens if adapter else 0)

        def length(passages: Sequence[Passage]) -> int:
            return len(
                self.prompter.encode(self.prompter.write(self._with_passages(messages, passages, template), template))
            )

        chosen = fitting(found, lambda passages: length(passages) + taken <= context)
        if not chosen:
            raise PromptTooLong(
                f"not even one passage fits: with the shortest the prompt has "
                f"{min(length([passage]) for passage in found)} tokens and the answer needs {taken}; the context holds "
                f"{context}. Shorten the conversation or ask for a shorter answer"
            )
        return chosen

    def _with_passages(
        self, messages: Sequence[Message], passages: Sequence[Passage], template: PromptTemplate | None
    ) -> list[Message]:
        """The conversation with the passages before its last question, and the system message that speaks of them."""
        earlier, last = list(messages[:-1]), messages[-1]
        system = template.system if template else None
        if earlier and earlier[0].role == "system":
            system = earlier.pop(0).content
        return [
            Message(role="system", content=f"{system}\n\n{NOTICE}" if system else NOTICE),
            *earlier,
            Message(role="user", content=pack(passages, last.content, self.prompter.disarm)),
        ]

    def _find(self, name: str) -> Adapter | None:
        adapter = None if name == BASE else self.catalog.get(name)
        if adapter is not None and adapter.is_reward:
            raise InvalidRequest(f"adapter {name!r} scores answers and writes none; ask /v1/score, or choose another")
        return adapter


def caps_length(request: ChatRequest | CompletionRequest) -> bool:
    """A limit nobody asked for gives way to the context; one that was asked for is kept or refused."""
    return "max_tokens" not in request.decoding.model_fields_set


def resolve_decoding(wanted: Decoding, adapter: Adapter | None, has_material: bool) -> Decoding:
    """What was asked for, over the adapter card's defaults, over the general ones; the seed is always settled.

    The card's constraint is for requests with a text to quote: held to its message, an adapter that is asked a
    question alone could only give that back.
    """
    defaults = dict(adapter.card.decoding) if adapter else {}
    if not has_material:
        defaults.pop("constraint", None)
    asked = wanted.model_dump(exclude_unset=True)
    decoding = Decoding.model_validate({**defaults, **asked})
    if decoding.seed is None:
        decoding = decoding.model_copy(update={"seed": secrets.randbits(32)})
    return decoding


def brings_material(text: str) -> bool:
    """Whether a message brings the text that its question is about, told apart as Auto tells them.

    Where Auto finds no request, a line break or a question mark within tells that there is more than a question.
    """
    request = read_request(text)
    return len(request.material) >= LEAST_MATERIAL and bool(request.asks or MORE_THAN_ONE.search(request.material))
