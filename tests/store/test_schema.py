"""The tables come into being once, whoever starts when; a newer flowtap's are left alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.errors import StoreOutdated, StoreUnavailable, unusable
from store.keys import credential_hash
from store.layout import Layout
from store.local import LocalStore, rebuild_store
from store.location import open_reader
from store.reader import LocalReader
from store.record import KeyKind
from store.schema import index_migrations, key_migrations, migrate
from tests.store.builders import SECRET, done, record, writing


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


FIRST_INDEX, FIRST_KEYS = 3, 1
"""Migrations of the first version."""


@pytest.fixture
def older(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the first version: a key that is on, one that is off, and nothing recorded."""
    layout = Layout(root)
    layout.create()
    with monkeypatch.context() as patch:
        for migrations, count in ((index_migrations, FIRST_INDEX), (key_migrations, FIRST_KEYS)):
            patch.setattr(migrations, "_migrations", migrations._migrations[:count])
        migrate(layout)
    hashed = credential_hash(layout.read_secret(), SECRET.encode())
    with closing(sqlite3.connect(layout.keys)) as connection, connection:
        connection.executemany(
            "INSERT INTO keys (id, name, hash, last4, retention_s, created_ms)"
            " VALUES (?, ?, ?, '0000', ?, 7)",
            [("a" * 16, "on", hashed, 3600), ("b" * 16, "off", "0" * 64, None)],
        )
    return root


def test_an_older_store_is_told_by_a_reader_and_left_as_it_is(older: Path) -> None:
    before = [(older / name).read_bytes() for name in ("keys.db", "index.db")]
    with pytest.raises(StoreOutdated, match="was made by an older flowtap; `flowtap ls`") as caught:
        LocalReader(older)

    assert "\n" not in str(caught.value)
    assert before == [(older / name).read_bytes() for name in ("keys.db", "index.db")]


def test_an_older_store_is_brought_up_to_date_by_whoever_reads_it(older: Path) -> None:
    with closing(open_reader(str(older))) as reader:
        on, off = reader.key("on"), reader.key("off")
        assert [] == reader.records()
    assert [(KeyKind.SECRET, None)] * 2 == [(each.kind, each.rule) for each in (on, off)]
    assert (3600, "0000", 7, None) == (on.retention_s, on.last4, on.created_ms, off.retention_s)
    with (
        closing(LocalStore(older)) as store,
        closing(store.reader()) as reader,
        writing(store) as writer,
    ):
        assert on == writer.keys.match([SECRET.encode()], ())
        done(reader, record(writer, on).id)


def test_an_older_proxy_goes_on_writing_to_a_store_brought_up_to_date(older: Path) -> None:
    """It names its columns, and those that came later have defaults."""
    status = "writer, pid, address, started_ms, heartbeat_ms, seen, recorded, unmatched"
    with closing(sqlite3.connect(older / "index.db", isolation_level=None)) as proxy:
        proxy.execute("SELECT 1 FROM proxies").fetchall()
        with closing(open_reader(str(older))) as reader:
            proxy.execute(
                f"INSERT OR REPLACE INTO proxies ({status}, lost_records, lost_bytes)"  # noqa: S608
                " VALUES ('w', 1, '127.0.0.1:8080', 2, 3, 4, 5, 6, 0, 0)"
            )
            (told,) = reader.proxies()
    assert ("127.0.0.1:8080", 4, 5, 6) == (told.address, told.seen, told.recorded, told.unmatched)
    assert (0, 0, None) == (told.ring_exchanges, told.ring_bytes, told.ring_since_ms)
