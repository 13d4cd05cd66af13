"""What is compared: one question, and 2 to 6 contestants that answer it side by side."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from assistant.best_of import check_spread
from assistant.errors import InvalidRequest
from assistant.messages import AUTO, BASE, BestOf, ChatRequest, Decoding, Frozen, Message, Retrieval

Mode = Literal["prompt", "few-shot", "rag", "tuned", "rag-tuned"]

TUNED: tuple[Mode, ...] = ("tuned", "rag-tuned")
"""Modes in which an adapter answers; in the others the frozen base does."""

WITH_DOCUMENTS: tuple[Mode, ...] = ("rag", "rag-tuned")
"""Modes that answer from the documents."""

FEWEST, MOST = 2, 6

References = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=32)]

MOST_REFERENCE_CHARACTERS = 32_000
"""In all references to a question: the time of ROUGE-L grows with their length times that of the answer."""


def check_length(references: tuple[str, ...]) -> tuple[str, ...]:
    """The references. Raises InvalidRequest where they are too long to score answers against."""
    length = sum(map(len, references))
    if length > MOST_REFERENCE_CHARACTERS:
        raise InvalidRequest(f"references of {length:,} characters; allowed: {MOST_REFERENCE_CHARACTERS:,} in all")
    return references


AskedReferences = Annotated[References, AfterValidator(check_length)]
"""Those of a question that is asked now; what was kept earlier is read however long it is."""


class Contestant(Frozen):
    """One column. What `decoding` leaves out comes from the adapter's card, or else from the general defaults.

    With `best_of` several answers are drawn, and the one that the judge scores highest is the column's.
    """

    mode: Mode
    adapter: str = BASE
    decoding: Decoding = Decoding()
    best_of: BestOf | None = None

    @model_validator(mode="after")
    def check_adapter(self) -> Self:
        """Raises InvalidRequest where mode and adapter contradict each other, or all drawn answers would be the same."""
        if self.best_of is not None:
            check_spread(self.decoding)
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
        """Its name in tables: the mode, who answers where that is an adapter, and who judges where several are drawn."""
        name = self.mode if self.adapter == BASE else f"{self.mode} {self.adapter}"
        return f"{name}{self._judged}"

    @property
    def way(self) -> str:
        """The mode, and how the answer is chosen where several are drawn: what counts as one way when votes are."""
        return f"{self.mode}{self._judged}"

    @property
    def _judged(self) -> str:
        return "" if self.best_of is None else f", best of {self.best_of.n} by {self.best_of.judge}"


class FewShot(Frozen):
    """A worked example: shown to the few-shot contestants as an earlier turn."""

    question: Annotated[str, Field(min_length=1)]
    answer: Annotated[str, Field(min_length=1)]


class Setup(Frozen):
    """Everything about a comparison but its question: what a batch puts to every one of its rows.

    `examples` are seen by the few-shot contestants only, `retrieval` is for those that answer from the documents.
    In a `blind` one the columns are shuffled and nameless. `seed` is every contestant's that brings none of its own;
    None draws one for all of them. `reward_by` names a reward adapter that scores the answer of every column.
    """

    contestants: tuple[Contestant, ...]
    system: str | None = None
    examples: Annotated[tuple[FewShot, ...], Field(max_length=32)] = ()
    retrieval: Retrieval = Retrieval()
    blind: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    reward_by: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def check_contestants(self) -> Self:
        """Raises InvalidRequest where the set of contestants cannot be compared."""
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

    @property
    def seats(self) -> list[tuple[str, str]]:
        """(way, adapter) of each contestant, as the store keeps them."""
        return [(one.way, one.adapter) for one in self.contestants]

    @property
    def judges(self) -> tuple[str, ...]:
        """The reward adapters that are needed."""
        names = [self.reward_by, *(one.best_of.judge for one in self.contestants if one.best_of is not None)]
        return tuple(dict.fromkeys(name for name in names if name is not None))

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each contestant; those that differ in decoding only are numbered."""
        plain = [one.label for one in self.contestants]
        return tuple(
            f"{label} ({plain[: index + 1].count(label)})" if plain.count(label) > 1 else label
            for index, label in enumerate(plain)
        )

    def settled(self) -> Self:
        """The same with a seed, drawn where it has none, so that what is recorded can be run again."""
        return self if self.seed is not None else self.model_copy(update={"seed": secrets.randbits(32)})

    def record(self) -> dict[str, Any]:
        """What was asked for and nothing else, so that read back it leaves open what was left open."""
        return self.model_dump(mode="json", exclude_unset=True)

    def ask(self, question: str, references: Sequence[str] = ()) -> ComparisonRequest:
        """Raises InvalidRequest where the question is empty, or a reference, or where they are too many or too long."""
        about = {"question": question, "references": check_length(tuple(references))}
        try:
            return ComparisonRequest.model_validate({**self.record(), **about})
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class ComparisonRequest(Setup):
    """One question to all contestants. `references` are accepted answers to score against."""

    question: str
    references: References = ()

    @model_validator(mode="after")
    def check_question(self) -> Self:
        """Raises InvalidRequest where there is nothing to answer."""
        if not self.question.strip():
            raise InvalidRequest("the question is empty")
        return self

    @property
    def setup(self) -> Setup:
        return Setup.model_validate({k: v for k, v in self.record().items() if k not in ("question", "references")})

    @property
    def judged(self) -> tuple[Message, ...]:
        """What every answer is judged as an answer to, however its contestant was asked."""
        system = (Message(role="system", content=self.system),) if self.system else ()
        return (*system, Message(role="user", content=self.question))

    def turn(self, position: int, turn_id: str) -> ChatRequest:
        """What the contestant at `position` is asked, to be recorded under `turn_id`."""
        contestant = self.contestants[position]
        *messages, question = self.judged
        if contestant.mode == "few-shot":
            for example in self.examples:
                messages.append(Message(role="user", content=example.question))
                messages.append(Message(role="assistant", content=example.answer))
        messages.append(question)
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
            best_of=contestant.best_of,
            reward_by=self.reward_by,
            judged=self.judged if self.judges else None,
        )
