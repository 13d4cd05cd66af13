"""kill -9 in the middle of a batch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import func, select

from assistant.comparison.request import Contestant, Setup
from assistant.database.tables.conversations import turns
from assistant.feedback.batches import BatchStore

ROOT = Path(__file__).parents[2]
ROWS = 24
SETUP = Setup(contestants=(Contestant(mode="prompt"), Contestant(mode="tuned", adapter="sums")), seed=1)


@contextlib.contextmanager
def working(database: Path, adapters: Path) -> Iterator[None]:
    """A process at work on the batches; it is killed at the end, however far it is."""
    command = [sys.executable, "-m", "tests.comparison.batch_process", str(database), str(adapters)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"working\n"
            yield
        finally:
            process.kill()


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_batch_killed_again_and_again_is_answered_once_and_whole(store, adapters, tmp_path):
    kept = BatchStore(store.database)
    rows = [(f"q{n}", SETUP.ask(f"q{n}").record(), None) for n in range(ROWS)]
    batch_id = kept.begin("ann", "Set", SETUP.record(), rows)
    known: dict[str, str] = {}
    for round in range(1, 3):
        with working(tmp_path / "swapboard.db", adapters):
            until(lambda least=round * 5: kept.batch(batch_id, "ann").done >= least)
        answers = {
            column.turn_id: column.text
            for row in kept.rows(batch_id, "ann")
            for column in row.columns
            if column.state == "finished"
        }
        assert known.items() <= answers.items(), "what was answered is still there"
        known = answers
    assert kept.batch(batch_id, "ann").state == "running" and len(known) < 2 * ROWS
    with working(tmp_path / "swapboard.db", adapters):
        until(lambda: kept.batch(batch_id, "ann").state == "finished")
    rows = kept.rows(batch_id, "ann")
    assert [row.state for row in rows] == ["finished"] * ROWS
    assert [[c.text for c in row.columns] for row in rows] == [["base: word1 word2", "sums: word1 word2"]] * ROWS
    assert known.items() <= {c.turn_id: c.text for row in rows for c in row.columns}.items()
    with store.database.reading() as connection:
        finished = connection.scalar(select(func.count()).where(turns.c.state == "finished"))
    assert finished == 2 * ROWS, "nothing was answered twice"
