"""The optional index of texts: one SQLite file for each key and day, that says which records can have a text.

<store>/fulltext/<key id>/<day>.db    0600, of the records that ended on that day (UTC)

It narrows a search and never answers it: what it does not rule out is read, and the record itself
tells. In it are the three-character pieces of texts (FTS5's trigrams, case folded), without their
places and without the texts. It is built by `flowtap index` alone (store.fulltext_build).

Privacy: a file is there only as long as its key's retention covers all of its day. Whoever purges
drops, under the lock on the key's folder, every file of a day that began before the cutoff, whole
(`drop_days`); so nothing is ever deleted out of a file, and what of that day is still there is
scanned. It is written under the same lock, shared, so nothing purged can come back.
"""

import contextlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from store.errors import StoreUnavailable
from store.layout import Layout, create_file, make_folder, sync_folder
from store.needle import Needle
from store.record import RecordMeta

FORMAT = 1
"""`user_version` of a file; another's is no file of ours."""

GRAM = 3
ENOUGH_GRAMS = 64
"""Pieces of a needle that are asked for: more narrow no further."""

BUSY_TIMEOUT_S = 2.0
"""A commit takes some 50 ms."""

_TABLES = (
    # Text is folded before it comes in, as the needle is: by Python alone.
    "CREATE VIRTUAL TABLE texts USING fts5("
    "text, content='', detail=none, tokenize='trigram case_sensitive 1')",
    "CREATE TABLE docs (doc INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
    # Texts that are in already: a conversation sends all of them again with each turn.
    "CREATE TABLE seen (hash BLOB PRIMARY KEY) WITHOUT ROWID",
    f"PRAGMA user_version={FORMAT}",
)


def why_not() -> str | None:
    """Why there can be no such index here, one line; None: there can."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(_TABLES[0])
        except sqlite3.Error:
            return (
                f"This Python's SQLite ({sqlite3.sqlite_version}) has no FTS5 with trigrams:"
                " no index can be built, and flowtap search reads the records."
            )
    return None


# -- files ----------------------------------------------------------------------------------------


def day_of(at_ms: int) -> str:
    """The day of an instant, `2026-02-06`; "" where the calendar ends."""
    with contextlib.suppress(OverflowError, ValueError):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).date().isoformat()
    return ""


def day_start_ms(day: str) -> int:
    """When that day began; ValueError if it is none."""
    began = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    return (began - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def day_file(layout: Layout, key_id: str, day: str) -> Path:
    """Where the index of a key's day is, if it is."""
    return layout.fulltext / key_id / f"{day}.db"


def open_day(layout: Layout, key_id: str, day: str) -> sqlite3.Connection:
    """For writing, made if absent; the key's folder is held. sqlite3.Error where it is damaged."""
    path = day_file(layout, key_id, day)
    if not path.exists():
        make_folder(layout.fulltext)
        make_folder(path.parent)
        drop_file(path)
        os.close(create_file(path))
        sync_folder(path.parent)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("COMMIT")
        elif version != FORMAT:
            raise sqlite3.DatabaseError(f"format {version} is not this version's")
    except BaseException:
        connection.close()
        raise
    return connection


def drop_file(path: Path) -> None:
    """A day's file with all that SQLite put beside it; harmless if it is not there."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def drop_days(layout: Layout, key_id: str, cutoff: int | None) -> None:
    """Drop the files of the key's days that began before `cutoff`, with None all; the key's folder is
    held alone. What is named otherwise is nothing of ours, and goes as well: it could hold texts."""
    folder = layout.fulltext / key_id
    if not folder.is_dir() or folder.is_symlink():
        return
    dropped = False
    for path in folder.iterdir():
        try:
            kept = cutoff is not None and day_start_ms(path.name.partition(".")[0]) >= cutoff
        except ValueError:
            kept = False
        if not kept:
            path.unlink(missing_ok=True)
            dropped = True
    if dropped:
        # Before rows go: a power cut must not bring the file of what is purged back.
        sync_folder(folder)
    with contextlib.suppress(OSError):
        # Where one is left it stays.
        folder.rmdir()


def drop_all(layout: Layout) -> None:
    """No index any more, of no key."""
    if layout.fulltext.is_dir() and not layout.fulltext.is_symlink():
        for folder in layout.fulltext.iterdir():
            drop_days(layout, folder.name, None)
        with contextlib.suppress(OSError):
            layout.fulltext.rmdir()


# -- narrowing ------------------------------------------------------------------------------------


def match_of(needle: Needle) -> str | None:
    """The FTS5 query for what can have the needle; None where trigrams tell nothing of it.

    Each piece is a quoted string, so that nothing in it is an operator; it is bound as a
    parameter. SQLite ends a text at a NUL, which therefore is in no file.
    """
    folded = needle.folded
    if len(folded) < GRAM or "\0" in folded:
        return None
    grams = dict.fromkeys(folded[at : at + GRAM] for at in range(len(folded) - GRAM + 1))
    quoted = ['"' + gram.replace('"', '""') + '"' for gram in grams]
    return " AND ".join(quoted[:ENOUGH_GRAMS])


class _Day:
    """What one file says of one needle, as of the moment it was asked."""

    def __init__(self, path: Path, match: str) -> None:
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            read = self._connection.execute
            if read("PRAGMA user_version").fetchone() != (FORMAT,):
                raise sqlite3.DatabaseError("not this version's")
            # In this order: what is added in between counts as not indexed.
            (self._last,) = read("SELECT coalesce(max(doc), 0) FROM docs").fetchone()
            self._matching = {
                doc for (doc,) in read("SELECT rowid FROM texts WHERE texts MATCH ?", (match,))
            }
        except BaseException:
            self.close()
            raise

    def without(self, ids: Sequence[str]) -> Iterable[str]:
        """Those of `ids` that are indexed and do not have it."""
        marks = ", ".join("?" * len(ids))
        rows = self._connection.execute(
            f"SELECT id, doc FROM docs WHERE id IN ({marks})",  # noqa: S608 - question marks
            ids,
        ).fetchall()
        return [key for key, doc in rows if doc <= self._last and doc not in self._matching]

    def close(self) -> None:
        self._connection.close()


class Fulltext:
    """The index as a search uses it (store.search.Narrowing); for one needle at a time."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._match: str | None = None
        self._days: dict[tuple[str, str], _Day | None] = {}

    def narrow(self, metas: Sequence[RecordMeta], needle: Needle) -> set[str]:
        """The ids of those that are indexed and do not have it. A file that cannot be read tells
        nothing: its records are searched themselves."""
        match = match_of(needle)
        if match != self._match:
            self.close()
            self._match = match
        if match is None:
            return set()
        asked: dict[tuple[str, str], list[str]] = defaultdict(list)
        for meta in metas:
            if meta.completed_ms is not None:
                asked[meta.key_id, day_of(meta.completed_ms)].append(meta.id)
        found: set[str] = set()
        for place, ids in asked.items():
            day = self._day(*place, match)
            if day is not None:
                try:
                    found.update(day.without(ids))
                except sqlite3.Error:
                    self._days[place] = None
                    day.close()
        return found

    def _day(self, key_id: str, day: str, match: str) -> _Day | None:
        place = key_id, day
        if place not in self._days:
            path = day_file(self._layout, *place)
            made = None
            if path.is_file() and not path.is_symlink():
                with contextlib.suppress(sqlite3.Error):
                    made = _Day(path, match)
            self._days[place] = made
        return self._days[place]

    def close(self) -> None:
        """Free everything."""
        for day in self._days.values():
            if day is not None:
                day.close()
        self._days.clear()


def unusable_index(path: Path, exc: Exception) -> StoreUnavailable:
    """One line on a file that cannot be written."""
    return StoreUnavailable(f"{path}: {' '.join(str(exc).split())}.")
