"""Building the index of texts (store.fulltext): outside every proxy, a record at a time, what is missing.

Of a request goes in what its turn brought, and what no earlier record of the key's day had; of an
answer all. So each text of a day is found in the turn that brought it, and at least once, also
where the recording began in the middle of a conversation.
"""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from collectors.json_view import mend_text
from store.errors import BodyMissing, StoreUnavailable
from store.fulltext import (
    day_file,
    day_of,
    day_start_ms,
    drop_file,
    open_day,
    unusable_index,
    why_not,
)
from store.key_folder import share
from store.layout import Layout, Lock, make_folder
from store.reader import LocalReader
from store.record import Record
from store.retention import cutoff_ms
from store.search import texts_in, texts_out

ROWS = 1_000
"""Of the record index that are looked at a time."""

LARGEST = 4_000_000
"""Characters of a record's texts, at most two seconds' work; one that has more is always read itself."""

BATCH = 100_000
"""New characters after which a batch is committed: a purge waits for one."""

BATCH_RECORDS = 64
LOCK_WAIT_S = 15.0

type _Place = tuple[str, str]
"""(key id, day)"""


@dataclass(frozen=True, slots=True)
class Indexed:
    """How far it has come."""

    looked_at: int = 0
    """Rows, of records that are indexed already or are not to be, too."""
    indexed: int = 0
    unreadable: int = 0
    too_large: int = 0


@dataclass(frozen=True, slots=True)
class _Doc:
    id: str
    asked: list[tuple[bytes, bool, str]]
    """(hash, whether the turn brought it, text)"""
    answered: list[str]
    size: int
    """Characters of all of them,"""
    new: int
    """and of those that go in for certain."""


class Building:
    """One process at a time builds. Use as a context: StoreUnavailable where another does, or cannot."""

    def __init__(
        self, layout: Layout, reader: LocalReader, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._layout = layout
        self._reader = reader
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._lock = Lock(layout.fulltext)
        self._kept: object = None
        self._seq = 0
        self._mended: set[_Place] = set()
        self.told = Indexed()
        """How far all calls have come."""

    def __enter__(self) -> "Building":
        why = why_not()
        if why is not None:
            raise StoreUnavailable(why)
        make_folder(self._layout.fulltext)
        if not self._lock.take(timeout_s=0.0):
            raise StoreUnavailable(
                f"{self._layout.fulltext} is being built by another flowtap index."
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def catch_up(self) -> Iterator[Indexed]:
        """Index what has come since the last call, the first time all that is not indexed; how far
        it has come after each batch. Between two it can be left."""
        kept = {key.id: key.retention_s for key in self._reader.keys()}
        if kept != self._kept or self._reader.last_seq() < self._seq:
            # Other days may be wanted now, or the record index was made anew.
            self._kept, self._seq = kept, 0
        while rows := self._reader.select(
            "SELECT seq, id, key_id, completed_ms FROM records"
            " WHERE seq > ? AND state = 'done' ORDER BY seq LIMIT ?",
            (self._seq, ROWS),
        ):
            by_place: dict[_Place, list[str]] = {}
            for _, record_id, key_id, completed_ms in rows:
                by_place.setdefault((key_id, day_of(completed_ms)), []).append(record_id)
            for place, ids in by_place.items():
                for _ in self._index(place, ids):
                    yield self.told
            self._seq = rows[-1][0]
            self._count(looked_at=len(rows))
            yield self.told

    def _wanted(self, place: _Place) -> bool:
        """Whether the retention of now covers all of that day."""
        key_id, day = place
        kept = [key.retention_s for key in self._reader.keys() if key.id == key_id]
        if not day or not kept or kept[0] is None:
            return False
        return day_start_ms(day) >= cutoff_ms(self._now_ms(), kept[0])

    def _count(self, **more: int) -> None:
        added = {name: getattr(self.told, name) + number for name, number in more.items()}
        self.told = replace(self.told, **added)

    def _index(self, place: _Place, ids: list[str]) -> Iterator[None]:
        """Yields after each batch."""
        if not self._wanted(place):
            return
        batch: list[_Doc] = []
        for record_id in self._missing(place, ids):
            try:
                record = self._reader.get(record_id)
            except BodyMissing:
                self._count(unreadable=1)
                continue
            if record is None:
                # It expired, or was purged.
                continue
            doc = _doc(record)
            if doc.size > LARGEST:
                self._count(too_large=1)
                continue
            batch.append(doc)
            if len(batch) == BATCH_RECORDS or sum(each.new for each in batch) > BATCH:
                self._count(indexed=self._commit(place, batch))
                batch = []
                yield
        if batch:
            self._count(indexed=self._commit(place, batch))
            yield

    def _missing(self, place: _Place, ids: list[str]) -> list[str]:
        """Those that are not in the file; a damaged file is dropped, and all are missing then."""
        path = day_file(self._layout, *place)
        if not path.exists():
            return ids
        with self._held(place):
            if not path.exists():
                return ids
            try:
                with contextlib.closing(open_day(self._layout, *place)) as connection:
                    there = {key for (key,) in connection.execute("SELECT id FROM docs")}
            except sqlite3.DatabaseError as exc:
                self._mend(place, exc)
                return ids
        return [record_id for record_id in ids if record_id not in there]

    def _commit(self, place: _Place, batch: list[_Doc]) -> int:
        with self._held(place):
            # Asked under the lock: what a purge took meanwhile has no row any more, and a purge
            # that comes now waits.
            if not self._wanted(place):
                return 0
            there = [doc for doc in batch if self._reader.meta(doc.id) is not None]
            try:
                with contextlib.closing(open_day(self._layout, *place)) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for doc in there:
                        _put(connection, doc)
                    connection.execute("COMMIT")
            except sqlite3.DatabaseError as exc:
                self._mend(place, exc)
                return 0
        return len(there)

    @contextlib.contextmanager
    def _held(self, place: _Place) -> Iterator[None]:
        """The key's folder, shared: no purge of the key runs."""
        lock = share(self._layout, place[0], timeout_s=LOCK_WAIT_S)
        if lock is None:
            raise StoreUnavailable(
                f"{self._layout.key_folder(place[0])} is being purged; try again."
            )
        try:
            yield
        finally:
            lock.release()

    def _mend(self, place: _Place, exc: sqlite3.DatabaseError) -> None:
        """Drop a damaged file, so that it is built anew with the next call; once."""
        path = day_file(self._layout, *place)
        # Operational: the disk is full, another holds it. Dropping it would not help.
        if isinstance(exc, sqlite3.OperationalError) or place in self._mended:
            raise unusable_index(path, exc) from exc
        self._mended.add(place)
        drop_file(path)
        self._kept = None


def _doc(record: Record) -> _Doc:
    asked = [
        (
            hashlib.blake2b(text.text.encode("utf-8", "replace"), digest_size=16).digest(),
            text.new,
            text.text,
        )
        for text in texts_in(record)
    ]
    answered = [text.text for text in texts_out(record)]
    told = sum(map(len, answered))
    return _Doc(
        record.meta.id,
        asked,
        answered,
        size=told + sum(len(text) for _, _, text in asked),
        new=told + sum(len(text) for _, new, text in asked if new),
    )


def _put(connection: sqlite3.Connection, doc: _Doc) -> None:
    texts = list(doc.answered)
    for digest, new, text in doc.asked:
        added = connection.execute(
            "INSERT OR IGNORE INTO seen (hash) VALUES (?)", (digest,)
        ).rowcount
        if new or added:
            texts.append(text)
    number = connection.execute("INSERT INTO docs (id) VALUES (?)", (doc.id,)).lastrowid
    # SQLite ends a text at a NUL; a needle with one is never narrowed (store.fulltext).
    folded = mend_text("\n".join(texts).casefold().replace("\0", " "))
    connection.execute("INSERT INTO texts (rowid, text) VALUES (?, ?)", (number, folded))
