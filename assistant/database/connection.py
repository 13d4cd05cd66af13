"""The database under the store: connections, transactions, migrations, and errors in our own words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from assistant.errors import InvalidRequest, SettingsError, StoreUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"

OUR_MISTAKES = (IntegrityError, ProgrammingError, NotSupportedError)
"""Errors that say the query is wrong, not that the database is away."""


class Database:
    """Thread-safe. `reading()` and `writing()` give a connection inside one transaction.

    `busy_timeout` is how many seconds a SQLite writer waits for another one.
    """

    def __init__(self, url: str, busy_timeout: float = 10.0) -> None:
        """Opens nothing yet.

        Raises:
            SettingsError: the URL is malformed, its driver is missing, or it names a SQLite database in memory.
            StoreUnavailable: the folder of a SQLite file cannot be made.
        """
        try:
            parsed = make_url(url)
            self.engine = create_engine(parsed)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise SettingsError(
                f"database URL {url!r}: {error}; allowed: sqlite:///path/to/file.db or postgresql+psycopg://…"
            ) from error
        self._one_writer: threading.Lock | None = None
        if parsed.get_backend_name() == "sqlite":
            _prepare_sqlite(self.engine, parsed, busy_timeout)
            self._one_writer = threading.Lock()
        self._busy_timeout = busy_timeout
        self._writer = self.engine.execution_options(is_writer=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Raises StoreUnavailable where the database does not answer."""
        with self._told_plainly("read"), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Commits at the end of the block; once it is left without an error, the data is on disk.

        Raises:
            StoreUnavailable: the database is locked, full, read-only or gone; nothing of the block was saved.
            InvalidRequest: it cannot hold a value, as PostgreSQL a NUL in a text; nothing of the block was saved.
        """
        with self._told_plainly("saved"), self._turn_to_write(), self._writer.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to the newest revision; all of it or nothing.

        Raises:
            StoreUnavailable: the database does not answer, or a newer Swapboard has written it.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        try:
            with self.writing() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise StoreUnavailable(
                f"the database cannot be brought up to date: {error}; "
                f"this Swapboard knows revisions up to {newest_revision()}"
            ) from error

    @property
    def revision(self) -> str | None:
        """The revision of the tables; None where there are none yet."""
        with self.reading() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        """One at a time in this process: SQLite's own waiting is a poll, in which some of many writers never win."""
        if self._one_writer is None:
            yield
            return
        if not self._one_writer.acquire(timeout=self._busy_timeout):
            raise StoreUnavailable(f"nothing was saved: database is locked ({self._name})")
        try:
            yield
        finally:
            self._one_writer.release()

    @property
    def _name(self) -> str:
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def _told_plainly(self, what: str) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as error:
            raise StoreUnavailable(f"nothing was {what}: all database connections are in use") from error
        except DataError as error:
            raise InvalidRequest(f"nothing was {what}: {error.orig}") from error
        except DBAPIError as error:
            if isinstance(error, OUR_MISTAKES):
                raise
            raise StoreUnavailable(f"nothing was {what}: {_first(error).orig} ({self._name})") from error


def _first(error: DBAPIError) -> DBAPIError:
    """The error that began it: a full disk ends the whole transaction, and going back to a savepoint then fails too."""
    first, context = error, error.__context__
    while context is not None:
        if isinstance(context, DBAPIError):
            first = context
        context = context.__context__
    return first


def newest_revision() -> str | None:
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def _prepare_sqlite(engine: Engine, url: URL, busy_timeout: float) -> None:
    if url.database in (None, "", ":memory:"):
        raise SettingsError(
            f"database URL 'sqlite:///{url.database or ''}': every thread would see its own; give sqlite:/// a file"
        )
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the folder of the database cannot be made: {error}") from error

    @event.listens_for(engine, "connect")
    def set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)  # for the type checker: the driver is SQLite's
        # The driver would begin transactions late and never around DDL; `begin` below does it instead.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
        connection.execute("PRAGMA journal_mode=WAL")
        # With FULL, a committed turn survives a power cut; NORMAL under WAL may lose the last ones.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer takes its lock at once: one that has read first may not wait for another, it fails.
        is_writer = connection.get_execution_options().get("is_writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")
