"""Deleting: of one key what its retention no longer covers, at once, and of all keys every minute.

Index rows and a tombstone go first, files second: a purge killed half way has hidden what
it was to delete, and the next start finishes it from the tombstones. Whole segments are
unlinked; the one at the boundary is rewritten without what expired.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from store.errors import StoreUnavailable
from store.ids import IdSource
from store.index import Index
from store.layout import Layout, Lock, make_folder, sync_folder
from store.parts import part_key
from store.record import Key
from store.retention import cutoff_ms
from store.segments import (
    Found,
    MappedFile,
    Place,
    SegmentWriter,
    scan_segment,
    segment_names,
)

LOCK_WAIT_S = 10.0
"""A writer holds a key's folder from append to commit, 0.2 s; longer means its index is stuck."""

_ids = IdSource()


def purge_key(layout: Layout, index: Index, key_id: str, cutoff: int | None) -> int:
    """Delete a key's records completed before `cutoff`, or with None everything, in flight too.

    Returns how many. No byte of them is left in segments, index or write-ahead log, except
    that a reader in mid-read keeps the log until it is done. StoreUnavailable if a writer
    does not let go of the folder.
    """
    folder = layout.key_folder(key_id)
    if not folder.exists():
        make_folder(folder)
    lock = Lock(folder)
    if not lock.take(timeout_s=LOCK_WAIT_S):
        raise StoreUnavailable(f"{folder} is in use by a proxy that cannot write; try again.")
    try:
        doomed = _doomed_segments(layout, index, key_id, cutoff)
        deleted = 0
        if doomed or cutoff is None:
            deleted = index.doom(key_id, cutoff, doomed)
        if cutoff is None:
            _remove_parts(layout, key_id)
        _bury(layout, index, key_id)
    finally:
        lock.release()
    if deleted or doomed:
        index.checkpoint(wait_s=1.0, truncate=True)
    return deleted


def finish_purges(layout: Layout, index: Index) -> None:
    """Do what tombstones of a purge cut short still ask for."""
    rows = index.connection.execute("SELECT DISTINCT segment FROM tombstones").fetchall()
    for key_id in sorted({str(name).partition("/")[0] for (name,) in rows}):
        folder = layout.key_folder(key_id)
        if not folder.exists():
            make_folder(folder)
        lock = Lock(folder)
        if lock.take(timeout_s=1.0):
            try:
                _bury(layout, index, key_id)
            finally:
                lock.release()


def sweep(
    layout: Layout, index: Index, keys: list[Key], now_ms: int, log: Callable[[str], None]
) -> int:
    """Purge every key's expired records, and the leftovers of keys that are off; returns how many went.

    Nothing (0) while another process sweeps. One key's failure is logged and does not stop
    the others: the next key's owner is owed his deletion all the same.
    """
    lock = Lock(layout.sweep_lock)
    if not lock.take(timeout_s=0.0):
        return 0
    deleted = 0
    try:
        for key in keys:
            cutoff = None if key.retention_s is None else cutoff_ms(now_ms, key.retention_s)
            try:
                if _has_work(layout, index, key.id, cutoff):
                    deleted += purge_key(layout, index, key.id, cutoff)
            except Exception as exc:
                log(f"sweep of key {key.name} failed: {type(exc).__name__}: {exc}")
    finally:
        lock.release()
    return deleted


def _has_work(layout: Layout, index: Index, key_id: str, cutoff: int | None) -> bool:
    if cutoff is None:
        return bool(segment_names(layout.segments, key_id))
    row = index.connection.execute(
        "SELECT 1 FROM records WHERE key_id = ? AND completed_ms < ? LIMIT 1", (key_id, cutoff)
    ).fetchone()
    return row is not None


def _doomed_segments(layout: Layout, index: Index, key_id: str, cutoff: int | None) -> list[str]:
    if cutoff is None:
        return segment_names(layout.segments, key_id)
    rows = index.connection.execute(
        "SELECT DISTINCT segment FROM records WHERE key_id = ? AND completed_ms < ?",
        (key_id, cutoff),
    ).fetchall()
    return [name for (name,) in rows if name is not None]


def _remove_parts(layout: Layout, key_id: str) -> None:
    for part in layout.live.glob("*/*.part"):
        if part_key(part) == key_id:
            part.unlink(missing_ok=True)


def _bury(layout: Layout, index: Index, key_id: str) -> None:
    """Carry out the key's tombstones; its folder's lock is held."""
    rows = index.connection.execute(
        "SELECT segment, cutoff_ms FROM tombstones WHERE segment LIKE ? || '/%'", (key_id,)
    ).fetchall()
    for name, cutoff in rows:
        path = layout.segment(name)
        try:
            survivors = [
                found
                for found in scan_segment(layout.segments, name)
                if (found.meta.completed_ms or 0) >= cutoff
            ]
        except FileNotFoundError:
            survivors = []
        if survivors:
            _rewrite(layout, index, name, key_id, survivors)
        else:
            index.move(name, None, (), key_id, 0)
        path.unlink(missing_ok=True)
    if rows:
        sync_folder(layout.key_folder(key_id))


def _rewrite(layout: Layout, index: Index, old: str, key_id: str, survivors: list[Found]) -> None:
    now_ms = time.time_ns() // 1_000_000
    new = SegmentWriter(layout.segments, key_id, "", _ids.new(now_ms), now_ms)
    places: list[tuple[str, Place]] = []
    try:
        with MappedFile(layout.segment(old)) as buffer:
            for found in survivors:
                start = new.append_raw(buffer[found.place.start : found.end])
                shift = start - found.place.start
                places.append(
                    (found.meta.id, Place(new.name, start, found.place.record_at + shift))
                )
        new.sync()
    except OSError:
        _unlink_quietly(layout.segment(new.name))
        raise
    finally:
        new.close()
    index.move(old, new.name, places, key_id, new.size)


def _unlink_quietly(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
