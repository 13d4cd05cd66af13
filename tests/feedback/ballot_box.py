"""Finished answers to vote on, without a model."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import insert, update

from assistant.database.tables.comparisons import columns, comparisons
from assistant.feedback.store import Store
from assistant.feedback.votes import VoteStore
from assistant.messages import ChatRequest, Decoding, Failed, Message, Part, Route, Timing, Usage

DIGEST = "0" * 64
MODES = ("prompt", "rag", "tuned", "rag-tuned", "few-shot", "tuned")
ADAPTERS = ("base", "base", "mood", "mood", "base", "sums")
FAILURE = Failed(status=422, code="nothing_relevant", message="no passage fits")


class BallotBox:
    """Conversations and comparisons as the server leaves them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.votes = VoteStore(store.database)

    def turn(
        self,
        text: str,
        answer: str | None,
        adapter: str = "base",
        owner: str | None = None,
        before: Sequence[Message] = (),
        **fields,
    ) -> str:
        """One turn; an `answer` of None leaves it unfinished, "" makes it fail. With an owner, in a conversation."""
        conversation = self.store.create_conversation(owner).id if owner else None
        messages = (*before, Message(role="user", content=text))
        turn_id = uuid.uuid4().hex
        asked = ChatRequest(messages=messages, adapter=adapter, conversation_id=conversation, turn_id=turn_id, **fields)
        self.store.begin_turn(asked, DIGEST)
        if answer == "":
            self.store.finish_turn(turn_id, [], FAILURE)
        elif answer is not None:
            self.store.finish_turn(turn_id, [part(answer, adapter)])
        return turn_id

    def comparison(
        self,
        answers: Sequence[str | None],
        question: str = "What is heat?",
        owner: str = "ann",
        blind: bool = False,
        shown: Sequence[int] | None = None,
        system: str | None = None,
        adapters: Sequence[str] = ADAPTERS,
        examples: Sequence[tuple[str, str]] = (),
    ) -> str:
        """One comparison of these answers; the contestants are MODES and `adapters`, as far as needed.

        `examples` are a question and its answer each, which the few-shot contestant is shown.
        """
        comparison_id, now = uuid.uuid4().hex, datetime.now(UTC)
        with self.store.database.writing() as connection:
            connection.execute(
                insert(comparisons).values(
                    id=comparison_id,
                    owner=owner,
                    position=0,
                    created_at=now,
                    finished_at=None if None in answers else now,
                    state="running" if None in answers else "finished",
                    question=question,
                    request={"system": system} if system else {},
                    blind=blind,
                )
            )
        first = [Message(role="system", content=system)] if system else []
        shots = [
            Message(role=role, content=text)
            for example in examples
            for role, text in zip(("user", "assistant"), example, strict=True)
        ]
        for position, answer in enumerate(answers):
            before = first + shots if MODES[position] == "few-shot" else first
            turn_id = self.turn(question, answer, adapters[position], before=before)
            with self.store.database.writing() as connection:
                connection.execute(
                    insert(columns).values(
                        comparison_id=comparison_id,
                        position=position,
                        shown=shown[position] if shown else position,
                        mode=MODES[position],
                        adapter=adapters[position],
                        turn_id=turn_id,
                    )
                )
        return comparison_id

    def reveal(self, comparison_id: str) -> None:
        with self.store.database.writing() as connection:
            connection.execute(
                update(comparisons).where(comparisons.c.id == comparison_id).values(revealed_at=datetime.now(UTC))
            )


def part(text: str, adapter: str) -> Part:
    return Part(
        route=Route(adapter=adapter, confidence=1.0, reason="chosen by you", text="x"),
        digest=None if adapter == "base" else "d" * 64,
        decoding=Decoding(seed=7),
        text=text,
        finish_reason="stop",
        usage=Usage(prompt_tokens=3, completion_tokens=len(text.split())),
        timing=Timing(total=0.5),
    )
