"""The tables come into being once, whoever starts when; a newer flowtap's are left alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.errors import StoreUnavailable, unusable
from store.local import LocalStore, rebuild_store
from store.reader import LocalReader
from store.schema import index_migrations, key_migrations, migrate


def test_migrating_again_changes_nothing_that_a_follower_sees(
    store: LocalStore, reader: LocalReader
) -> None:
    before = (reader.version(), reader.generation())
    migrate(store.layout)

    assert before == (reader.version(), reader.generation())


@pytest.mark.parametrize(
    ("database", "migration_set"), [("index.db", "flowtap-index"), ("keys.db", "flowtap-keys")]
)
def test_a_newer_version_s_tables_are_refused(
    store: LocalStore, root: Path, database: str, migration_set: str
) -> None:
    store.close()
    with closing(sqlite3.connect(root / database)) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)",
            (migration_set, "m999_future", "2099"),
        )
    for refused in (LocalStore, rebuild_store):
        with pytest.raises(StoreUnavailable, match=f"{database} was made by a newer flowtap"):
            refused(root)


def test_the_databases_are_set_up_as_promised(store: LocalStore, root: Path) -> None:
    with closing(sqlite3.connect(root / "index.db")) as connection:
        assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()
        (sql,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'records'"
        ).fetchone()
    assert "AUTOINCREMENT" in sql
    with closing(sqlite3.connect(root / "keys.db")) as connection:
        assert ("delete",) == connection.execute("PRAGMA journal_mode").fetchone()
    assert index_migrations.name != key_migrations.name


@pytest.mark.parametrize(
    ("database", "text", "says"),
    [
        ("index.db", "database disk image is malformed", "flowtap rebuild"),
        ("index.db", "file is not a database", "flowtap rebuild"),
        ("index.db", "database or disk is full", "full"),
        ("keys.db", "file is not a database", "restore it from a copy"),
    ],
)
def test_what_sqlite_says_is_one_line_that_helps(database: str, text: str, says: str) -> None:
    told = str(unusable(Path("/s") / database, sqlite3.DatabaseError(text)))

    assert f"/s/{database}" in told
    assert says in told
    assert "\n" not in told
    assert ("rebuild" in told) == ("rebuild" in says)
