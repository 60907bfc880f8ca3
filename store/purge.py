"""Deleting what one key's retention, or the size cap, no longer covers: now, and for good.

Index rows and a tombstone go first, files second, the tombstone last: a purge killed half
way has hidden what it was to delete, and the next sweep or start finishes it from the
tombstones. Whole segments are unlinked; the one at the boundary is rewritten without what
expired. What is damaged in that one is put aside first, unless it is expired for certain
(store.quarantine). Pinned records are passed over (store.pins), except where the key is off.

The boundary of a key that records all the time is met by every sweep. So a large segment there is
not rewritten whole each time: it is dealt out to smaller ones by when its records ended, and from
then on only the first of those is at the boundary.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from store.errors import StoreUnavailable
from store.frames import Kind, frame_at
from store.fulltext import drop_days
from store.ids import IdSource
from store.index import Indexed
from store.key_folder import seize
from store.layout import FileView, Layout, Lock, sync_folder
from store.parts import part_key
from store.pins import Pinned, Pins
from store.purge_index import EVERYTHING, Moved, PurgeIndex
from store.quarantine import Extent, damage, drop_pieces, piece_of, pieces, set_aside
from store.record import RecordMeta, id_bytes
from store.segments import Copying, Found, Place, SegmentWriter, scan_segment, segment_names

LOCK_WAIT_S = 10.0
"""A writer holds a key's folder from append to commit, 0.2 s; longer means its index is stuck."""

CHECKPOINT_WAIT_S = 2.0

SHARES = 8
"""How many segments a large one is dealt out to. Two such rounds make of 32 MB what is rewritten
every minute for nothing."""

SHARE_BYTES = 512 * 1024
"""Shares are no smaller, since each is a file."""

_ids = IdSource()


@dataclass(frozen=True, slots=True)
class Held:
    """A whole record of a segment."""

    id: str
    completed_ms: int
    place: Place
    end: int
    meta: RecordMeta | None = field(default=None, repr=False)
    """Where it was found by a scan: the index may not know it."""

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        return self.end - self.place.start


def purge_key(
    layout: Layout, index: PurgeIndex, key_id: str, cutoff: int | None, pinned: Pinned
) -> int:
    """Delete a key's records completed before `cutoff` that are not pinned, or with None everything,
    in flight and pinned too.

    Returns how many. No byte of them is left in segments, index or write-ahead log, except
    that a reader in mid-read keeps the log until it is done; damaged bytes that no row tells
    the age of are in the quarantine until they are expired for certain. StoreUnavailable if a
    writer does not let go of the folder.
    """
    with _alone(layout, key_id):
        deleted = _purge(layout, index, key_id, cutoff, pinned)
    # Also where nothing was found: what an earlier purge deleted may still be in the log.
    index.checkpoint(wait_s=CHECKPOINT_WAIT_S, truncate=True)
    return deleted


def unpin_and_purge(
    layout: Layout,
    index: PurgeIndex,
    key_id: str,
    cutoff: int,
    pins: Pins,
    record_ids: Sequence[str],
) -> int:
    """Unpin records of a key, and delete what that leaves uncovered; as `purge_key`."""
    with _alone(layout, key_id):
        # A purge that was cut short passed these over: it ends so, whatever they are from now on.
        _bury(layout, index, key_id, pins.of_key)
        pins.remove(record_ids)
        index.spare(pins.of_key(key_id))
        if not index.expired(key_id, cutoff):
            return 0
        deleted = _purge(layout, index, key_id, cutoff, pins.of_key)
    index.checkpoint(wait_s=CHECKPOINT_WAIT_S, truncate=True)
    return deleted


def finish_purges(layout: Layout, index: PurgeIndex, pinned: Pinned) -> None:
    """Do what tombstones of a purge cut short still ask for."""
    rows = index.connection.execute("SELECT DISTINCT segment FROM tombstones").fetchall()
    for key_id in sorted({str(name).partition("/")[0] for (name,) in rows}):
        lock = seize(layout, key_id, timeout_s=1.0)
        if lock is not None:
            try:
                _bury(layout, index, key_id, pinned)
            finally:
                lock.release()


@contextlib.contextmanager
def _alone(layout: Layout, key_id: str) -> Iterator[None]:
    lock: Lock | None = seize(layout, key_id, timeout_s=LOCK_WAIT_S)
    if lock is None:
        raise StoreUnavailable(
            f"{layout.key_folder(key_id)} is in use by a proxy that cannot write; try again."
        )
    try:
        yield
    finally:
        lock.release()


def _purge(
    layout: Layout, index: PurgeIndex, key_id: str, cutoff: int | None, pinned: Pinned
) -> int:
    """As `purge_key`; the key's folder is held."""
    # First: cut short, the purge has cost no more than what can be built anew.
    drop_days(layout, key_id, cutoff)
    spared: Collection[str] = () if cutoff is None else pinned(key_id)
    index.spare(spared)
    doomed = _doomed_segments(layout, index, key_id, cutoff)
    known: dict[str, list[Held]] = {}
    late: set[str] = set()
    if cutoff is not None:
        for name in _boundary(layout, doomed, cutoff):
            try:
                # Before its rows go, which alone tell what of it is expired.
                known[name] = _take_stock(layout, index, name, cutoff, spared)
            except OSError:
                # A full disk: deleting the other segments makes room, and then it is tried again.
                late.add(name)
    deleted = 0
    if doomed or cutoff is None:
        deleted = index.doom(key_id, cutoff, doomed)
    if cutoff is None:
        _remove_parts(layout, key_id)
    _bury(layout, index, key_id, pinned, known, late)
    drop_pieces(layout, key_id, cutoff, _pieces_of(layout, index, key_id, spared))
    return deleted


def _doomed_segments(
    layout: Layout, index: PurgeIndex, key_id: str, cutoff: int | None
) -> list[str]:
    if cutoff is None:
        return segment_names(layout.segments, key_id)
    return index.segments_before(key_id, cutoff)


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


def _pieces_of(
    layout: Layout, index: PurgeIndex, key_id: str, record_ids: Collection[str]
) -> set[Path]:
    """What is in the quarantine of these records."""
    if not record_ids or not pieces(layout, key_id):
        return set()
    places = [index.place_of(record_id) for record_id in record_ids]
    found = [
        piece_of(layout, place.segment, place.start, place.record_at)
        for place in places
        if place is not None
    ]
    return {piece.path for piece in found if piece is not None}


# -- what a segment holds ---------------------------------------------------------------------------


def _take_stock(
    layout: Layout, index: PurgeIndex, name: str, cutoff: int, spared: Collection[str]
) -> list[Held]:
    """The whole records of a segment, in its order; what is damaged of those to be kept is put aside."""
    rows = index.rows_of(name)
    with FileView(layout.segment(name)) as buffer:
        held, whole = _walk(buffer, name, rows)
    if whole:
        return held
    found = list(scan_segment(layout.segments, name))
    _set_aside(layout, index, name, found, cutoff, spared, unowned=True)
    return [_held(each) for each in found]


def _left_in(layout: Layout, index: PurgeIndex, name: str, *, late: bool) -> list[Held]:
    """The same once the rows of those that go are gone."""
    rows = index.rows_of(name)
    with FileView(layout.segment(name)) as buffer:
        held, whole = _walk(buffer, name, rows)
        if whole or (len(held) == len(rows) and len(buffer) <= index.size_of(name) and not late):
            return held
    found = list(scan_segment(layout.segments, name))
    # The rows that are left are of records to be kept.
    _set_aside(layout, index, name, found, unowned=late)
    return [_held(each) for each in found]


def _held(found: Found) -> Held:
    return Held(
        found.meta.id, found.meta.completed_ms or 0, found.place, found.end, meta=found.meta
    )


def _walk(
    buffer: FileView, name: str, rows: list[tuple[str, int, int, int]]
) -> tuple[list[Held], bool]:
    """The records of these rows whose frames are all good; and whether they are all that the segment
    holds. A fiftieth of what it costs to read the records, which a scan does."""
    head = frame_at(buffer, 0)
    at = head.end if head is not None and head.kind == Kind.SEGMENT else -1
    held: list[Held] = []
    gapless = True
    for record_id, start, record_at, completed_ms in rows:
        end = _end_of(buffer, record_id, start, record_at)
        gapless = gapless and start == at and end is not None
        if end is not None:
            held.append(Held(record_id, completed_ms, Place(name, start, record_at), end))
            at = end
    return held, gapless and at == len(buffer)


def _end_of(buffer: FileView, record_id: str, start: int, record_at: int) -> int | None:
    """Where a record's frames end, one right after the other; None if one of them is not good."""
    try:
        its_id = id_bytes(record_id)
    except ValueError:
        return None
    at = start
    while True:
        frame = frame_at(buffer, at)
        if frame is None or frame.id != its_id:
            return None
        if at == record_at:
            return frame.end if frame.kind == Kind.RECORD else None
        at = frame.end
        if at > record_at:
            return None


def _set_aside(
    layout: Layout,
    index: PurgeIndex,
    name: str,
    found: list[Found],
    cutoff: int = 0,
    spared: Collection[str] = (),
    *,
    unowned: bool,
) -> None:
    """Put aside what is damaged of records that ended at `cutoff` or later or are spared, and,
    `unowned`, what no row knows."""
    path = layout.segment(name)
    rows = [
        Extent(start, record_at, EVERYTHING if record_id in spared else completed_ms)
        for record_id, start, record_at, completed_ms in index.rows_of(name)
    ]
    with FileView(path) as buffer:
        kept = [
            (gap.start, gap.end)
            for gap in damage(buffer, found, rows)
            if (unowned if gap.row is None else gap.row.completed_ms >= cutoff)
        ]
    set_aside(layout, path, name.partition("/")[0], kept)


# -- the files --------------------------------------------------------------------------------------


def _bury(
    layout: Layout,
    index: PurgeIndex,
    key_id: str,
    pinned: Pinned,
    known: Mapping[str, list[Held]] = MappingProxyType({}),
    late: Collection[str] = (),
) -> None:
    """Carry out the key's tombstones; its folder's lock is held. `known`: what segments were found
    to hold under that lock; `late`: those whose damaged pieces are still to be put aside."""
    tombstones = index.tombstones(key_id)
    if not tombstones:
        return
    drop_days(layout, key_id, max(cutoff for _, cutoff in tombstones))
    spared = pinned(key_id)
    index.spare(spared)
    for name, cutoff in tombstones:
        # Killed before all of its rows were gone.
        index.drop_rows(name, cutoff)
        survivors: list[Held] = []
        if cutoff < EVERYTHING:
            with contextlib.suppress(FileNotFoundError):
                held = known.get(name)
                if held is None:
                    held = _left_in(layout, index, name, late=name in late)
                survivors = [
                    each for each in held if each.completed_ms >= cutoff or each.id in spared
                ]
        _rewrite(layout, index, name, key_id, _dealt_out(survivors, cutoff))
        layout.segment(name).unlink(missing_ok=True)
    sync_folder(layout.key_folder(key_id))
    index.buried([name for name, _ in tombstones])


def _dealt_out(survivors: list[Held], cutoff: int) -> list[list[Held]]:
    """The survivors of a segment by the segment they go to, each list in the order of the old one.

    What is kept for its pin alone lies apart: no later sweep has a reason to touch it. The others
    go by when they ended, about as many bytes to each.
    """
    shares = [[each for each in survivors if each.completed_ms < cutoff]]
    rest = sorted(
        (each for each in survivors if each.completed_ms >= cutoff),
        key=lambda each: each.completed_ms,
    )
    size = sum(each.bytes for each in rest)
    share = max(size / SHARES, SHARE_BYTES)
    filled = share
    for each in rest:
        if filled >= share:
            shares.append([])
            filled = 0
        shares[-1].append(each)
        filled += each.bytes
    return [sorted(each, key=lambda one: one.place.start) for each in shares if each]


def _rewrite(
    layout: Layout, index: PurgeIndex, old: str, key_id: str, shares: list[list[Held]]
) -> None:
    """Copy what survives of a segment to new ones, one a share, and have its rows point there."""
    new: list[tuple[Indexed, list[Moved]]] = []
    try:
        for share in shares:
            now_ms = time.time_ns() // 1_000_000
            to = SegmentWriter(layout.segments, key_id, "", _ids.new(now_ms), now_ms)
            new.append((Indexed(to.name, key_id, "", 0), []))
            moved = _copy(layout, old, to, share)
            new[-1] = (Indexed(to.name, key_id, "", to.size), moved)
    except BaseException:
        for segment, _ in new:
            with contextlib.suppress(OSError):
                layout.segment(segment.name).unlink()
        raise
    index.move(old, new)


def _copy(layout: Layout, old: str, to: SegmentWriter, share: list[Held]) -> list[Moved]:
    """Copy records of a segment, durably; where they lie now. The new one is closed in any case."""
    moved = []
    try:
        with FileView(layout.segment(old)) as buffer:
            copying = Copying(buffer, to)
            for each in share:
                place = copying.copy(each.place)
                if place is None:
                    # It was whole when it was looked at a moment ago: the disk is to be asked again.
                    raise StoreUnavailable(f"{layout.segment(old)} changed while it was read.")
                moved.append(Moved(each.id, place, each.meta))
        to.sync()
        # What is in it did not end later for being moved (store.quarantine).
        os.utime(layout.segment(to.name), ns=(buffer.modified_ns, buffer.modified_ns))
    finally:
        to.close()
    return moved
