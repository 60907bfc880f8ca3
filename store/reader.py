"""The reading side of a local store: the standard sqlite3 alone, read-only, never a cursor held open.

A user interface starts with this module, so it imports neither sqlite_utils nor ulid nor
anything of the writing side. One reader belongs to one thread.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from store.codec import COLUMNS, KEY_COLUMNS, key_from_row, meta_from_row
from store.contract import PAGE, PAGE_CAP, Counts
from store.errors import BadInput, BodyMissing, StoreOutdated, StoreUnavailable, unusable
from store.layout import Layout, is_held
from store.parts import LivePart, PartCounter
from store.quarantine import piece_of
from store.record import (
    RECORD_ID,
    Key,
    Limits,
    ProxyStatus,
    Record,
    RecordMeta,
    Seen,
    State,
    Verdict,
)
from store.retention import cutoff_ms
from store.segments import Place, read_record

_META = ", ".join(COLUMNS)
_PINNED = "+id IN (SELECT record_id FROM keyring.pins)"
"""With a plus before a column SQLite looks for no index on it: a list keeps to that of its order."""
_PLACE = "segment, start, record_at, writer"
_STATUS = tuple(field for field in ProxyStatus.__slots__ if field != "alive")
_KEYS = f"SELECT {', '.join(KEY_COLUMNS)} FROM keyring.keys ORDER BY name"  # noqa: S608 - constants


# Whose credential it is: the secret decides, as everywhere, then the rule it was found to match.
_SEEN = """
SELECT nullif(fingerprint, '') AS told_apart, host, nullif(client, '') AS who,
    sum(count), min(first_ms), max(last_ms), max(coalesce(named.id, ruled.id))
FROM seen
LEFT JOIN keyring.keys AS named ON named.hash = seen.hash AND named.kind = 'secret'
LEFT JOIN keyring.keys AS ruled ON ruled.id = seen.key_id
WHERE CASE WHEN named.id IS NULL THEN ruled.retention_s ELSE named.retention_s END IS NULL
GROUP BY told_apart, host, who
ORDER BY max(last_ms) DESC, told_apart, host, who LIMIT ?
"""
SEEN_LIMIT = 200

_LATEST = (
    ("keyring.asks", "id"),
    ("records", "client"),
    ("keyring.pins", "record_id"),
    ("proxies", "max_bytes"),
)
"""What the last migrations added (store.schema, which cannot be imported here)."""

COUNTERS = 1_000
"""Records in flight whose response bytes are remembered; a screen shows some fifty."""


class LocalReader:
    """Reads one store (store.contract.Reader)."""

    def __init__(self, root: Path, clock: Callable[[], int] | None = None) -> None:
        self._layout = Layout(root)
        self._layout.check()
        self._now_ms = clock or (lambda: time.time_ns() // 1_000_000)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._generations = 0
        self._keys: list[Key] = []
        self._keys_version = -1
        self._counters: dict[str, PartCounter] = {}
        self._connect()

    # -- the connection ------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        layout = self._layout
        if not layout.root.exists():
            raise StoreUnavailable(
                f"No store at {layout.root}. The addon creates it: mitmdump -s addon"
            )
        try:
            self._inode = os.stat(layout.index).st_ino
            connection = sqlite3.connect(
                f"{layout.index.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                timeout=2.0,
                check_same_thread=False,
            )
        except FileNotFoundError as exc:
            raise StoreUnavailable(
                f"No store at {layout.root}. The addon creates it: mitmdump -s addon"
            ) from exc
        except (OSError, sqlite3.Error) as exc:
            raise StoreUnavailable(f"{layout.index} cannot be opened: {exc}.") from exc
        try:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute(
                "ATTACH DATABASE ? AS keyring", (f"{layout.keys.absolute().as_uri()}?mode=ro",)
            )
            connection.execute("SELECT 1 FROM records, keyring.keys LIMIT 1")
            _refuse_older(connection, layout.root)
        except sqlite3.Error as exc:
            connection.close()
            raise unusable(layout.index, exc) from exc
        except StoreOutdated:
            connection.close()
            raise
        self._connection = connection
        self._keys_version = -1
        return connection

    def _all(self, sql: str, parameters: Any = ()) -> list[Any]:
        """Every row at once: an open cursor would keep the write-ahead log from being reset."""
        connection = self._connection or self._connect()
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as exc:
            raise unusable(self._layout.index, exc) from exc

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Every row of a query at once, for what else in the store reads the index (the keys are
        `keyring.keys`); StoreUnavailable where it cannot be read."""
        return self._all(sql, parameters)

    def close(self) -> None:
        """Free everything."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- keys ----------------------------------------------------------------------------

    def keys(self) -> list[Key]:
        """Every key, by name."""
        version = self._all("PRAGMA keyring.data_version")[0][0]
        if version != self._keys_version:
            rows = self._all(_KEYS)
            try:
                self._keys = [key_from_row(row) for row in rows]
            except ValueError as exc:
                raise StoreUnavailable(
                    f"{self._layout.keys}: a key makes no sense ({exc})."
                ) from exc
            self._keys_version = version
        return self._keys

    def key(self, name: str) -> Key:
        """The key of that name, else BadInput that names those there are."""
        for key in self.keys():
            if key.name == name:
                return key
        known = ", ".join(key.name for key in self.keys())
        raise BadInput(
            f"No key is named {name!r}. Keys: {known or 'none yet; `flowtap keys add NAME`'}."
        )

    # -- rows ----------------------------------------------------------------------------

    def records(
        self,
        *,
        key_id: str | None = None,
        before: str | None = None,
        limit: int = PAGE,
        pinned: bool = False,
    ) -> list[RecordMeta]:
        """Newest first, ids strictly below `before`; see store.contract."""
        if before is not None:
            _check_id(before)
        shown, values = self._shown(key_id, by_key=not pinned)
        table, ids = (_of_pins(key_id), "record_id") if pinned else ("records", "id")
        if before is not None:
            shown += f" AND {ids} < :before"
        rows = self._all(
            f"SELECT {_META}, {_PINNED}, writer FROM {table} WHERE {shown}"  # noqa: S608 - constants
            f" ORDER BY {ids} DESC LIMIT :limit",
            values | {"before": before, "limit": _checked_limit(limit)},
        )
        return self._metas(rows)

    def news(
        self, after_seq: int, *, key_id: str | None = None, limit: int = PAGE_CAP
    ) -> list[RecordMeta]:
        """Rows committed after `after_seq`, in commit order."""
        shown, values = self._shown(key_id, by_key=False)
        rows = self._all(
            f"SELECT {_META}, {_PINNED}, writer FROM records WHERE seq > :after AND {shown}"  # noqa: S608 - constants
            " ORDER BY seq LIMIT :limit",
            values | {"after": after_seq, "limit": _checked_limit(limit)},
        )
        return self._metas(rows)

    def _metas(self, rows: list[Any]) -> list[RecordMeta]:
        """RecordMetas of rows that end with the writer."""
        dead: dict[str, bool] = {}
        try:
            return [self._meta_of(row, dead) for row in rows]
        except (ValueError, TypeError) as exc:
            raise StoreUnavailable(
                f"{self._layout.index}: a row makes no sense ({exc}); `flowtap rebuild` makes the"
                " index anew from the segments."
            ) from exc

    def _meta_of(self, row: Any, dead: dict[str, bool]) -> RecordMeta:
        *values, pinned, writer = row
        meta = meta_from_row(values, pinned=bool(pinned))
        if meta.state is State.LIVE:
            if writer not in dead:
                dead[writer] = not self._living(writer)
            if dead[writer]:
                return replace(meta, verdict=Verdict.INTERRUPTED)
        return meta

    def meta(self, record_id: str) -> RecordMeta | None:
        """One row, or None."""
        found = self._find(record_id)
        return None if found is None else found[0]

    def _find(self, record_id: str) -> tuple[RecordMeta, tuple[Any, ...]] | None:
        _check_id(record_id)
        shown, values = self._shown(None)
        rows = self._all(
            f"SELECT {_META}, {_PINNED}, {_PLACE} FROM records WHERE id = :id AND {shown}",  # noqa: S608 - constants
            values | {"id": record_id},
        )
        if not rows:
            return None
        place = rows[0][len(COLUMNS) + 1 :]
        return self._metas([(*rows[0][: len(COLUMNS) + 1], place[-1])])[0], place

    def _shown(self, key_id: str | None, *, by_key: bool = True) -> tuple[str, dict[str, Any]]:
        """What a list may show: records of keys that are on, in flight, not expired, or pinned.

        `by_key`: a list of one key is found, and ordered, by the index on (key_id, id).
        """
        now_ms = self._now_ms()
        on = [
            (key.id, cutoff_ms(now_ms, key.retention_s))
            for key in self.keys()
            if key.retention_s is not None and key_id in (None, key.id)
        ]
        if key_id is not None:
            if not on:
                return "0", {"key": key_id}
            column = "key_id" if by_key else "+key_id"
            return f"{column} = :key AND {_kept(':cutoff')}", {"key": key_id, "cutoff": on[0][1]}
        if not on:
            return "0", {}
        cases = " ".join(f"WHEN :k{number} THEN :c{number}" for number in range(len(on)))
        cutoff = f"CASE key_id {cases} END"
        values: dict[str, Any] = {f"k{number}": key_id for number, (key_id, _) in enumerate(on)}
        values |= {f"c{number}": instant for number, (_, instant) in enumerate(on)}
        # No cutoff: the key is off, and its record hidden, pinned or not.
        return f"{_kept(cutoff)} AND {cutoff} IS NOT NULL", values

    def pinned(self, key_id: str | None = None) -> int:
        """How many of the records shown are pinned."""
        shown, values = self._shown(key_id, by_key=False)
        rows = self._all(
            f"SELECT count(*) FROM {_of_pins(key_id)} WHERE {shown}",  # noqa: S608 - constants
            values,
        )
        return int(rows[0][0])

    def last_seq(self) -> int:
        """The newest commit."""
        return int(self._all("SELECT coalesce(max(seq), 0) FROM records")[0][0])

    def version(self) -> int:
        """Changes when another process committed."""
        with contextlib.suppress(OSError):
            if os.stat(self._layout.index).st_ino != self._inode:
                # The index was made anew: what we hold open is the old file.
                self.close()
                self._generations += 1
        index = self._all("PRAGMA main.data_version")[0][0]
        keys = self._all("PRAGMA keyring.data_version")[0][0]
        return int(index + keys + (self._generations << 32))

    def generation(self) -> int:
        """Changes when records were purged or keys changed."""
        rows = self._all("SELECT value FROM counters WHERE name = 'generation'")
        keys = self._all("PRAGMA keyring.data_version")[0][0]
        return int((rows[0][0] if rows else 0) + keys + (self._generations << 32))

    def counts(self, key_id: str | None = None) -> Counts:
        """Totals of what is shown."""
        shown, values = self._shown(key_id)
        rows = self._all(
            "SELECT count(*),"  # noqa: S608 - constants
            " count(*) FILTER (WHERE state = 'done' AND verdict <> 'complete'),"
            " count(*) FILTER (WHERE state = 'live')"
            f" FROM records WHERE {shown}",
            values,
        )
        return Counts(*rows[0])

    def proxies(self) -> list[ProxyStatus]:
        """The proxies that write here, living ones first."""
        rows = self._all(f"SELECT {', '.join(_STATUS)} FROM proxies")  # noqa: S608 - constants
        found = [
            ProxyStatus(**dict(zip(_STATUS, row, strict=True)), alive=self._living(row[0]))
            for row in rows
        ]
        return sorted(found, key=lambda status: (not status.alive, -status.heartbeat_ms))

    def limits(self) -> Limits:
        """The size cap, if a running proxy sets one, and what it came to."""
        caps = [
            proxy.max_bytes
            for proxy in self.proxies()
            if proxy.alive and proxy.max_bytes is not None
        ]
        told = dict(self._all("SELECT name, value FROM counters"))
        return Limits(
            max_bytes=min(caps, default=None),
            bytes=told.get("cap_bytes"),
            looked_ms=told.get("cap_looked_ms"),
            deleted=told.get("cap_deleted", 0),
            deleted_ms=told.get("cap_deleted_ms"),
            stuck_bytes=told.get("cap_stuck", 0),
        )

    def seen(self) -> list[Seen]:
        """Who sent LLM calls that no key that is on matches, the latest first."""
        return [Seen(*row) for row in self._all(_SEEN, (SEEN_LIMIT,))]

    def _living(self, writer: str) -> bool:
        return is_held(self._layout.live / writer / "lock")

    # -- records -------------------------------------------------------------------------

    def get(self, record_id: str) -> Record | None:
        """A record with its bodies; BodyMissing if its bytes are gone."""
        for _ in range(3):
            found = self._find(record_id)
            if found is None:
                return None
            meta, (segment, start, record_at, writer) = found
            try:
                if meta.state is State.LIVE:
                    part = LivePart(self._layout.part(writer, record_id), meta)
                    try:
                        part.poll()
                        return part.snapshot()
                    finally:
                        part.close()
                return read_record(self._layout.segments, Place(segment, start, record_at), meta)
            except (OSError, BodyMissing) as exc:
                # It ended, or a purge moved it, between the row and the file: ask again.
                failure = exc
                again = self._find(record_id)
                if again is not None and again[1] == found[1]:
                    break
        if isinstance(failure, BodyMissing):
            piece = segment and piece_of(self._layout, segment, start, record_at)
            if piece:
                raise BodyMissing(f"{failure} What is left of it: {piece.path}") from failure
            raise failure
        raise BodyMissing(
            f"Record {record_id}: {self._layout.part(writer, record_id)} cannot be read:"
            f" {failure.strerror}."
        )

    def live(self, record_id: str) -> LivePart | None:
        """The record in flight, to be polled; None if it is not in flight."""
        found = self._find(record_id)
        if found is None or found[0].state is not State.LIVE:
            return None
        try:
            return LivePart(self._layout.part(found[1][3], record_id), found[0])
        except OSError:
            return None

    def live_bytes(self, record_id: str) -> int | None:
        """How many bytes of its response have arrived, or None if it is not in flight."""
        found = self._find(record_id)
        counter = self._counters.pop(record_id, None)
        if found is None or found[0].state is not State.LIVE:
            return None
        if counter is None:
            counter = PartCounter(self._layout.part(found[1][3], record_id))
        try:
            size = counter.count()
        except OSError:
            return None
        # Put back at the end: what is asked for least is forgotten first.
        self._counters[record_id] = counter
        if len(self._counters) > COUNTERS:
            del self._counters[next(iter(self._counters))]
        return size


def _kept(cutoff: str) -> str:
    """The record is in flight, ended at the cutoff or later, or is pinned."""
    return f"(+completed_ms IS NULL OR +completed_ms >= {cutoff} OR {_PINNED})"


def _of_pins(key_id: str | None) -> str:
    """The pinned records, in the order of the pins, which are few; `:key` is the key's id."""
    of_key = "" if key_id is None else " WHERE key_id = :key"
    # CROSS: SQLite keeps to this order of the two.
    return f"(SELECT record_id FROM keyring.pins{of_key}) CROSS JOIN records ON id = record_id"  # noqa: S608 - constants


def _refuse_older(connection: sqlite3.Connection, root: Path) -> None:
    """StoreOutdated where a table lacks what later versions added to it."""
    for table, column in _LATEST:
        schema, _, name = table.rpartition(".")
        found = connection.execute(f"PRAGMA {schema or 'main'}.table_info({name})").fetchall()
        if column not in {row[1] for row in found}:
            raise StoreOutdated(
                f"Store {root} was made by an older flowtap; `flowtap ls` brings it up to date."
            )


def _check_id(record_id: str) -> None:
    if RECORD_ID.match(record_id) is None:
        raise BadInput(f"{record_id!r} is not a record id (26 characters, like 01JX4…).")


def _checked_limit(limit: int) -> int:
    if isinstance(limit, bool) or limit < 1:
        raise BadInput(f"A limit is 1 to {PAGE_CAP}; got {limit}.")
    return min(limit, PAGE_CAP)
