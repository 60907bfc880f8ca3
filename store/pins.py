"""Pins: which records are kept past their retention, and past the size cap, until they are unpinned.

They stand in keys.db, for nothing could make them anew: the segments know nothing of them, so a
rebuild changes none. Of a key that is off nothing is kept, so switching it off takes its pins with
its records. A record in flight may be pinned: it counts from its end, since until then it does not
expire.

Who pins holds the key's folder shared, who purges or unpins holds it alone: a purge meets the pins
as they are, and nobody pins a record that is being deleted.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from sqlite_utils import Database

from store.errors import BadInput, unusable
from store.schema import writing

type Pinned = Callable[[str], Collection[str]]
"""The ids of a key's pinned records, as they are when it is called (Pins.of_key)."""


class Pins:
    """The table of pins, for the managing side."""

    def __init__(self, db: Database, path: Path) -> None:
        self._db = db
        self._path = path

    def of_key(self, key_id: str) -> frozenset[str]:
        """The ids of a key's pinned records."""
        with self._told():
            rows = self._db.execute("SELECT record_id FROM pins WHERE key_id = ?", [key_id])
            return frozenset(record_id for (record_id,) in rows.fetchall())

    def keys_of(self, record_ids: Iterable[str]) -> dict[str, str]:
        """Of those that are pinned: the key's id, by the record's."""
        found: dict[str, str] = {}
        with self._told():
            for record_id in record_ids:
                found |= self._db.execute(
                    "SELECT record_id, key_id FROM pins WHERE record_id = ?", [record_id]
                ).fetchall()
        return found

    def add(self, keys: Mapping[str, str], now_ms: int) -> int:
        """Pin records, given with their keys' ids; how many were not pinned before.

        BadInput, and nothing is pinned, if one of the keys is off by now.
        """
        connection = self._db.conn
        with self._told(), writing(connection):
            for key_id in sorted(set(keys.values())):
                # Read inside: whoever switches it off after this deletes these pins as well.
                on = connection.execute(
                    "SELECT 1 FROM keys WHERE id = ? AND retention_s IS NOT NULL", [key_id]
                ).fetchone()
                if on is None:
                    raise BadInput("Another process just switched that key off.")
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO pins (record_id, key_id, pinned_ms) VALUES (?, ?, ?)",
                [(record_id, key_id, now_ms) for record_id, key_id in sorted(keys.items())],
            )
            return connection.total_changes - before

    def remove(self, record_ids: Iterable[str]) -> None:
        """Unpin records; those that are not pinned are passed over."""
        connection = self._db.conn
        with self._told(), writing(connection):
            connection.executemany(
                "DELETE FROM pins WHERE record_id = ?", [(each,) for each in record_ids]
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite says is said as the store says it."""
        try:
            yield
        except sqlite3.Error as exc:
            raise unusable(self._path, exc) from exc
