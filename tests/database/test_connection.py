"""Transactions on a SQLite file."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from assistant.database.connection import Database
from assistant.errors import StoreUnavailable


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'swapboard.db'}", busy_timeout=20.0)
    with database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER)")
    yield database
    database.close()


def test_of_many_writers_at_once_none_starves(database):
    start = threading.Barrier(15)

    def write(number: int) -> None:
        start.wait()
        for _ in range(4):
            with database.writing() as connection:
                connection.exec_driver_sql("INSERT INTO numbers VALUES (?)", (number,))
                time.sleep(0.01)

    with ThreadPoolExecutor(15) as pool:
        list(pool.map(write, range(15)))
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM numbers").scalar() == 60


def test_a_writer_that_fails_gives_its_turn_back(database):
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
        raise ZeroDivisionError
    with database.writing() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM numbers").scalar() == 0


def test_a_turn_that_does_not_come_is_told_as_a_lock(tmp_path, database):
    hasty = Database(database.engine.url.render_as_string(), busy_timeout=0.1)
    for one in (hasty, Database(hasty.engine.url.render_as_string(), busy_timeout=0.1)):
        with (
            hasty.writing(),
            pytest.raises(StoreUnavailable, match="nothing was saved: database is locked"),
            one.writing(),
        ):
            pass
        one.close()
