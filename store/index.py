"""The rows of index.db, as the writing side changes them. SQL only; who may call when is the callers' business.

Every change is one short transaction: BEGIN IMMEDIATE (a BEGIN that turns into a write is
refused at once when another process wrote meanwhile), under the checkpoint lock held
shared. Checkpoints run only while nobody commits: SQLite before 3.51.3 can corrupt a WAL
that is reset at the wrong moment between two processes (sqlite.org/wal.html#walresetbug).
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, NamedTuple

from sqlite_utils import Database

from store.codec import COLUMNS, makes_sense, meta_values
from store.layout import Layout, Lock, locked
from store.record import ProxyStatus, RecordMeta
from store.schema import BUSY_TIMEOUT_S, open_database, writing
from store.segments import Found, Place

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""A write-ahead log beyond this is checkpointed by the next writer that finds nobody committing."""

ROWS = 8
"""Rows of one statement, where there are so many: fewer steps, and 33 values each are well below
what SQLite binds."""

_ROW = (*(name for name in COLUMNS if name != "seq"), "writer", "segment", "start", "record_at")
# OR REPLACE: the row of a record in flight goes and comes back with a new seq, so a
# follower sees it again.
_PUT = f"INSERT OR REPLACE INTO records ({', '.join(_ROW)}) VALUES ({', '.join('?' for _ in _ROW)})"  # noqa: S608 - constants
_PUT_ROWS = _PUT + f", ({', '.join('?' for _ in _ROW)})" * (ROWS - 1)
ROLL = _PUT.replace("OR REPLACE", "OR IGNORE")
# A live row of the same id gives way, a done one stays where it is.
_STATUS = tuple(field for field in ProxyStatus.__slots__ if field != "alive")
_PUT_STATUS = (
    f"INSERT OR REPLACE INTO proxies ({', '.join(_STATUS)}, has_ring)"  # noqa: S608 - constants
    f" VALUES ({', '.join(f':{name}' for name in _STATUS)}, :has_ring)"
)


# Added up, so that every proxy may tell of the same sender.
_PUT_SEEN = """
INSERT INTO seen (hash, host, client, fingerprint, key_id, count, first_ms, last_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (hash, host, client) DO UPDATE SET
    key_id = excluded.key_id,
    count = count + excluded.count,
    first_ms = min(first_ms, excluded.first_ms),
    last_ms = max(last_ms, excluded.last_ms)
"""

CHECKPOINT_BUSY_MS = 100
"""How long a checkpoint waits for readers while every writer waits for it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row to be written: `place` None while in flight."""

    meta: RecordMeta
    writer: str
    place: Place | None = None
    values: dict[str, Any] | None = None
    """The column values of `meta`, if they are there already."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """How far the rows of a segment go."""

    name: str
    key_id: str
    writer: str
    size: int


class SeenRow(NamedTuple):
    """Calls of one sender, to be added to those that are told already (store.seen)."""

    hash: str
    host: str
    client: str
    fingerprint: str
    key_id: str | None
    calls: int
    first_ms: int
    last_ms: int


class Index:
    """One writing connection to index.db, for one thread at a time.

    `patience_s`: how long a change waits for other processes. `durable`: each change is on
    the disk before the call returns, so that files may be deleted after it.
    """

    def __init__(
        self, layout: Layout, *, patience_s: float = BUSY_TIMEOUT_S, durable: bool = False
    ) -> None:
        self._layout = layout
        self._log = f"{layout.index}-wal"
        self._patience_s = patience_s
        self._durable = durable
        self._db: Database = open_database(layout.index, timeout_s=patience_s)
        for pragma in (
            f"synchronous={'FULL' if durable else 'NORMAL'}",
            "secure_delete=ON",
            "trusted_schema=OFF",
            "wal_autocheckpoint=0",
            "journal_size_limit=67108864",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchone()

    @property
    def connection(self) -> sqlite3.Connection:
        """For reading."""
        return self._db.conn

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed at the end, rolled back if anything raised."""
        with locked(self._layout.checkpoint_lock, shared=True, timeout_s=self._patience_s):
            connection = self._db.conn
            with writing(connection):
                yield connection

    def put(
        self,
        rows: Iterable[Row],
        segments: Iterable[Indexed] = (),
        gone: Iterable[str] = (),
    ) -> None:
        """Rows new or anew, how far segments are indexed by them, and records discarded."""
        with self.transaction() as connection:
            _put_rows(connection, [row_values(row) for row in rows])
            put_segments(connection, segments)
            discarded = list(gone)
            if discarded:
                connection.executemany(
                    "DELETE FROM records WHERE id = ? AND state = 'live'",
                    [(record_id,) for record_id in discarded],
                )
                turn_generation(connection)

    def roll_forward(self, segment: Indexed, found: Iterable[Found], replace_to: int = 0) -> int:
        """Rows for records of a segment that has none for them yet, or of those up to the seq
        `replace_to` new ones; returns how many were new."""
        with self.transaction() as connection:
            put_segments(connection, [segment])
            added = 0
            for record in found:
                connection.execute(
                    "DELETE FROM records WHERE id = ? AND (state = 'live' OR seq <= ?)",
                    (record.meta.id, replace_to),
                )
                added += connection.execute(
                    ROLL, row_values(Row(record.meta, segment.writer, record.place))
                ).rowcount
        return added

    def roll_back(self, segment: Indexed, lost: Iterable[str]) -> None:
        """The segment is shorter than it was: rows whose frames went with its end are dropped."""
        with self.transaction() as connection:
            put_segments(connection, [segment])
            connection.executemany(
                "DELETE FROM records WHERE id = ? AND segment = ?",
                [(record_id, segment.name) for record_id in lost],
            )
            turn_generation(connection)

    def forget_segment(self, name: str) -> None:
        """A segment that is no longer there; rows that point into it stay, and say so when read."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM segments WHERE name = ?", (name,))

    def put_status(self, status: ProxyStatus, heartbeat_ms: int, *, has_ring: bool = False) -> None:
        """A proxy's heartbeat. `has_ring`: asks are answered by it (store.contract.Store.keep)."""
        values = asdict(status) | {"heartbeat_ms": heartbeat_ms, "has_ring": int(has_ring)}
        with self.transaction() as connection:
            connection.execute(_PUT_STATUS, values)

    def put_seen(self, rows: Iterable[SeenRow]) -> None:
        """More calls of no key that is on."""
        with self.transaction() as connection:
            connection.executemany(_PUT_SEEN, rows)

    def put_answers(self, writer: str, answers: Iterable[tuple[str, int]], at_ms: int) -> None:
        """What a proxy answered: (ask, records)."""
        with self.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO answers (ask, writer, records, at_ms) VALUES (?, ?, ?, ?)",
                [(ask_id, writer, records, at_ms) for ask_id, records in answers],
            )

    def forget_answers(self, ask_id: str, before_ms: int) -> None:
        """Who asked has heard; and what others left behind."""
        old = "FROM answers WHERE ask = ? OR at_ms < ?"
        if self._db.conn.execute(f"SELECT 1 {old} LIMIT 1", (ask_id, before_ms)).fetchone():
            with self.transaction() as connection:
                connection.execute(f"DELETE {old}", (ask_id, before_ms))

    def forget_seen(self, before_ms: int, most: int) -> None:
        """Who has not been seen since then interests nobody any more, nor do more than `most`."""
        old = (
            "last_ms < (SELECT max(?, coalesce(min(last_ms), 0)) FROM"
            " (SELECT last_ms FROM seen ORDER BY last_ms DESC LIMIT ?))"
        )
        found = f"SELECT 1 FROM seen WHERE {old} LIMIT 1"  # noqa: S608 - constants
        # Mostly nobody, and a commit would have every follower look for news.
        if self._db.conn.execute(found, (before_ms, most)).fetchone() is not None:
            with self.transaction() as connection:
                connection.execute(f"DELETE FROM seen WHERE {old}", (before_ms, most))  # noqa: S608

    def forget_writer(self, writer: str) -> None:
        """A writer that is gone: its rows in flight lead nowhere. Its status stays for a while."""
        with self.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM records WHERE state = 'live' AND writer = ?", (writer,)
            ).rowcount
            if gone:
                turn_generation(connection)

    def forget_proxies(self, before_ms: int) -> None:
        """Statuses last told before that instant interest nobody any more."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM proxies WHERE heartbeat_ms < ?", (before_ms,))

    def begin_anew(self) -> int:
        """No segment is indexed: the start of a rebuild. Returns the seq up to which rows are old."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM segments")
            row = connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
        return int(row[0])

    def drop_old(self, newest: int, keep: Callable[[str, int, int], bool]) -> None:
        """Rows of finished records that a rebuild found nowhere, `newest` being the last old seq:
        none is left but where (segment, start, record_at) is to be kept and the row makes sense."""
        gone = [
            (seq,)
            for seq, segment, start, record_at, *row in self._db.conn.execute(
                f"SELECT seq, segment, start, record_at, {', '.join(COLUMNS)} FROM records"  # noqa: S608 - constants
                " WHERE state = 'done' AND seq <= ?",
                (newest,),
            )
            if not (makes_sense(row) and _is_place(segment, start, record_at))
            or not keep(segment, start, record_at)
        ]
        with self.transaction() as connection:
            connection.executemany("DELETE FROM records WHERE seq = ?", gone)
            turn_generation(connection)

    def checkpoint(self, *, wait_s: float = 0.0, truncate: bool = False) -> bool:
        """Move the write-ahead log into the database, and with `truncate` leave no byte in it.

        False if others commit or read for longer than `wait_s`, or, without `truncate`, if it is small.
        """
        least = 1 if truncate else CHECKPOINT_BYTES
        give_up = time.monotonic() + wait_s
        while True:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self._log).st_size < least:
                    return truncate
            if self._checkpoint_now("TRUNCATE" if truncate else "PASSIVE", give_up):
                return True
            if time.monotonic() >= give_up:
                return False
            time.sleep(0.01)

    def _checkpoint_now(self, mode: str, give_up: float) -> bool:
        lock = Lock(self._layout.checkpoint_lock)
        if not lock.take(timeout_s=max(give_up - time.monotonic(), 0.0)):
            return False
        try:
            self._db.execute(f"PRAGMA busy_timeout={CHECKPOINT_BUSY_MS}").fetchone()
            busy, _, _ = self._db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            lock.release()
            self._db.execute(f"PRAGMA busy_timeout={int(self._patience_s * 1000)}").fetchone()
        return not busy

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def row_values(row: Row) -> tuple[object, ...]:
    """In the order of _ROW; by place, since SQLite looks names up for every row anew."""
    values = meta_values(row.meta) if row.values is None else row.values
    place = row.place
    where = (None, None, None) if place is None else (place.segment, place.start, place.record_at)
    return (*values.values(), row.writer, *where)


def _put_rows(connection: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    whole = len(rows) - len(rows) % ROWS
    for at in range(0, whole, ROWS):
        connection.execute(_PUT_ROWS, tuple(chain.from_iterable(rows[at : at + ROWS])))
    connection.executemany(_PUT, rows[whole:])


def _is_place(segment: object, start: object, record_at: object) -> bool:
    return isinstance(segment, str) and isinstance(start, int) and isinstance(record_at, int)


def put_segments(connection: sqlite3.Connection, segments: Iterable[Indexed]) -> None:
    """How far segments are indexed, in a transaction."""
    connection.executemany(
        "INSERT INTO segments (name, key_id, writer, indexed) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET indexed = excluded.indexed",
        [(each.name, each.key_id, each.writer, each.size) for each in segments],
    )


def turn_generation(connection: sqlite3.Connection) -> None:
    """Have readers read their lists again, in a transaction."""
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'generation'")
