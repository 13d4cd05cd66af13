"""Comparisons and batches over real databases."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, func, select, update

from assistant.database.tables.comparisons import batches
from assistant.database.tables.conversations import turns
from assistant.errors import NotFound, StoreUnavailable
from assistant.feedback.batches import BatchStore, close_batch
from assistant.feedback.comparisons import ComparisonStore
from assistant.feedback.hiding import FAILED
from assistant.feedback.store import Store
from assistant.messages import ChatRequest, Decoding, Failed, Message, Part, Passage, Route, Timing, Usage

CONTESTANTS = [("prompt", "base"), ("tuned", "mood")]
REQUEST = {"question": "why?", "contestants": [{"mode": "prompt"}, {"mode": "tuned", "adapter": "mood"}]}
POISON = Failed(status=422, code="nothing_relevant", message="no passage of 'secret.pdf' fits")


def part(text: str) -> Part:
    return Part(
        route=Route(adapter="mood", confidence=1.0, reason="chosen by you", text="why?"),
        digest="d" * 64,
        decoding=Decoding(seed=3),
        text=text,
        finish_reason="stop",
        usage=Usage(prompt_tokens=9, completion_tokens=2),
        timing=Timing(first_token=0.1, total=0.3),
        prompt="<user>why?",
        passages=(Passage(id=1, document_id="x", document="x.md", start=0, end=4, text="text"),),
    )


class Rig:
    """The stores over one database, and answers without a service."""

    def __init__(self, store: Store) -> None:
        self.turns = store
        self.comparisons = ComparisonStore(store.database)
        self.batches = BatchStore(store.database)

    def begin(self, owner: str = "ann", blind: bool = False):
        return self.comparisons.begin(owner, "why?", REQUEST, CONTESTANTS, blind)

    def ask(self, seat) -> None:
        request = ChatRequest(messages=(Message(role="user", content="why?"),), turn_id=seat.turn_id)
        assert self.turns.begin_turn(request, "0" * 64) == seat.turn_id

    def answer(self, seat, text: str = "because", error: Failed | None = None) -> None:
        self.ask(seat)
        self.turns.finish_turn(seat.turn_id, [] if error else [part(text)], error)

    def batch(self, rows: int, blind: bool = False, broken: int | None = None) -> str:
        about = [(f"q{i}", REQUEST, "line 9: wrong" if i == broken else None) for i in range(rows)]
        return self.batches.begin("ann", "Set", {**REQUEST, "blind": blind}, about)

    def run_row(self) -> str:
        row = self.batches.take_row()
        for seat in self.batches.seats(row.id, CONTESTANTS):
            self.answer(seat)
        self.comparisons.finish(row.id)
        return row.question


@pytest.fixture
def rig(any_store) -> Rig:
    return Rig(any_store)


def test_an_answer_is_found_in_its_column_as_soon_as_it_is_there(rig):
    id, seats = rig.begin()
    rig.answer(seats[1], "early")
    first, second = rig.comparisons.comparison(id, "ann").columns
    assert (first.state, second.state, second.text) == ("waiting", "finished", "early")
    assert second.parts == (part("early"),) and (second.mode, second.adapter) == ("tuned", "mood")
    rig.answer(seats[0])
    rig.comparisons.finish(id)
    kept = rig.comparisons.comparison(id, "ann")
    assert kept.state == "finished" and kept.finished_at is not None and kept.request == REQUEST


def test_the_first_end_of_a_comparison_stands(rig):
    id, seats = rig.begin()
    rig.answer(seats[0])
    rig.comparisons.finish(id, "cancelled")
    rig.comparisons.finish(id)
    kept = rig.comparisons.comparison(id, "ann")
    assert kept.state == "cancelled" and [c.state for c in kept.columns] == ["finished", "failed"]
    assert "not asked" in kept.columns[1].error


def test_a_blind_comparison_gives_nothing_away_until_it_is_revealed(rig):
    id, seats = rig.begin(blind=True)
    rig.answer(seats[0])
    rig.answer(seats[1], error=POISON)
    rig.comparisons.finish(id)
    hidden = rig.comparisons.comparison(id, "ann")
    assert hidden.is_hidden
    for column in hidden.columns:
        assert (column.position, column.mode, column.adapter) == (None, None, None)
        assert column.error in (None, FAILED) and "secret" not in repr(column)
        for one in column.parts:
            assert (one.route.adapter, one.digest, one.prompt, one.passages) == ("", None, None, ())
            assert (one.usage, one.timing, one.decoding) == (Usage(), Timing(), Decoding())
    shown = rig.comparisons.reveal(id, "ann")
    assert not shown.is_hidden and {c.mode for c in shown.columns} == {"prompt", "tuned"}
    assert {c.error for c in shown.columns} == {None, POISON.message}
    assert [c.shown for c in shown.columns] == [0, 1]
    assert rig.comparisons.reveal(id, "ann").revealed_at == shown.revealed_at, "the first moment stands"


def test_an_open_comparison_is_never_revealed(rig):
    id, _ = rig.begin()
    assert rig.comparisons.reveal(id, "ann").revealed_at is None


def test_the_places_of_a_blind_comparison_are_shuffled_and_kept(rig):
    orders = set()
    for _ in range(24):
        id, seats = rig.begin(blind=True)
        orders.add(tuple(seat.shown for seat in seats))
        shown = rig.comparisons.reveal(id, "ann")
        assert {c.position: c.shown for c in shown.columns} == {s.position: s.shown for s in seats}
    assert orders == {(0, 1), (1, 0)}


def test_an_owner_sees_only_their_own(rig):
    id, _ = rig.begin()
    batch = rig.batch(1)
    for call in (
        lambda: rig.comparisons.comparison(id, "bob"),
        lambda: rig.comparisons.reveal(id, "bob"),
        lambda: rig.comparisons.delete(id, "bob"),
        lambda: rig.batches.batch(batch, "bob"),
        lambda: rig.batches.rows(batch, "bob"),
        lambda: rig.batches.cancel(batch, "bob"),
        lambda: rig.batches.delete(batch, "bob"),
        lambda: rig.batches.reveal(batch, "bob"),
    ):
        with pytest.raises(NotFound):
            call()
    assert rig.comparisons.comparisons("bob") == [] and rig.batches.batches("bob") == []
    assert [c.id for c in rig.comparisons.comparisons("ann")] == [id], "rows of a batch stand in their batch"


def test_what_a_crash_left_is_over_with_the_answers_it_had(rig):
    id, seats = rig.begin()
    rig.answer(seats[0])
    rig.ask(seats[1])
    rig.turns.recover()
    assert rig.comparisons.recover() == 1
    kept = rig.comparisons.comparison(id, "ann")
    assert kept.state == "interrupted" and [c.state for c in kept.columns] == ["finished", "failed"]
    assert kept.columns[0].text == "because"


def test_one_whose_answers_had_all_ended_before_the_crash_is_finished(rig):
    id, seats = rig.begin()
    rig.answer(seats[0])
    rig.answer(seats[1], error=POISON)
    rig.turns.recover()
    rig.comparisons.recover()
    assert rig.comparisons.comparison(id, "ann").state == "finished"


def test_a_row_a_crash_left_is_gone_on_with_where_it_was(rig):
    batch = rig.batch(2)
    row = rig.batches.take_row()
    answered, lost = rig.batches.seats(row.id, CONTESTANTS)
    rig.answer(answered)
    rig.ask(lost)
    rig.turns.recover()
    rig.comparisons.recover()
    again = rig.batches.take_row()
    assert again.id == row.id
    (seat,) = rig.batches.seats(row.id, CONTESTANTS)
    assert (seat.position, seat.shown) == (lost.position, lost.shown) and seat.turn_id != lost.turn_id
    rig.answer(seat)
    rig.comparisons.finish(row.id)
    assert [c.state for c in rig.batches.rows(batch, "ann")[0].columns] == ["finished", "finished"]
    assert rig.batches.rows(batch, "ann")[0].columns[0].turn_id == answered.turn_id


def test_a_column_that_failed_for_good_is_not_asked_again(rig):
    rig.batch(1)
    row = rig.batches.take_row()
    first, second = rig.batches.seats(row.id, CONTESTANTS)
    rig.answer(first, error=POISON)
    rig.answer(second, error=Failed(status=429, code="queue_full", message="64 wait"))
    assert [s.position for s in rig.batches.seats(row.id, CONTESTANTS)] == [1]


def test_an_answer_whose_end_was_not_kept_is_asked_again_in_a_batch_and_else_has_failed(rig):
    rig.batch(1)
    row = rig.batches.take_row()
    first, second = rig.batches.seats(row.id, CONTESTANTS)
    rig.answer(first)
    rig.ask(second)
    (again,) = rig.batches.seats(row.id, CONTESTANTS)
    assert again.position == second.position and again.turn_id != second.turn_id
    for state, told in ((None, "failed"), ("cancelled", "cancelled")):
        alone, seats = rig.begin()
        rig.answer(seats[0])
        rig.ask(seats[1])
        rig.comparisons.finish(alone, state)
        lost = rig.comparisons.comparison(alone, "ann").columns[1]
        assert lost.state == told and bool(lost.error) is (told == "failed")


def test_a_batch_counts_its_rows_and_ends_with_the_last(rig):
    batch = rig.batch(3, broken=1)
    kept = rig.batches.batch(batch, "ann")
    assert (kept.state, kept.rows, kept.done, kept.failed) == ("running", 3, 1, 1)
    assert [rig.run_row(), rig.run_row()] == ["q0", "q2"] and rig.batches.take_row() is None
    kept = rig.batches.batch(batch, "ann")
    assert (kept.state, kept.done, kept.failed) == ("finished", 3, 1) and kept.finished_at is not None
    assert [r.error for r in rig.batches.rows(batch, "ann", start=1, limit=1)] == ["line 9: wrong"]


def test_a_batch_whose_last_rows_end_at_the_same_moment_ends_with_them(rig, monkeypatch):
    batch = rig.batch(2)
    first, second = rig.batches.take_row(), rig.batches.take_row()
    both = threading.Barrier(2)

    def close_and_wait(*where) -> None:
        close_batch(*where)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(1)  # so that neither commits before the other has looked, where it need not wait for it

    monkeypatch.setattr("assistant.feedback.comparisons.close_batch", close_and_wait)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(rig.comparisons.finish, (first.id, second.id)))
    assert rig.batches.batch(batch, "ann").state == "finished"


def test_a_batch_that_was_left_running_with_all_its_rows_over_ends_at_the_next_start(rig):
    batch = rig.batch(1)
    rig.run_row()
    waits = rig.batch(1)
    with rig.turns.database.writing() as connection:
        connection.execute(update(batches).where(batches.c.id == batch).values(state="running", finished_at=None))
    rig.comparisons.recover()
    assert rig.batches.batch(batch, "ann").state == "finished"
    assert rig.batches.batch(waits, "ann").state == "running"


def test_no_row_of_a_cancelled_batch_is_taken(rig):
    batch = rig.batch(3)
    rig.run_row()
    rig.batches.cancel(batch, "ann")
    assert rig.batches.take_row() is None
    assert [r.state for r in rig.batches.rows(batch, "ann")] == ["finished", "cancelled", "cancelled"]


def test_a_row_that_was_taken_before_its_batch_was_cancelled_is_not_asked(rig):
    batch = rig.batch(2)
    rows = [rig.batches.take_row(), rig.batches.take_row()]
    rig.batches.seats(rows[1].id, CONTESTANTS)
    rig.batches.cancel(batch, "ann")
    assert [rig.batches.seats(row.id, CONTESTANTS) for row in rows] == [(), ()]


def test_a_row_is_not_taken_from_a_batch_that_is_cancelled_meanwhile(rig):
    batch, pool, cancelling = rig.batch(1), ThreadPoolExecutor(1), []

    def cancel_meanwhile(connection, cursor, statement, *rest) -> None:
        if statement.startswith("UPDATE comparisons") and not cancelling:
            cancelling.append(pool.submit(rig.batches.cancel, batch, "ann"))
            with contextlib.suppress(TimeoutError):  # it waits for the row to be taken
                cancelling[0].result(1)

    event.listen(rig.turns.database.engine, "before_cursor_execute", cancel_meanwhile)
    rig.batches.take_row()
    pool.shutdown()
    cancelling[0].result()
    assert rig.batches.rows(batch, "ann")[0].state == "cancelled"


def test_a_deleted_batch_takes_its_answers_along_and_no_others(rig):
    alone, seats = rig.begin()
    rig.answer(seats[0])
    batch = rig.batch(1)
    rig.run_row()
    (row,) = rig.batches.rows(batch, "ann")
    rig.batches.delete(batch, "ann")
    for column in row.columns:
        with pytest.raises(NotFound):
            rig.turns.turn(column.turn_id)
    assert rig.comparisons.comparison(alone, "ann").columns[0].text == "because"
    rig.comparisons.delete(alone, "ann")
    with pytest.raises(NotFound):
        rig.turns.turn(seats[0].turn_id)
    with pytest.raises(NotFound):
        rig.comparisons.finish(alone)


def test_a_deleted_batch_leaves_nothing_of_what_was_asked_again(rig):
    batch = rig.batch(1)
    row = rig.batches.take_row()
    for _ in range(3):
        for seat in rig.batches.seats(row.id, CONTESTANTS):
            rig.answer(seat, error=Failed(status=429, code="queue_full", message="64 wait"))
    rig.batches.delete(batch, "ann")
    with rig.turns.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(turns)) == 0


def test_only_rows_that_are_over_are_revealed_with_their_batch(rig):
    batch = rig.batch(2, blind=True)
    rig.run_row()
    rig.batches.reveal(batch, "ann")
    assert [r.is_hidden for r in rig.batches.rows(batch, "ann")] == [False, True]


def test_more_rows_than_one_query_may_name_are_read_whole(rig, monkeypatch):
    monkeypatch.setattr("assistant.feedback.columns.MOST_BOUND", 2)
    batch = rig.batch(5)
    for _ in range(5):
        rig.run_row()
    rows = rig.batches.rows(batch, "ann")
    assert [r.question for r in rows] == ["q0", "q1", "q2", "q3", "q4"]
    assert all([c.text for c in r.columns] == ["because", "because"] for r in rows)


def test_a_locked_database_keeps_nothing_and_says_so(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=0.1)
    store.migrate()
    rig = Rig(store)
    with store.database.writing(), pytest.raises(StoreUnavailable, match="nothing was saved"):
        rig.begin()
    assert rig.comparisons.comparisons("ann") == []
    store.close()
