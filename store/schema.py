"""The tables, by sqlite-utils migrations, and how a writing connection is opened.

Two databases: `index.db` can be thrown away and made anew from the segments; `keys.db`
cannot, so it is small, apart, and synced fully. Migrations run under the schema lock,
since several processes may start at once.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database, Migrations

from store.errors import StoreUnavailable, unusable
from store.layout import Layout, locked

BUSY_TIMEOUT_S = 10.0

index_migrations = Migrations("flowtap-index")
key_migrations = Migrations("flowtap-keys")


@index_migrations()
def m001_records(db: Database) -> None:
    """The rows. AUTOINCREMENT: `seq` is commit order and is never used twice, so a follower misses nothing."""
    db.execute(
        """
        CREATE TABLE records (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            key_id TEXT NOT NULL,
            state TEXT NOT NULL,
            started_ms INTEGER NOT NULL,
            completed_ms INTEGER,
            method TEXT NOT NULL,
            scheme TEXT NOT NULL,
            host TEXT NOT NULL,
            port INTEGER NOT NULL,
            path TEXT NOT NULL,
            protocol TEXT,
            model TEXT,
            status INTEGER,
            content_type TEXT,
            streamed INTEGER NOT NULL DEFAULT 0,
            verdict TEXT,
            transport TEXT,
            error TEXT,
            input_tokens INTEGER,
            output_tokens INTEGER,
            cache_read_tokens INTEGER,
            cache_write_tokens INTEGER,
            reasoning_tokens INTEGER,
            request_bytes INTEGER NOT NULL DEFAULT 0,
            response_bytes INTEGER NOT NULL DEFAULT 0,
            lost_bytes INTEGER NOT NULL DEFAULT 0,
            ttft_ms INTEGER,
            duration_ms INTEGER,
            writer TEXT NOT NULL,
            segment TEXT,
            start INTEGER,
            record_at INTEGER
        )
        """
    )
    db.execute("CREATE INDEX records_key_id ON records (key_id, id)")
    db.execute("CREATE INDEX records_key_completed ON records (key_id, completed_ms)")
    db.execute("CREATE INDEX records_segment ON records (segment)")
    db.execute("CREATE INDEX records_live ON records (writer) WHERE state = 'live'")


@index_migrations()
def m002_segments(db: Database) -> None:
    """How far each segment is indexed, and which are to be purged."""
    db.table("segments").create(
        {"name": str, "key_id": str, "writer": str, "indexed": int},
        pk="name",
        not_null={"key_id", "writer", "indexed"},
        strict=True,
    )
    db.table("tombstones").create(
        {"segment": str, "cutoff_ms": int}, pk="segment", not_null={"cutoff_ms"}, strict=True
    )


@index_migrations()
def m003_status(db: Database) -> None:
    """What proxies say of themselves, and the counter a purge turns."""
    db.table("proxies").create(
        {
            "writer": str,
            "pid": int,
            "address": str,
            "started_ms": int,
            "heartbeat_ms": int,
            "seen": int,
            "recorded": int,
            "unmatched": int,
            "lost_records": int,
            "lost_bytes": int,
            "last_unmatched_ms": int,
            "last_unmatched_host": str,
            "last_unmatched_fingerprint": str,
            "error": str,
        },
        pk="writer",
        strict=True,
    )
    db.table("counters").create(
        {"name": str, "value": int}, pk="name", not_null={"value"}, strict=True
    )
    db.table("counters").insert({"name": "generation", "value": 1})


@index_migrations()
def m004_rings(db: Database) -> None:
    """What a proxy's memory ring holds, if it has one, and how many calls it refused; older
    proxies on the same store say nothing of it."""
    proxies = db.table("proxies")
    proxies.add_column("ring_exchanges", int, not_null_default=0)
    proxies.add_column("ring_bytes", int, not_null_default=0)
    proxies.add_column("ring_since_ms", int)
    proxies.add_column("has_ring", int, not_null_default=0)
    proxies.add_column("refused", int, not_null_default=0)


@index_migrations()
def m005_seen(db: Database) -> None:
    """Who sent calls of no key that is on (store.seen); texts that are absent are ""."""
    db.table("seen").create(
        {
            "hash": str,
            "host": str,
            "client": str,
            "fingerprint": str,
            "key_id": str,
            "count": int,
            "first_ms": int,
            "last_ms": int,
        },
        pk=("hash", "host", "client"),
        not_null={"hash", "host", "client", "fingerprint", "count", "first_ms", "last_ms"},
        strict=True,
    )
    db.table("seen").create_index(["last_ms"])


@index_migrations()
def m006_answers(db: Database) -> None:
    """What proxies answered to asks (store.asks)."""
    db.table("answers").create(
        {"ask": str, "writer": str, "records": int, "at_ms": int},
        pk=("ask", "writer"),
        not_null={"ask", "writer", "records", "at_ms"},
        strict=True,
    )


@index_migrations()
def m007_clients(db: Database) -> None:
    """Who sent a record's request; not known of rows that were there before a rebuild."""
    db.table("records").add_column("client", str)


@index_migrations()
def m008_limits(db: Database) -> None:
    """The size cap that a proxy sets (store.cap); what it came to is in `counters`."""
    db.table("proxies").add_column("max_bytes", int)


@key_migrations()
def m001_keys(db: Database) -> None:
    """The keys. The secret is not among the columns and never was."""
    db.table("keys").create(
        {
            "id": str,
            "name": str,
            "hash": str,
            "last4": str,
            "retention_s": int,
            "created_ms": int,
        },
        pk="id",
        not_null={"name", "hash", "last4", "created_ms"},
        strict=True,
    )
    db.table("keys").create_index(["name"], unique=True)
    db.table("keys").create_index(["hash"], unique=True)


@key_migrations()
def m002_rules(db: Database) -> None:
    """Keys may go by a rule. Those that were there go by their secret's hash."""
    keys = db.table("keys")
    keys.add_column("kind", str, not_null_default="secret")
    keys.add_column("rule_name", str)
    keys.add_column("rule_pattern", str)


@key_migrations()
def m003_asks(db: Database) -> None:
    """What users ask of running proxies (store.asks): here, since writers watch this database already."""
    db.table("asks").create(
        {"id": str, "key_id": str, "since_ms": int, "fingerprint": str, "created_ms": int},
        pk="id",
        not_null={"key_id", "since_ms", "created_ms"},
        strict=True,
    )


@key_migrations()
def m004_pins(db: Database) -> None:
    """The pinned records (store.pins): here, since no segment tells of them. Two orders, for the list
    of all and that of one key."""
    db.execute(
        """
        CREATE TABLE pins (
            record_id TEXT NOT NULL PRIMARY KEY,
            key_id TEXT NOT NULL,
            pinned_ms INTEGER NOT NULL
        ) WITHOUT ROWID
        """
    )
    db.table("pins").create_index(["key_id", "record_id"])


def open_database(path: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> Database:
    """A writing connection of one thread at a time, closed by its owner."""
    # check_same_thread: made on the thread that opens the store, used by the writer's alone.
    connection = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    # Plugins would load whatever is installed into the user's proxy.
    return Database(connection, execute_plugins=False)


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction, committed at the end, rolled back if anything raised.

    IMMEDIATE: a plain BEGIN that turns into a write fails at once when another process wrote in
    between, whatever the busy timeout.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors SQLite has rolled back already, and ROLLBACK itself would raise.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrate(layout: Layout) -> None:
    """Bring both databases to this version's tables; StoreUnavailable if a newer flowtap made them."""
    with locked(layout.schema_lock):
        for path, migrations, journal in (
            (layout.keys, key_migrations, "DELETE"),
            (layout.index, index_migrations, "WAL"),
        ):
            db = open_database(path)
            try:
                # Pages of what is deleted are overwritten, whatever SQLite was built with.
                db.execute("PRAGMA secure_delete=ON")
                db.execute(f"PRAGMA journal_mode={journal}").fetchone()
                _refuse_newer(db, migrations, path)
                migrations.apply(db)
            except sqlite3.Error as exc:
                raise unusable(path, exc) from exc
            finally:
                db.close()


def _refuse_newer(db: Database, migrations: Migrations, path: Path) -> None:
    known = {migration.name for migration in migrations._migrations}
    unknown = [row.name for row in migrations.applied(db) if row.name not in known]
    if unknown:
        raise StoreUnavailable(
            f"{path} was made by a newer flowtap ({unknown[0]}); update this one."
        )
