"""What dead writers left, made whole at the next start; killed half way, it is done again.

In this order: segments past what is indexed are rolled forward; segments no row points at
are dropped (the left-over of a purge cut short), what is damaged in them put aside; parts whose record is already stored go;
every other part becomes a record, `interrupted` unless its end is in it; then the dead
writer's folder goes. All under that writer's lock, which a living one holds.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from store.errors import StoreUnavailable
from store.frames import Kind, frame_at
from store.ids import IdSource
from store.index import Index, Indexed, Row
from store.key_folder import seize, share
from store.layout import FileView, Layout, Lock, create_file, locked
from store.parts import PartChunks, PartReading, read_part
from store.quarantine import set_aside_all, set_aside_rest
from store.record import RECORD_ID, Ending, Key, RequestHead, Transport
from store.segments import Content, SegmentWriter, scan_segment, segment_names, segment_owner
from store.summary import Observed, summarize

PROXY_TOLD_MS = 60 * 60 * 1000
"""A view can say for an hour since when a proxy is gone."""

INTERRUPTED = "The proxy died before the exchange ended."

FOLDER_WAIT_S = 10.0
COPIES_WAIT_S = 1.0
READER_ASKS_S = 0.03


def recover(
    layout: Layout,
    index: Index,
    keys: Callable[[], list[Key]],
    log: Callable[[str], None],
) -> int:
    """Recover everything of writers that are gone; returns how many records that made.

    `keys` gives the keys as they are when it is called: a part is asked for its key's
    retention while no purge can run.
    """
    with locked(layout.schema_lock):
        dead = dead_writers(layout)
        try:
            on = {key.id for key in keys() if key.retention_s is not None}
            roll_forward(layout, index, dead={name for name, _ in dead}, on=on)
            recovered = 0
            for name, _ in dead:
                recovered += _adopt(layout, index, name, keys, log)
            known = {folder.name for folder in _folders(layout.live)}
            for writer in _writers_of_rows(index) - known:
                index.forget_writer(writer)
            index.forget_proxies(time.time_ns() // 1_000_000 - PROXY_TOLD_MS)
        finally:
            for _, lock in dead:
                lock.release()
    return recovered


def dead_writers(layout: Layout) -> list[tuple[str, Lock]]:
    """Writers whose lock is free, with that lock taken; the schema lock is held, so none is being born."""
    dead = []
    for folder in _folders(layout.live):
        lock = Lock(folder / "lock")
        try:
            # A reader that asks whether the writer lives holds it for a moment.
            taken = lock.take(timeout_s=READER_ASKS_S)
        except FileNotFoundError:
            # Killed between making the folder and making the lock, or while removing both.
            try:
                os.close(create_file(folder / "lock"))
            except FileNotFoundError:
                # Or it is just leaving, with nothing behind it.
                continue
            taken = lock.take(timeout_s=READER_ASKS_S)
        if taken:
            dead.append((folder.name, lock))
    return dead


def _folders(path: Path) -> list[Path]:
    """The folders in a folder; links and stray files are none of ours."""
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.is_symlink())


def living(layout: Layout, writer: str) -> bool:
    """Whether a writer's process still holds its lock."""
    lock = Lock(layout.live / writer / "lock")
    try:
        if lock.take(timeout_s=READER_ASKS_S):
            lock.release()
            return False
    except OSError:
        return False
    return True


def roll_forward(
    layout: Layout,
    index: Index,
    *,
    on: Collection[str],
    dead: Collection[str] = (),
    anew: bool = False,
    replace_to: int = 0,
) -> int:
    """Make rows and segments agree: index what a segment holds beyond its indexed size, drop rows
    past its end, and drop segments no row points at. Returns how many rows were added.

    A segment whose writer lives is that writer's business; `dead`: writers whose lock the
    caller holds. `on`: ids of keys that are on; of others nothing damaged is put aside. For a
    rebuild, `anew`: those of living writers too, and rows up to the seq `replace_to` made anew.
    """
    indexed = {
        name: Indexed(name, key_id, writer, size)
        for name, key_id, writer, size in index.connection.execute(
            "SELECT name, key_id, writer, indexed FROM segments"
        )
    }
    doomed = {name for (name,) in index.connection.execute("SELECT segment FROM tombstones")}
    added = 0
    for folder in _folders(layout.segments):
        # Not while a purge is rewriting files here; and for a rebuild not while a writer has
        # frames on their way to the index.
        take = seize if anew else share
        lock = take(layout, folder.name, timeout_s=FOLDER_WAIT_S)
        if lock is None:
            if anew:
                raise StoreUnavailable(
                    f"{folder} is in use by a proxy that cannot write; rebuild again."
                )
            continue
        try:
            for name in segment_names(layout.segments, folder.name):
                if name not in doomed:
                    added += _roll_segment(
                        layout, index, name, indexed.get(name), on, dead, anew, replace_to
                    )
        finally:
            lock.release()
    for name in set(indexed) - set(segment_names(layout.segments)) - doomed:
        index.forget_segment(name)
    return added


def drop_copies(layout: Layout, index: Index, key_id: str, on: Collection[str]) -> None:
    """Delete what rewriting a segment of the key left when it was cut short: copies no row knows,
    which would outlive their retention. A writer's own segments are no copies, they name it."""
    indexed = dict(
        index.connection.execute("SELECT name, writer FROM segments WHERE key_id = ?", (key_id,))
    )

    def is_copy(name: str) -> bool:
        writer = indexed.get(name)
        owner = segment_owner(layout.segments, name) if writer is None else writer
        return not owner and not _has_rows(index, name)

    if not any(is_copy(name) for name in segment_names(layout.segments, key_id)):
        return
    # Alone: one that is just being made has no rows either, nor says whose it is.
    lock = seize(layout, key_id, timeout_s=COPIES_WAIT_S)
    if lock is not None:
        try:
            doomed = {
                name for (name,) in index.connection.execute("SELECT segment FROM tombstones")
            }
            for name in segment_names(layout.segments, key_id):
                if is_copy(name) and name not in doomed:
                    _roll_segment(layout, index, name, None, on, (), False, 0)
        finally:
            lock.release()


def _roll_segment(
    layout: Layout,
    index: Index,
    name: str,
    known: Indexed | None,
    on: Collection[str],
    dead: Collection[str],
    anew: bool,
    replace_to: int,
) -> int:
    writer = segment_owner(layout.segments, name) if known is None else known.writer
    in_use = bool(writer) and writer not in dead and living(layout, writer)
    if in_use and not anew:
        return 0
    added = 0
    size = 0 if known is None else known.size
    length = layout.segment(name).stat().st_size
    now = Indexed(name, name.partition("/")[0], writer, length)
    if length > size:
        found = list(scan_segment(layout.segments, name, size))
        added = index.roll_forward(now, found, replace_to)
    elif length < size:
        index.roll_back(now, _past_end(layout, index, name))
    if not in_use and not _has_rows(index, name):
        # Nothing whole in it: an empty one, or the copy of a rewrite that was cut short.
        if now.key_id in on:
            try:
                set_aside_all(layout, name)
            except OSError:
                # A full disk: it stays where it is until the next start.
                return added
        index.forget_segment(name)
        layout.segment(name).unlink()
    return added


def _past_end(layout: Layout, index: Index, name: str) -> list[str]:
    """Records whose last frame the segment no longer has, from its end backwards."""
    lost = []
    with FileView(layout.segment(name)) as buffer:
        for record_id, record_at in index.connection.execute(
            "SELECT id, record_at FROM records WHERE segment = ? ORDER BY record_at DESC", (name,)
        ).fetchall():
            if frame_at(buffer, record_at) is not None:
                break
            lost.append(record_id)
    return lost


def _has_rows(index: Index, name: str) -> bool:
    row = index.connection.execute(
        "SELECT 1 FROM records WHERE segment = ? LIMIT 1", (name,)
    ).fetchone()
    return row is not None


def _writers_of_rows(index: Index) -> set[str]:
    return {
        writer
        for (writer,) in index.connection.execute(
            "SELECT DISTINCT writer FROM records WHERE state = 'live'"
        )
    }


def _adopt(
    layout: Layout,
    index: Index,
    writer: str,
    keys: Callable[[], list[Key]],
    log: Callable[[str], None],
) -> int:
    """Turn a dead writer's parts into records of segments of its own name, and remove its folder."""
    folder = layout.live / writer
    adoption = _Adoption(layout, writer, log)
    parts = sorted(folder.glob("*.part"))
    kept: set[Path] = set()
    try:
        for part in parts:
            if RECORD_ID.match(part.stem) is None or _stored(index, part.stem):
                continue
            try:
                adoption.take(part, keys)
            except FileNotFoundError:
                # Purged meanwhile.
                continue
            except Exception as exc:
                # One part must not keep all the others, and recording itself, from going on.
                kept.add(part)
                log(f"{part} could not be recovered, the next start tries again: {exc}")
        rows = adoption.commit(index)
    finally:
        adoption.close()
    index.forget_writer(writer)
    for part in parts:
        if part not in kept:
            part.unlink(missing_ok=True)
    if not kept:
        (folder / "lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    if rows:
        log(f"recovered {rows} record(s) of a proxy that died")
    return rows


class _Adoption:
    """The segments that a dead writer's parts go into, each key's folder held until the rows are committed."""

    def __init__(self, layout: Layout, writer: str, log: Callable[[str], None]) -> None:
        self._log = log
        self._layout = layout
        self._writer = writer
        self._ids = IdSource()
        self._locks: dict[str, Lock] = {}
        self._segments: dict[str, SegmentWriter] = {}
        self._rows: list[Row] = []

    def take(self, part: Path, keys: Callable[[], list[Key]]) -> None:
        """Append a part's record, unless its key is off or gone; whatever is wrong with it raises."""
        reading = read_part(part)
        if reading.begin is None or reading.request is None:
            # Killed in its first write, or damaged there: nobody knows whose it was.
            self._log(f"{part} has no readable beginning and is dropped")
            return
        key_id = str(reading.begin["key"])
        if all(key.id != key_id for key in keys()):
            return
        if key_id not in self._locks:
            lock = share(self._layout, key_id, timeout_s=FOLDER_WAIT_S)
            if lock is None:
                raise StoreUnavailable(f"{self._layout.key_folder(key_id)} is being purged")
            self._locks[key_id] = lock
        if any(key.id == key_id and key.retention_s is not None for key in keys()):
            if set_aside_rest(self._layout, part, key_id):
                self._log(f"{part} is damaged; what is behind that was put aside (flowtap doctor)")
            segment = self._segment(key_id)
            self._rows.append(
                _to_record(part, reading, reading.begin, reading.request, self._writer, segment)
            )

    def _segment(self, key_id: str) -> SegmentWriter:
        segment = self._segments.get(key_id)
        if segment is None:
            now_ms = time.time_ns() // 1_000_000
            segment = self._segments[key_id] = SegmentWriter(
                self._layout.segments, key_id, self._writer, self._ids.new(now_ms), now_ms
            )
        return segment

    def commit(self, index: Index) -> int:
        """Sync what was appended, then commit its rows; how many."""
        for segment in self._segments.values():
            segment.sync()
        if self._segments:
            index.put(
                self._rows,
                [
                    Indexed(each.name, each.key_id, self._writer, each.size)
                    for each in self._segments.values()
                ],
            )
        return len(self._rows)

    def close(self) -> None:
        """Let every descriptor and lock go."""
        for segment in self._segments.values():
            segment.close()
        for lock in self._locks.values():
            lock.release()


def _to_record(
    part: Path,
    reading: PartReading,
    begin: dict[str, Any],
    request: RequestHead,
    writer: str,
    segment: SegmentWriter,
) -> Row:
    end = reading.end or Ending(reading.last_at_ms, Transport.RECOVERED, INTERRUPTED)
    chunks = (PartChunks(part, Kind.REQUEST), PartChunks(part, Kind.RESPONSE))
    meta = summarize(
        Observed(
            id=part.stem,
            key_id=begin["key"],
            started_ms=int(begin["started_ms"]),
            ended_at_ms=end.at_ms,
            request=request,
            protocol=begin.get("protocol"),
            response=reading.response,
            transport=end.transport,
            error=end.error,
            lost_bytes=reading.lost_bytes,
        ),
        *chunks,
    )
    place = segment.append(Content(meta, request, reading.response, *chunks, end.wire))
    return Row(meta, writer, place)


def _stored(index: Index, record_id: str) -> bool:
    row = index.connection.execute(
        "SELECT 1 FROM records WHERE id = ? AND state = 'done'", (record_id,)
    ).fetchone()
    return row is not None
