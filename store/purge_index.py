"""The rows of a purge: which go, in what order, and that a kill in between is finished. SQL only.

A tombstone says of a segment from which completion on its records are kept; it is there before
the first row goes, and until the file is gone. Rows of records that are spared stay, however old.
"""

import contextlib
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from store.index import (
    ROLL,
    Index,
    Indexed,
    Row,
    put_segments,
    row_values,
    turn_generation,
)
from store.layout import Layout
from store.record import RecordMeta
from store.schema import BUSY_TIMEOUT_S
from store.segments import Place

EVERYTHING = 1 << 62
"""A cutoff no completion reaches: what is under it keeps nothing."""

REWRITTEN = EVERYTHING + 1
"""The cutoff of a segment whose survivors lie elsewhere already: rows that still point to it are
of damaged records, and stay (store.quarantine)."""

CHANGE_ROWS = 500
"""Rows changed in the first transaction of many."""

CHANGE_S = 0.02
"""What each is to take: while it runs nobody else can commit."""

PAGE = 1_000
"""Rows that are read at a time."""

_NOT_SPARED = "id NOT IN (SELECT id FROM temp.spared)"


@dataclass(frozen=True, slots=True)
class Moved:
    """A record that lies elsewhere now."""

    id: str
    place: Place
    meta: RecordMeta | None = field(default=None, repr=False)
    """Where the index may not know it yet."""


class PurgeIndex(Index):
    """The index with what a purge does to it."""

    def __init__(
        self, layout: Layout, *, patience_s: float = BUSY_TIMEOUT_S, durable: bool = False
    ) -> None:
        super().__init__(layout, patience_s=patience_s, durable=durable)
        self._db.execute("PRAGMA temp_store=MEMORY").fetchone()
        self._db.execute("CREATE TEMP TABLE spared (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def spare(self, record_ids: Collection[str]) -> None:
        """The records, of all keys, that are passed over from now on: the pinned ones."""
        connection = self._db.conn
        connection.execute("DELETE FROM temp.spared")
        connection.executemany(
            "INSERT INTO temp.spared (id) VALUES (?)", [(each,) for each in record_ids]
        )

    # -- what is there ---------------------------------------------------------------------------

    def expired(self, key_id: str, cutoff_ms: int) -> bool:
        """Whether a purge would find anything: a record before the cutoff, or a tombstone."""
        row = self._db.conn.execute(
            "SELECT 1 FROM records WHERE key_id = ? AND completed_ms < ?"  # noqa: S608 - constants
            f" AND {_NOT_SPARED}"
            " UNION ALL SELECT 1 FROM tombstones WHERE segment LIKE ? || '/%' LIMIT 1",
            (key_id, cutoff_ms, key_id),
        ).fetchone()
        return row is not None

    def segments_before(self, key_id: str, cutoff_ms: int) -> list[str]:
        """The segments that hold records before the cutoff which are not spared."""
        rows = self._db.conn.execute(
            "SELECT DISTINCT segment FROM records WHERE key_id = ? AND completed_ms < ?"  # noqa: S608 - constants
            f" AND segment IS NOT NULL AND {_NOT_SPARED}",
            (key_id, cutoff_ms),
        ).fetchall()
        return [name for (name,) in rows]

    def rows_of(self, segment: str) -> list[tuple[str, int, int, int]]:
        """(id, start, record_at, completed_ms) of each record a segment has a row of, in its order;
        a row that makes no sense tells of none."""
        return self._db.conn.execute(
            "SELECT id, start, record_at, completed_ms FROM records WHERE segment = ?"
            " AND typeof(start) || typeof(record_at) || typeof(completed_ms)"
            " = 'integerintegerinteger' ORDER BY start",
            (segment,),
        ).fetchall()

    def place_of(self, record_id: str) -> Place | None:
        """Where a finished record lies."""
        row = self._db.conn.execute(
            "SELECT segment, start, record_at FROM records WHERE id = ? AND segment IS NOT NULL",
            (record_id,),
        ).fetchone()
        return None if row is None else Place(*row)

    def size_of(self, segment: str) -> int:
        """How far a segment is indexed; 0 if nothing is known of it."""
        row = self._db.conn.execute(
            "SELECT indexed FROM segments WHERE name = ?", (segment,)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def oldest(self, key_id: str) -> Iterator[tuple[int, str, str]]:
        """(completed_ms, id, segment) of the key's finished records that are not spared, the longest
        ended first. No cursor is open between two."""
        last = (-1, -1)
        while rows := self._db.conn.execute(
            "SELECT completed_ms, seq, id, segment FROM records WHERE key_id = ?"  # noqa: S608 - constants
            f" AND (completed_ms, seq) > (?, ?) AND segment IS NOT NULL AND {_NOT_SPARED}"
            " ORDER BY completed_ms, seq LIMIT ?",
            (key_id, *last, PAGE),
        ).fetchall():
            for completed_ms, _, record_id, segment in rows:
                yield completed_ms, record_id, segment
            last = rows[-1][:2]

    def caps(self) -> dict[str, int]:
        """What proxies say the store may take (flowtap_max_size), by writer; also of those long gone."""
        return dict(
            self._db.conn.execute(
                "SELECT writer, max_bytes FROM proxies WHERE max_bytes IS NOT NULL"
            ).fetchall()
        )

    def told(self, name: str) -> int:
        """A number that is told to readers; 0 if it never was."""
        row = self._db.conn.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def tell(self, values: Mapping[str, int]) -> None:
        """Tell readers numbers."""
        with self.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", [*values.items()]
            )

    def tombstones(self, key_id: str) -> list[tuple[str, int]]:
        """The key's segments that are to go, each with its cutoff."""
        return self._db.conn.execute(
            "SELECT segment, cutoff_ms FROM tombstones WHERE segment LIKE ? || '/%'", (key_id,)
        ).fetchall()

    # -- what changes ----------------------------------------------------------------------------

    def doom(self, key_id: str, cutoff_ms: int | None, segments: Sequence[str]) -> int:
        """Hide what a purge will delete: tombstones first, then the rows; returns how many rows went.

        `cutoff_ms` None: everything of the key, in flight too. All of it is on the disk before
        this returns, the tombstones before the first row goes.
        """
        limit = EVERYTHING if cutoff_ms is None else cutoff_ms
        with self.transaction() as connection:
            connection.executemany(
                "INSERT INTO tombstones (segment, cutoff_ms) VALUES (?, ?)"
                " ON CONFLICT (segment) DO UPDATE SET cutoff_ms = max(cutoff_ms, excluded.cutoff_ms)",
                [(name, limit) for name in segments],
            )
            turn_generation(connection)
        condition = (
            "completed_ms < ?" if cutoff_ms is not None else "(completed_ms < ? OR state = 'live')"
        )
        delete = (
            "DELETE FROM records WHERE seq IN (SELECT seq FROM records"  # noqa: S608 - constants
            f" WHERE key_id = ? AND {condition} AND {_NOT_SPARED} LIMIT ?)"
        )
        deleted = 0
        with self._unsynced():
            for rows in self._paced():
                with self.transaction() as connection:
                    gone = connection.execute(delete, (key_id, limit, rows)).rowcount
                deleted += gone
                if gone < rows:
                    break
        self._turn()
        return deleted

    def drop_rows(self, segment: str, cutoff_ms: int) -> None:
        """Finish what `doom` began of a segment and a kill cut short."""
        if cutoff_ms >= REWRITTEN:
            return
        rows = self._db.conn.execute(
            "SELECT seq FROM records WHERE segment = ? AND (completed_ms < ? AND"  # noqa: S608 - constants
            f" {_NOT_SPARED} OR ? = {EVERYTHING})",
            (segment, cutoff_ms, cutoff_ms),
        ).fetchall()
        if rows:
            with self.transaction() as connection:
                connection.executemany("DELETE FROM records WHERE seq = ?", rows)
                turn_generation(connection)

    def move(self, old: str, new: Iterable[tuple[Indexed, Sequence[Moved]]]) -> None:
        """A purge rewrote segment `old`: its survivors' rows point to the new ones, if there are any.

        Its tombstone stays, and says from now on that nothing in it is to be kept, until the
        file is gone (`buried`). Of a new segment all rows are changed at once or none: bytes that
        no row knows would outlive their retention.
        """
        with self._unsynced():
            for segment, moved in new:
                with self.transaction() as connection:
                    put_segments(connection, [segment])
                    for each in moved:
                        _point(connection, each)
                self.checkpoint()
        with self.transaction() as connection:
            connection.execute("DELETE FROM segments WHERE name = ?", (old,))
            connection.execute(
                "UPDATE tombstones SET cutoff_ms = ? WHERE segment = ?", (REWRITTEN, old)
            )
            turn_generation(connection)

    def buried(self, names: Iterable[str]) -> None:
        """The files of these tombstones are gone for good."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM tombstones WHERE segment = ?", [(name,) for name in names]
            )

    def _paced(self) -> Iterator[int]:
        """How many rows to change in a transaction, again and again: so many that it takes CHANGE_S."""
        rows = CHANGE_ROWS
        while True:
            began = time.monotonic()
            yield rows
            pace = CHANGE_S / max(time.monotonic() - began, CHANGE_S / 4)
            rows = max(CHANGE_ROWS // 4, min(int(rows * pace), CHANGE_ROWS * 16))
            # In between, so that neither the log grows long nor what is left for the last checkpoint.
            self.checkpoint()

    @contextlib.contextmanager
    def _unsynced(self) -> Iterator[None]:
        """Changes that need not be on the disk each, only before what is changed after them: they
        lie in one log, which the next synced change syncs as a whole."""
        if not self._durable:
            yield
            return
        self._db.execute("PRAGMA synchronous=NORMAL").fetchone()
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous=FULL").fetchone()

    def _turn(self) -> None:
        with self.transaction() as connection:
            turn_generation(connection)


def _point(connection: sqlite3.Connection, moved: Moved) -> None:
    place = moved.place
    known = connection.execute(
        "UPDATE records SET segment = ?, start = ?, record_at = ? WHERE id = ? AND state = 'done'",
        (place.segment, place.start, place.record_at, moved.id),
    ).rowcount
    if not known and moved.meta is not None:
        # Its writer died between segment and index, and nobody will look into this one for it.
        connection.execute("DELETE FROM records WHERE id = ? AND state = 'live'", (moved.id,))
        connection.execute(ROLL, row_values(Row(moved.meta, "", place)))
