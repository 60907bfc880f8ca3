"""Deleting: of one key what its retention no longer covers, at once, and of all keys every minute.

Index rows and a tombstone go first, files second, the tombstone last: a purge killed half
way has hidden what it was to delete, and the next sweep or start finishes it from the
tombstones. Whole segments are unlinked; the one at the boundary is rewritten without what
expired. What is damaged in that one is put aside first, unless it is expired for certain
(store.quarantine).
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

from store.asks import LEFT_MS
from store.errors import StoreUnavailable
from store.fulltext import drop_days
from store.ids import IdSource
from store.index import EVERYTHING, Index
from store.key_folder import seize
from store.layout import FileView, Layout, Lock, sync_folder
from store.parts import part_key
from store.quarantine import Extent, any_expired, damage, drop_pieces, set_aside
from store.record import Key
from store.retention import cutoff_ms
from store.seen import ENTRIES, SEEN_DAYS
from store.segments import (
    Copying,
    Found,
    Place,
    SegmentWriter,
    scan_segment,
    segment_names,
)

LOCK_WAIT_S = 10.0
"""A writer holds a key's folder from append to commit, 0.2 s; longer means its index is stuck."""

CHECKPOINT_WAIT_S = 2.0

_ids = IdSource()


JUMP_S = 300.0
"""A clock is set by seconds, a mistake is made by days; a machine that slept looks the same."""


class SteadyClock:
    """Tells when the wall clock ran ahead of the time that passed."""

    def __init__(self, wall_s: float, passed_s: float) -> None:
        self._last = (wall_s, passed_s)

    def jumped(self, wall_s: float, passed_s: float) -> bool:
        """Whether it did since the last call; the new time is the measure of the next."""
        last, self._last = self._last, (wall_s, passed_s)
        return (wall_s - last[0]) - (passed_s - last[1]) > JUMP_S


def purge_key(layout: Layout, index: Index, key_id: str, cutoff: int | None) -> int:
    """Delete a key's records completed before `cutoff`, or with None everything, in flight too.

    Returns how many. No byte of them is left in segments, index or write-ahead log, except
    that a reader in mid-read keeps the log until it is done; damaged bytes that no row tells
    the age of are in the quarantine until they are expired for certain. StoreUnavailable if a
    writer does not let go of the folder.
    """
    lock = seize(layout, key_id, timeout_s=LOCK_WAIT_S)
    if lock is None:
        raise StoreUnavailable(
            f"{layout.key_folder(key_id)} is in use by a proxy that cannot write; try again."
        )
    try:
        # First: cut short, the purge has cost no more than what can be built anew.
        drop_days(layout, key_id, cutoff)
        doomed = _doomed_segments(layout, index, key_id, cutoff)
        scanned: dict[str, list[Found]] = {}
        late: set[str] = set()
        if cutoff is not None:
            for name in _boundary(layout, doomed, cutoff):
                try:
                    scanned[name] = list(scan_segment(layout.segments, name))
                    # Before its rows go, which alone tell what of it is expired.
                    _set_aside(layout, index, name, scanned[name], cutoff, unowned=True)
                except OSError:
                    # A full disk: deleting the other segments makes room, and then it is tried again.
                    late.add(name)
        deleted = 0
        if doomed or cutoff is None:
            deleted = index.doom(key_id, cutoff, doomed)
        if cutoff is None:
            _remove_parts(layout, key_id)
        _bury(layout, index, key_id, scanned, late)
        drop_pieces(layout, key_id, cutoff)
    finally:
        lock.release()
    # Also where nothing was found: what an earlier purge deleted may still be in the log.
    index.checkpoint(wait_s=CHECKPOINT_WAIT_S, truncate=True)
    return deleted


def finish_purges(layout: Layout, index: Index) -> None:
    """Do what tombstones of a purge cut short still ask for."""
    rows = index.connection.execute("SELECT DISTINCT segment FROM tombstones").fetchall()
    for key_id in sorted({str(name).partition("/")[0] for (name,) in rows}):
        lock = seize(layout, key_id, timeout_s=1.0)
        if lock is not None:
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
        index.forget_answers("", now_ms - LEFT_MS)
        index.forget_seen(now_ms - SEEN_DAYS * 24 * 60 * 60 * 1000, ENTRIES)
        # A reader in mid-read kept a purge from clearing the log: what it deleted goes now.
        index.checkpoint(wait_s=CHECKPOINT_WAIT_S, truncate=True)
    finally:
        lock.release()
    return deleted


def _has_work(layout: Layout, index: Index, key_id: str, cutoff: int | None) -> bool:
    """Something expired, something left of a key that is off, or a purge that was cut short."""
    limit = EVERYTHING if cutoff is None else cutoff
    row = index.connection.execute(
        "SELECT 1 FROM records WHERE key_id = ? AND completed_ms < ?"
        " UNION ALL SELECT 1 FROM tombstones WHERE segment LIKE ? || '/%' LIMIT 1",
        (key_id, limit, key_id),
    ).fetchone()
    return (
        row is not None
        or (cutoff is None and bool(segment_names(layout.segments, key_id)))
        or any_expired(layout, key_id, cutoff)
    )


def _doomed_segments(layout: Layout, index: Index, key_id: str, cutoff: int | None) -> list[str]:
    if cutoff is None:
        return segment_names(layout.segments, key_id)
    rows = index.connection.execute(
        "SELECT DISTINCT segment FROM records WHERE key_id = ? AND completed_ms < ?",
        (key_id, cutoff),
    ).fetchall()
    return [name for (name,) in rows if name is not None]


def _boundary(layout: Layout, doomed: list[str], cutoff: int) -> Iterator[str]:
    """Of doomed segments those that may hold what ended at `cutoff` or later, by when they were
    last written."""
    for name in doomed:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(layout.segment(name)).st_mtime_ns // 1_000_000 >= cutoff:
                yield name


def _remove_parts(layout: Layout, key_id: str) -> None:
    for part in layout.live.glob("*/*.part"):
        if part_key(part) == key_id:
            part.unlink(missing_ok=True)


def _bury(
    layout: Layout,
    index: Index,
    key_id: str,
    scanned: Mapping[str, list[Found]] = MappingProxyType({}),
    late: Collection[str] = (),
) -> None:
    """Carry out the key's tombstones; its folder's lock is held. `scanned`: what segments were found
    to hold under that lock; `late`: those whose damaged pieces are still to be put aside."""
    rows = index.connection.execute(
        "SELECT segment, cutoff_ms FROM tombstones WHERE segment LIKE ? || '/%'", (key_id,)
    ).fetchall()
    if rows:
        drop_days(layout, key_id, max(cutoff for _, cutoff in rows))
    for name, cutoff in rows:
        path = layout.segment(name)
        survivors: list[Found] = []
        if cutoff < EVERYTHING:
            with contextlib.suppress(FileNotFoundError):
                found = scanned.get(name) or list(scan_segment(layout.segments, name))
                survivors = [each for each in found if (each.meta.completed_ms or 0) >= cutoff]
                # The rows that are left are of records to be kept.
                _set_aside(layout, index, name, found, unowned=name in late)
        if survivors:
            _rewrite(layout, index, name, key_id, survivors)
        else:
            index.move(name, None, (), key_id, 0)
        path.unlink(missing_ok=True)
    if rows:
        sync_folder(layout.key_folder(key_id))
        index.buried([name for name, _ in rows])


def _set_aside(
    layout: Layout,
    index: Index,
    name: str,
    found: list[Found],
    cutoff: int = 0,
    *,
    unowned: bool,
) -> None:
    """Put aside what is damaged of records that ended at `cutoff` or later, and, `unowned`, what no
    row knows."""
    path = layout.segment(name)
    rows = index.connection.execute(
        "SELECT start, record_at, completed_ms FROM records WHERE segment = ?", (name,)
    ).fetchall()
    with FileView(path) as buffer:
        kept = [
            (gap.start, gap.end)
            for gap in damage(buffer, found, [Extent(*row) for row in rows])
            if (unowned if gap.row is None else gap.row.completed_ms >= cutoff)
        ]
    set_aside(layout, path, name.partition("/")[0], kept)


def _rewrite(layout: Layout, index: Index, old: str, key_id: str, survivors: list[Found]) -> None:
    now_ms = time.time_ns() // 1_000_000
    new = SegmentWriter(layout.segments, key_id, "", _ids.new(now_ms), now_ms)
    places: list[tuple[str, Place]] = []
    try:
        with FileView(layout.segment(old)) as buffer:
            copying = Copying(buffer, new)
            for found in survivors:
                place = copying.copy(found.place)
                if place is None:
                    # It was whole when it was found a moment ago: the disk is to be asked again.
                    raise StoreUnavailable(f"{layout.segment(old)} changed while it was read.")
                places.append((found.meta.id, place))
        new.sync()
        # What is in it did not end later for being moved (store.quarantine).
        os.utime(layout.segment(new.name), ns=(buffer.modified_ns, buffer.modified_ns))
    except BaseException:
        with contextlib.suppress(OSError):
            layout.segment(new.name).unlink()
        raise
    finally:
        new.close()
    index.move(old, new.name, places, key_id, new.size)
