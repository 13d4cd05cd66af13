"""The numbered steps of the tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from assistant.database.connection import MIGRATIONS, Database, newest_revision
from assistant.database.schema import metadata
from assistant.errors import SettingsError, StoreUnavailable


@pytest.fixture
def database(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'a b%20c' / 'swapboard.db'}")
    yield database
    database.close()


def test_a_blank_database_is_brought_to_the_newest_revision(database):
    assert database.revision is None
    database.migrate()
    assert database.revision == newest_revision()


def test_migrating_again_changes_nothing(database):
    database.migrate()
    database.migrate()
    assert database.revision == newest_revision()


def test_the_migrations_end_at_the_very_tables_of_the_schema(database):
    database.migrate()
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


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
