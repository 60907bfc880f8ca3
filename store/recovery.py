"""What dead writers left, made whole at the next start; killed half way, it is done again.

In this order: segments past what is indexed are rolled forward; segments no row points at
are dropped (the left-over of a purge cut short); parts whose record is already stored go;
every other part becomes a record, `interrupted` unless its end is in it; then the dead
writer's folder goes. All under that writer's lock, which a living one holds.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.errors import StoreUnavailable
from store.frames import Kind
from store.ids import IdSource
from store.index import Index, Row
from store.layout import Layout, Lock, locked
from store.parts import MappedChunks, PartReading, read_part
from store.record import RECORD_ID, Key, RequestHead, Transport
from store.segments import Content, SegmentWriter, scan_segment, segment_names, segment_owner
from store.summary import Observed, summarize

PROXY_TOLD_MS = 60 * 60 * 1000
"""A view can say for an hour since when a proxy is gone."""

INTERRUPTED = "The proxy died before the exchange ended."


def recover(layout: Layout, index: Index, keys: list[Key], log: Callable[[str], None]) -> int:
    """Recover everything of writers that are gone; returns how many records that made."""
    with locked(layout.schema_lock):
        dead = dead_writers(layout)
        try:
            roll_forward(layout, index)
            recovered = 0
            for name, _ in dead:
                recovered += _adopt(layout, index, name, keys, log)
            known = {folder.name for folder in layout.live.iterdir()}
            for writer in _writers_of_rows(index) - known:
                index.forget_writer(writer)
            index.forget_proxies(time.time_ns() // 1_000_000 - PROXY_TOLD_MS)
        finally:
            for _, lock in dead:
                lock.release()
    return recovered


def dead_writers(layout: Layout) -> list[tuple[str, Lock]]:
    """Writers whose lock is free, with that lock taken."""
    dead = []
    for folder in sorted(layout.live.iterdir()):
        lock = Lock(folder / "lock")
        try:
            taken = lock.take(timeout_s=0.0)
        except FileNotFoundError:
            # Killed between making the folder and making the lock, or while removing it.
            # A writer being born holds neither for a moment: an empty folder that young is left alone.
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > 5.0:
                    folder.rmdir()
            continue
        if taken:
            dead.append((folder.name, lock))
    return dead


def living(layout: Layout, writer: str) -> bool:
    """Whether a writer's process still holds its lock."""
    lock = Lock(layout.live / writer / "lock")
    try:
        if lock.take(timeout_s=0.0):
            lock.release()
            return False
    except OSError:
        return False
    return True


def roll_forward(layout: Layout, index: Index, *, anew: bool = False) -> int:
    """Index what segments hold beyond their indexed size; drop those of dead writers no row points at.

    `anew`: those of living writers too, for a rebuild; returns how many rows were added.
    """
    indexed = {
        name: (size, writer)
        for name, size, writer in index.connection.execute(
            "SELECT name, indexed, writer FROM segments"
        )
    }
    doomed = {name for (name,) in index.connection.execute("SELECT segment FROM tombstones")}
    added = 0
    for folder in sorted(layout.segments.iterdir()):
        # Shared with writers; not while a purge is rewriting files here. Exclusive for a
        # rebuild: then no writer has frames on their way to the index.
        lock = Lock(folder)
        if not lock.take(shared=not anew, timeout_s=10.0):
            continue
        try:
            for name in segment_names(layout.segments, folder.name):
                if name not in doomed:
                    added += _roll_segment(layout, index, name, *indexed.get(name, (0, None)), anew)
        finally:
            lock.release()
    for name in set(indexed) - set(segment_names(layout.segments)) - doomed:
        # The rows stay and say which file is gone; the segment itself is no more.
        with index.transaction() as connection:
            connection.execute("DELETE FROM segments WHERE name = ?", (name,))
    return added


def _roll_segment(
    layout: Layout, index: Index, name: str, size: int, writer: str | None, anew: bool
) -> int:
    if writer is None:
        writer = segment_owner(layout.segments, name)
    in_use = bool(writer) and living(layout, writer)
    if in_use and not anew:
        return 0
    added = 0
    length = layout.segment(name).stat().st_size
    if length > size:
        found = list(scan_segment(layout.segments, name, size))
        added = index.roll_forward(name, name.partition("/")[0], writer, found, length)
    if not in_use and not _has_rows(index, name):
        # Nothing whole in it: an empty one, or the copy of a rewrite that was cut short.
        index.move(name, None, (), "", 0)
        layout.segment(name).unlink()
    return added


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
    layout: Layout, index: Index, writer: str, keys: list[Key], log: Callable[[str], None]
) -> int:
    """Turn a dead writer's parts into records of segments of its own name, and remove its folder."""
    folder = layout.live / writer
    on = {key.id for key in keys if key.retention_s is not None}
    ids = IdSource()
    segments: dict[str, SegmentWriter] = {}
    locks: list[Lock] = []
    rows: list[Row] = []
    parts = sorted(folder.glob("*.part"))
    try:
        for part in parts:
            if RECORD_ID.match(part.stem) is None or _stored(index, part.stem):
                continue
            reading = read_part(part)
            if reading.begin is None or reading.request is None:
                continue
            if reading.begin.get("key") not in on:
                continue
            key_id = reading.begin["key"]
            if key_id not in segments:
                segments[key_id] = _segment(layout, key_id, writer, ids, locks)
            rows.append(
                _to_record(part, reading, reading.begin, reading.request, writer, segments[key_id])
            )
        for segment in segments.values():
            segment.sync()
        if rows:
            index.put(rows)
        for key_id, segment in segments.items():
            index.add_segment(segment.name, key_id, writer, segment.size)
    finally:
        for segment in segments.values():
            segment.close()
        for lock in locks:
            lock.release()
    index.forget_writer(writer)
    for part in parts:
        part.unlink(missing_ok=True)
    (folder / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
    if rows:
        log(f"recovered {len(rows)} record(s) of a proxy that died")
    return len(rows)


def _segment(
    layout: Layout, key_id: str, writer: str, ids: IdSource, locks: list[Lock]
) -> SegmentWriter:
    now_ms = time.time_ns() // 1_000_000
    segment = SegmentWriter(layout.segments, key_id, writer, ids.new(now_ms), now_ms)
    lock = Lock(layout.key_folder(key_id))
    if not lock.take(shared=True, timeout_s=10.0):
        segment.close()
        raise StoreUnavailable(f"{layout.key_folder(key_id)} is being purged; try again.")
    locks.append(lock)
    return segment


def _to_record(
    part: Path,
    reading: PartReading,
    begin: dict[str, Any],
    request: RequestHead,
    writer: str,
    segment: SegmentWriter,
) -> Row:
    at_ms, transport, error = reading.end or (
        reading.last_at_ms,
        Transport.RECOVERED,
        INTERRUPTED,
    )
    chunks = (MappedChunks(part, Kind.REQUEST), MappedChunks(part, Kind.RESPONSE))
    meta = summarize(
        Observed(
            id=part.stem,
            key_id=begin["key"],
            started_ms=int(begin["started_ms"]),
            ended_at_ms=at_ms,
            request=request,
            protocol=begin.get("protocol"),
            response=reading.response,
            transport=transport,
            error=error,
            lost_bytes=0,
        ),
        *chunks,
    )
    place = segment.append(Content(meta, request, reading.response, *chunks))
    return Row(meta, writer, place)


def _stored(index: Index, record_id: str) -> bool:
    row = index.connection.execute(
        "SELECT 1 FROM records WHERE id = ? AND state = 'done'", (record_id,)
    ).fetchone()
    return row is not None
