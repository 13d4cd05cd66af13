"""The numbered steps of the tables."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from assistant.database.connection import MIGRATIONS, Database, newest_revision
from assistant.database.schema import metadata
from assistant.errors import SettingsError, StoreUnavailable
from assistant.feedback.store import Store
from assistant.feedback.votes import Rating, VoteStore
from tests.databases import KINDS, blank_database


@pytest.fixture(params=KINDS)
def any_database(request, tmp_path: Path):
    with blank_database(request.param, tmp_path) as url:
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def database(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'a b%20c' / 'swapboard.db'}")
    yield database
    database.close()


def test_a_blank_database_is_brought_to_the_newest_revision(any_database):
    assert any_database.revision is None
    any_database.migrate()
    assert any_database.revision == newest_revision()


def test_migrating_again_changes_nothing(any_database):
    any_database.migrate()
    any_database.migrate()
    assert any_database.revision == newest_revision()


def test_the_migrations_end_at_the_very_tables_of_the_schema(any_database):
    any_database.migrate()
    with any_database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


INSERT_CONVERSATION = (
    "INSERT INTO conversations (id, owner, title, created_at, updated_at) VALUES ('c', 'ann', 'Old', '{0}', '{0}')"
)
INSERT_TURN = (
    "INSERT INTO turns (id, conversation_id, position, created_at, finished_at, state, kind, adapter, request,"
    " user_text, parts, base_digest, liked)"
    " VALUES ('{0}', 'c', {1}, '{2}', '{2}', 'finished', 'chat', 'base', '{{}}', 'x', '[]', '', {3})"
)


def test_thumbs_of_the_first_schema_become_ratings(any_database, monkeypatch):
    monkeypatch.setattr("assistant.database.connection.command.upgrade", partial(upgrade_to, "0001"))
    any_database.migrate()
    monkeypatch.undo()
    moment = "2026-01-02 03:04:05.000006"
    with any_database.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL timezone = 'UTC'")
        connection.exec_driver_sql(INSERT_CONVERSATION.format(moment))
        for place, (turn_id, liked) in enumerate((("up", "true"), ("down", "false"), ("none", "null"))):
            connection.exec_driver_sql(INSERT_TURN.format(turn_id, place, moment, liked))
    any_database.migrate()
    assert any_database.revision == newest_revision()

    votes = {vote.subject_id: vote for vote in VoteStore(any_database).export_own("ann")}
    assert {name: vote.ballot for name, vote in votes.items()} == {
        "up": Rating(turn_id="up", thumb=True),
        "down": Rating(turn_id="down", thumb=False),
    }
    assert votes["up"].created_at == datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC) and not votes["up"].was_blind
    store = Store(any_database.engine.url.render_as_string(hide_password=False))
    assert [turn.liked for turn in store.conversation("c", "ann").turns] == [True, False, None]
    store.close()


INSERT_COMPARISON = (
    "INSERT INTO comparisons (id, owner, position, created_at, state, question, request, blind)"
    " VALUES ('k', 'ann', 0, '2026-01-02 03:04:05', 'finished', 'why?', '{}', false)"
)
INSERT_COLUMN = (
    "INSERT INTO comparison_columns (comparison_id, position, shown, mode, adapter, turn_id)"
    " VALUES ('k', {0}, {0}, '{1}', 'qa', '{2}')"
)


def test_columns_of_the_fourth_schema_stay_and_longer_ways_fit_beside_them(any_database, monkeypatch):
    monkeypatch.setattr("assistant.database.connection.command.upgrade", partial(upgrade_to, "0004"))
    any_database.migrate()
    monkeypatch.undo()
    with any_database.writing() as connection:
        connection.exec_driver_sql(INSERT_COMPARISON)
        connection.exec_driver_sql(INSERT_COLUMN.format(0, "tuned", "a"))
    any_database.migrate()
    longest = f"rag-tuned, best of 16 by {'j' * 64}"
    with any_database.writing() as connection:
        connection.exec_driver_sql(INSERT_COLUMN.format(1, longest, "b"))
    with any_database.reading() as connection:
        kept = connection.exec_driver_sql("SELECT mode FROM comparison_columns ORDER BY position").scalars().all()
    assert kept == ["tuned", longest]
    with pytest.raises(IntegrityError), any_database.writing() as connection:
        connection.exec_driver_sql(INSERT_COLUMN.format(2, "tuned", "b"))
    with any_database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM comparisons")
    with any_database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM comparison_columns").scalar() == 0


def upgrade_to(revision: str, config: Config, _: str) -> None:
    upgrade(config, revision)


def test_a_migration_that_fails_leaves_nothing_behind(database, monkeypatch, tmp_path):
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    (folder / "versions" / "0001_broken.py").write_text(
        "from alembic import op\nrevision = '0001'\ndown_revision = None\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    raise RuntimeError('midway')\n"
    )
    monkeypatch.setattr("assistant.database.connection.MIGRATIONS", folder)
    with pytest.raises(RuntimeError, match="midway"):
        database.migrate()
    with database.reading() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'").scalars().all()
    assert tables == []


def test_a_database_of_a_newer_version_is_refused(database):
    database.migrate()
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num='9999'")
    with pytest.raises(StoreUnavailable, match=f"9999.*up to {newest_revision()}"):
        database.migrate()


@pytest.mark.parametrize("url", ["nonsense", "nosuch:///x", "sqlite:///", "sqlite:///:memory:"])
def test_a_url_that_cannot_be_used_is_refused_by_name(url):
    with pytest.raises(SettingsError, match=url):
        Database(url)
