"""Looks at a store and says what it sees (store.health). It changes nothing, and works on any store:
damaged, locked, half made, of an older or a newer version.

Databases are opened read-only, and without SQLite's shared memory where nobody else has them open;
locks are asked for shared and let go at once. What cannot be looked at is seen as such.
"""

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from store.health import (
    DatabaseSeen,
    Entry,
    KeysSeen,
    LockSeen,
    LogSeen,
    PieceSeen,
    ProxySeen,
    SegmentSeen,
    SegmentsSeen,
    SpaceSeen,
    WriterSeen,
)
from store.holders import look_at_lock, openers
from store.layout import Layout, is_held
from store.parts import part_key
from store.quarantine import pieces
from store.record import RECORD_ID
from store.schema import index_migrations, key_migrations
from store.segments import segment_names, segment_owner
from store.sizes import measure

LOCK_WAIT_S = 1.0
"""Whoever holds a lock longer keeps others waiting."""

BUSY_S = 2.0

AGAIN_S = 0.5
"""From one look at what seems wrong to the next."""


class Examination:
    """One look at a store. Use as a context; each method looks at one thing."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self._connections: dict[Path, sqlite3.Connection] = {}
        self._broken: dict[Path, DatabaseSeen] = {}
        self._damaged: set[Path] = set()

    def __enter__(self) -> "Examination":
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    # -- files -----------------------------------------------------------------------------

    def root(self) -> Entry | None:
        """The store's folder itself; None where it is absent. OSError where it cannot be looked at."""
        try:
            return _entry(self.layout.root, os.lstat(self.layout.root))
        except FileNotFoundError:
            return None

    def entries(self) -> Iterator[Entry]:
        """Everything below it, no link followed; what vanishes meanwhile is left out."""
        folders = [self.layout.root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as found:
                    inside = sorted(found, key=lambda each: each.name)
            except FileNotFoundError:
                continue
            except OSError:
                # Its own bits say so.
                continue
            for each in inside:
                with contextlib.suppress(FileNotFoundError):
                    entry = _entry(Path(each.path), each.stat(follow_symlinks=False))
                    yield entry
                    if entry.kind == "folder":
                        folders.append(Path(each.path))

    def space(self) -> SpaceSeen:
        """How much room there is."""
        sizes = measure(self.layout)
        try:
            found = os.statvfs(self.layout.root)
        except OSError:
            return SpaceSeen(None, None, sizes.total_bytes)
        return SpaceSeen(
            found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, sizes.total_bytes
        )

    def pieces(self) -> list[PieceSeen]:
        """The quarantine."""
        return [
            PieceSeen(str(piece.path), piece.source, piece.start, piece.size)
            for piece in pieces(self.layout)
        ]

    # -- locks -----------------------------------------------------------------------------

    def locks(self) -> list[LockSeen]:
        """The lock files: whether the file system has locks at all, and who holds which."""
        layout = self.layout
        return [
            look_at_lock(path, wait_s)
            for path, wait_s in (
                (layout.schema_lock, LOCK_WAIT_S),
                (layout.checkpoint_lock, LOCK_WAIT_S),
                # A sweep may take its time.
                (layout.sweep_lock, 0.0),
            )
        ]

    def writers(self) -> list[WriterSeen]:
        """Who writes, and what the dead have left."""
        pids = {writer: pid for writer, pid in self.rows("SELECT writer, pid FROM proxies")}
        # Where the keys cannot be read, any may be on.
        on: set[str] | None = None
        if self._open(self.layout.keys) is not None:
            rows = self.rows("SELECT id FROM keys WHERE retention_s IS NOT NULL", self.layout.keys)
            on = {key_id for (key_id,) in rows}
        found = []
        for folder in _folders(self.layout.live):
            alive = is_held(folder / "lock")
            parts = [path for path in sorted(folder.glob("*.part")) if not path.is_symlink()]
            recoverable = 0 if alive else sum(self._recoverable(part, on) for part in parts)
            found.append(
                WriterSeen(folder.name, alive, len(parts), recoverable, pids.get(folder.name))
            )
        return found

    def _recoverable(self, part: Path, on: set[str] | None) -> bool:
        key_id = part_key(part)
        if RECORD_ID.match(part.stem) is None or key_id is None:
            return False
        if on is not None and key_id not in on:
            return False
        return not self.rows(
            "SELECT 1 FROM records WHERE id = ? AND state = 'done'", parameters=(part.stem,)
        )

    # -- databases -------------------------------------------------------------------------

    def databases(self) -> list[DatabaseSeen]:
        """keys.db and index.db: whole, and of which version."""
        return [
            self._database(self.layout.keys, [each.name for each in key_migrations._migrations]),
            self._database(self.layout.index, [each.name for each in index_migrations._migrations]),
        ]

    def _database(self, path: Path, known: list[str]) -> DatabaseSeen:
        connection = self._open(path)
        if connection is None:
            return self._broken[path]
        try:
            rows = connection.execute("PRAGMA quick_check(5)").fetchall()
            told = tuple(str(row[0]) for row in rows if row[0] != "ok")
            tables = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"
            ).fetchone()
            applied = (
                [row[0] for row in connection.execute("SELECT name FROM _sqlite_migrations")]
                if tables
                else []
            )
        except sqlite3.Error as exc:
            self._connections.pop(path).close()
            self._broken[path] = _refused(path, exc)
            return self._broken[path]
        if told:
            self._damaged.add(path)
        return DatabaseSeen(
            str(path),
            damage=told,
            older=tuple(name for name in known if name not in applied),
            newer=tuple(name for name in applied if name not in known),
        )

    def _open(self, path: Path) -> sqlite3.Connection | None:
        """A read-only connection; None where there can be none, and `_broken` says why."""
        if path in self._connections:
            return self._connections[path]
        if path not in self._broken:
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    self._broken[path] = DatabaseSeen(str(path), error="is not a plain file")
                    return None
                # Nobody has it open: without a log there is nothing to share.
                alone = path == self.layout.index and not os.path.lexists(f"{path}-wal")
                connection = sqlite3.connect(
                    f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}",
                    uri=True,
                    isolation_level=None,
                    timeout=BUSY_S,
                )
            except FileNotFoundError:
                self._broken[path] = DatabaseSeen(str(path), missing=True)
            except (OSError, sqlite3.Error) as exc:
                self._broken[path] = _refused(path, exc)
            else:
                self._connections[path] = connection
                return connection
        return None

    def rows(
        self, sql: str, database: Path | None = None, parameters: tuple[object, ...] = ()
    ) -> list[Any]:
        """Every row, or none where the database or the table cannot be read: that is told elsewhere."""
        connection = self._open(database or self.layout.index)
        if connection is None:
            return []
        try:
            return connection.execute(sql, parameters).fetchall()
        except sqlite3.Error:
            return []

    def keys(self) -> KeysSeen | None:
        """The keys; None where they cannot be read."""
        if self._open(self.layout.keys) is None:
            return None
        rows = self.rows("SELECT id, retention_s FROM keys", self.layout.keys)
        size: int | None = None
        with contextlib.suppress(OSError):
            size = os.lstat(self.layout.secret).st_size
        return KeysSeen(
            frozenset(str(key_id) for key_id, _ in rows),
            sum(retention is not None for _, retention in rows),
            size,
        )

    def log(self) -> LogSeen:
        """The write-ahead log, and who has the index open."""
        wal = Path(f"{self.layout.index}-wal")
        try:
            size = os.lstat(wal).st_size
        except OSError:
            size = 0
        return LogSeen(size, openers(self.layout.index))

    def proxies(self) -> list[ProxySeen]:
        """What proxies say of themselves; of an older or newer version, as far as it is known."""
        found = []
        for row in self.dicts("SELECT * FROM proxies"):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                found.append(
                    ProxySeen(
                        pid=int(row["pid"]),
                        address=str(row["address"]),
                        alive=is_held(self.layout.live / str(row["writer"]) / "lock"),
                        heartbeat_ms=int(row["heartbeat_ms"]),
                        error=None if row["error"] is None else str(row["error"]),
                        **{
                            name: int(row.get(name) or 0)
                            for name in ("lost_records", "lost_bytes", "refused")
                        },
                        has_ring=bool(row.get("has_ring")),
                        ring_exchanges=int(row.get("ring_exchanges") or 0),
                        ring_bytes=int(row.get("ring_bytes") or 0),
                    )
                )
        return sorted(found, key=lambda proxy: (not proxy.alive, -proxy.heartbeat_ms))

    def dicts(self, sql: str, parameters: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """As `rows`, of the index, by the columns' names: versions differ in their columns."""
        connection = self._open(self.layout.index)
        if connection is None:
            return []
        try:
            cursor = connection.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except sqlite3.Error:
            return []

    # -- the index against the files -------------------------------------------------------

    def segments(self) -> SegmentsSeen | None:
        """Which segments there are, and how the index goes with them; None where it cannot be read.

        What looks wrong is looked at twice: writers and purges go on meanwhile.
        """
        if self._open(self.layout.index) is None or self.layout.index in self._damaged:
            return None
        now = self._segments()
        if any(segment.odd for segment in now.values()):
            before = now
            time.sleep(AGAIN_S)
            now = {
                name: segment
                for name, segment in self._segments().items()
                if not segment.odd or (name in before and before[name].odd)
            }
        keys = self.keys()
        folders = {folder.name for folder in _folders(self.layout.segments)}
        strangers = sorted(folders - keys.ids) if keys is not None else []
        return SegmentsSeen(
            tuple(now.values()),
            sum(count for (count,) in self.rows("SELECT count(*) FROM tombstones")),
            tuple(
                (name, count)
                for name in strangers
                if (count := len(segment_names(self.layout.segments, name)))
            ),
        )

    def _segments(self) -> dict[str, SegmentSeen]:
        """By name. The index is read first: what is on the disk by then cannot lag behind it."""
        rows = dict(
            self.rows(
                "SELECT segment, count(*) FROM records WHERE state = 'done' AND segment IS NOT NULL"
                " GROUP BY segment"
            )
        )
        known = {
            name: (indexed, writer)
            for name, indexed, writer in self.rows("SELECT name, indexed, writer FROM segments")
        }
        put_aside = {piece.source for piece in pieces(self.layout)}
        living: dict[str, bool] = {"": False}
        found = {}
        on_disk = self.on_disk()
        for name in sorted({*rows, *known, *on_disk}):
            indexed, writer = known.get(name, (None, None))
            if writer is None and name in on_disk:
                writer = segment_owner(self.layout.segments, name)
            if writer is not None and writer not in living:
                living[writer] = is_held(self.layout.live / writer / "lock")
            found[name] = SegmentSeen(
                name=name,
                size=on_disk.get(name),
                indexed=indexed,
                rows=rows.get(name, 0),
                alive=writer is not None and living[writer],
                put_aside=Path(name).stem in put_aside,
            )
        return found

    def on_disk(self) -> dict[str, int]:
        """Every segment that is there, with its size."""
        found = {}
        for folder in _folders(self.layout.segments):
            for name in segment_names(self.layout.segments, folder.name):
                with contextlib.suppress(FileNotFoundError):
                    found[name] = os.lstat(self.layout.segment(name)).st_size
        return found


def _entry(path: Path, info: os.stat_result) -> Entry:
    if stat.S_ISLNK(info.st_mode):
        kind = "link"
    elif stat.S_ISDIR(info.st_mode):
        kind = "folder"
    else:
        kind = "file" if stat.S_ISREG(info.st_mode) else "other"
    return Entry(str(path), kind, stat.S_IMODE(info.st_mode), info.st_uid)


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, no links; nothing where it cannot be looked at."""
    try:
        with os.scandir(path) as found:
            return sorted(Path(each.path) for each in found if each.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _refused(path: Path, exc: Exception) -> DatabaseSeen:
    text = reason(exc)
    return DatabaseSeen(str(path), error=text, locked="locked" in text or "busy" in text)


def reason(exc: Exception) -> str:
    """What went wrong, one line without the file's name."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return " ".join(str(exc).split()) or type(exc).__name__
