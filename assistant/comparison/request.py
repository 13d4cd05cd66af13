"""What is compared: one question, and 2 to 6 contestants that answer it side by side."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assistant.errors import InvalidRequest
from assistant.messages import AUTO, BASE, ChatRequest, Decoding, Frozen, Message, Retrieval

Mode = Literal["prompt", "few-shot", "rag", "tuned", "rag-tuned"]

TUNED: tuple[Mode, ...] = ("tuned", "rag-tuned")
"""Modes in which an adapter answers; in the others the frozen base does."""

WITH_DOCUMENTS: tuple[Mode, ...] = ("rag", "rag-tuned")
"""Modes that answer from the documents."""

FEWEST, MOST = 2, 6


class Contestant(Frozen):
    """One column. What `decoding` leaves out comes from the adapter's card, or else from the general defaults."""

    mode: Mode
    adapter: str = BASE
    decoding: Decoding = Decoding()

    @model_validator(mode="after")
    def check_adapter(self) -> Self:
        """Raises InvalidRequest where mode and adapter contradict each other."""
        if self.adapter == AUTO:
            raise InvalidRequest(f"a contestant's adapter may not be {AUTO!r}, which chooses anew for each question")
        if self.mode in TUNED and self.adapter == BASE:
            raise InvalidRequest(f"mode {self.mode!r} needs an adapter; {BASE!r} is not fine-tuned")
        if self.mode not in TUNED and self.adapter != BASE:
            raise InvalidRequest(
                f"mode {self.mode!r} is answered by the base, not by {self.adapter!r}; "
                f"allowed with an adapter: {', '.join(TUNED)}"
            )
        return self

    @property
    def label(self) -> str:
        """Its name in tables: the mode, and who answers where that is an adapter."""
        return self.mode if self.adapter == BASE else f"{self.mode} {self.adapter}"


class FewShot(Frozen):
    """A worked example: shown to the few-shot contestants as an earlier turn."""

    question: Annotated[str, Field(min_length=1)]
    answer: Annotated[str, Field(min_length=1)]


class ComparisonRequest(Frozen):
    """One question to all contestants.

    `examples` are seen by the few-shot contestants only, `retrieval` is for those that answer from the documents.
    `references` are accepted answers to score against. In a `blind` one the columns are shuffled and nameless.
    `seed` is every contestant's that brings none of its own; None draws one for all of them.
    """

    question: str
    contestants: tuple[Contestant, ...]
    system: str | None = None
    examples: Annotated[tuple[FewShot, ...], Field(max_length=32)] = ()
    retrieval: Retrieval = Retrieval()
    references: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=32)] = ()
    blind: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    @model_validator(mode="after")
    def check_contestants(self) -> Self:
        """Raises InvalidRequest where the question or the set of contestants cannot be compared."""
        if not self.question.strip():
            raise InvalidRequest("the question is empty")
        if not FEWEST <= len(self.contestants) <= MOST:
            raise InvalidRequest(f"{len(self.contestants)} contestants; allowed: {FEWEST} to {MOST}")
        for index, one in enumerate(self.contestants):
            if one in self.contestants[:index]:
                raise InvalidRequest(
                    f"{one.label!r} stands twice with the same settings; its answers would be the same"
                )
        if not self.examples and any(one.mode == "few-shot" for one in self.contestants):
            raise InvalidRequest("mode 'few-shot' needs examples: at least one question with its answer")
        return self

    def turn(self, position: int, turn_id: str) -> ChatRequest:
        """What the contestant at `position` is asked, to be recorded under `turn_id`."""
        contestant = self.contestants[position]
        messages = [Message(role="system", content=self.system)] if self.system else []
        if contestant.mode == "few-shot":
            for example in self.examples:
                messages.append(Message(role="user", content=example.question))
                messages.append(Message(role="assistant", content=example.answer))
        messages.append(Message(role="user", content=self.question))
        decoding = contestant.decoding
        if decoding.seed is None and self.seed is not None:
            decoding = decoding.model_copy(update={"seed": self.seed})
        return ChatRequest(
            messages=tuple(messages),
            adapter=contestant.adapter,
            decoding=decoding,
            retrieval=self.retrieval if contestant.mode in WITH_DOCUMENTS else None,
            turn_id=turn_id,
            show_prompt=True,
        )
