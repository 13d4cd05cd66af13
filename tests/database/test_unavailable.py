"""A database that is locked or full, for real: whatever was to be kept says so, changes nothing, and works later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from assistant.database.schema import metadata
from assistant.errors import StoreUnavailable
from assistant.feedback.admission import admit
from assistant.feedback.batches import BatchStore
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.export import export_rows
from assistant.feedback.store import Store
from assistant.feedback.votes import Ranking, Rating
from assistant.messages import ChatRequest, Message
from assistant.retrieval.library import Library
from tests.bag_of_words import BagOfWords
from tests.databases import full, locked, ready_database
from tests.feedback.ballot_box import DIGEST, BallotBox, part

LONG = " ".join(f"word{n}" for n in range(1000))
"""More than what is left of any page of the database."""

CONTESTANTS = [("prompt", "base"), ("tuned", "mood")]


class Desk:
    """Every store over one database, with something of each kind in it."""

    def __init__(self, store: Store) -> None:
        self.store, self.database = store, store.database
        self.box = BallotBox(store)
        self.comparisons, self.batches = ComparisonStore(store.database), BatchStore(store.database)
        self.library = Library(store.database, BagOfWords().embed, lambda text: len(text.split()))
        self.running = self.box.turn("asked", None, owner="ann")
        self.answered = self.box.turn("asked", "answered")
        self.conversation = str(store.turn(self.running).conversation_id)
        self.begun, _ = self.comparisons.begin("ann", "q", {}, CONTESTANTS, blind=False)
        self.compared = self.box.comparison(["a", "b"])
        self.vote = self.box.votes.rate("ann", Rating(turn_id=self.answered, thumb=True)).id
        self.batch = self.batches.begin("ann", "Set", {}, [("q", {}, None)])
        self.document = self.library.add("kept.txt", b"Ferries float.").document.id
        self.collection = self.library.create_collection("Boats").id
        self.rows = [
            {**row, "vote": "from-a-file", "turn": "other", "response": LONG}
            for row in export_rows(self.box.votes.votes(), "ratings")
        ]

    def everything(self) -> dict[str, list[Any]]:
        with self.database.reading() as connection:
            return {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}

    # What is typed or written, and takes room ------------------------------------------------------

    def ask(self) -> None:
        messages = (Message(role="user", content=LONG),)
        self.store.begin_turn(ChatRequest(messages=messages, conversation_id=self.conversation), DIGEST)

    def answer(self) -> None:
        self.store.finish_turn(self.running, [part(LONG, "base")])

    def rename_conversation(self) -> None:
        self.store.rename_conversation(self.conversation, "ann", LONG)

    def compare(self) -> None:
        self.comparisons.begin("ann", LONG, {}, CONTESTANTS, blind=True)

    def begin_batch(self) -> None:
        self.batches.begin("ann", "Set", {}, [(LONG, {}, None)])

    def add_document(self) -> None:
        self.library.add("new.txt", LONG.encode())

    def rank(self) -> None:
        ranking = Ranking(comparison_id=self.compared, verdict="ranked", ranks=(1, 2), comment=LONG[:9999])
        self.box.votes.rank("ann", ranking)

    def correct(self) -> None:
        self.box.votes.rate("ann", Rating(turn_id=self.answered, correction=LONG))

    def bring_in(self) -> None:
        assert admit(self.database, self.rows, "ratings").added == 1

    # What is changed or deleted --------------------------------------------------------------------

    def retag(self) -> None:
        self.box.votes.retag(self.vote, ["new"])

    def delete_vote(self) -> None:
        self.box.votes.delete(self.vote)

    def delete_own_votes(self) -> None:
        assert self.box.votes.delete_own("ann") == 1

    def undo(self) -> None:
        self.store.remove_turns_from(self.conversation, "ann", 0)

    def delete_conversation(self) -> None:
        self.store.delete_conversation(self.conversation, "ann")

    def reveal(self) -> None:
        self.box.reveal(self.compared)

    def finish_comparison(self) -> None:
        self.comparisons.finish(self.begun)

    def delete_comparison(self) -> None:
        self.comparisons.delete(self.compared, "ann")

    def cancel_batch(self) -> None:
        self.batches.cancel(self.batch, "ann")

    def delete_batch(self) -> None:
        self.batches.delete(self.batch, "ann")

    def rename_collection(self) -> None:
        self.library.rename_collection(self.collection, "Ships")

    def delete_collection(self) -> None:
        self.library.delete_collection(self.collection)

    def delete_document(self) -> None:
        self.library.delete(self.document)


TAKES_ROOM = (
    *(Desk.ask, Desk.answer, Desk.rename_conversation, Desk.compare, Desk.begin_batch, Desk.add_document),
    *(Desk.rank, Desk.correct, Desk.bring_in),
)
CHANGES = (
    *(Desk.retag, Desk.delete_vote, Desk.delete_own_votes, Desk.undo, Desk.delete_conversation),
    *(Desk.reveal, Desk.finish_comparison, Desk.delete_comparison, Desk.cancel_batch, Desk.delete_batch),
    *(Desk.rename_collection, Desk.delete_collection, Desk.delete_document),
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ready_database("sqlite", tmp_path) as url:
        store = Store(url, busy_timeout=0.05)
        yield Desk(store)
        store.close()


@pytest.mark.parametrize(
    ("trouble", "says", "act"),
    [
        *((full, "database or disk is full", act) for act in TAKES_ROOM),
        *((locked, "database is locked", act) for act in (*TAKES_ROOM, *CHANGES)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_nothing_is_half_kept_and_the_reason_is_told(desk, trouble, says, act):
    before = desk.everything()
    with trouble(desk.database), pytest.raises(StoreUnavailable, match=f"nothing was saved: .*{says}"):
        act(desk)
    assert desk.everything() == before
    act(desk)
    assert desk.everything() != before
