"""Corrupt pieces, put aside before upkeep deletes or rewrites the file they lie in.

<store>/quarantine/<key id>/<segment or record id>-<offset>.bad

A piece is bytes that no good record covers, as they lay from that offset on. It is named (by
`flowtap doctor`, and by the error of the record whose bytes they were) and never read as a record.

Privacy wins over it: what retention says is expired for certain is not put aside but deleted, and
pieces are deleted like records. Each carries the time at which its file was last written, which is
no earlier than the end of anything in it: it goes once the key's retention has passed since, and
at once, with everything else of the key, when that is switched off or removed. `flowtap purge`
deletes the pieces that are expired. Purging works on a key's pieces while it holds the key's folder.
"""

import contextlib
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from store.frames import HEADER_SIZE, MAGIC, Buffer, Kind, claimed, frame_at, unbroken
from store.layout import (
    FileView,
    Layout,
    create_file,
    make_folder,
    sync_folder,
    write_all,
)
from store.segments import Found, scan_segment

_NAME = re.compile(r"([0-9A-HJKMNP-TV-Z]{26})-(\d{1,18})\.bad\Z")
_BESIDE = ".tmp"

type Range = tuple[int, int]
"""Offsets in a file: the first byte, and the one behind the last."""


class Extent(NamedTuple):
    """What a row says of where its record lies."""

    start: int
    record_at: int
    completed_ms: int


class Gap(NamedTuple):
    """Bytes that no good record covers, of one record as far as the index knows."""

    start: int
    end: int
    row: Extent | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of the quarantine."""

    path: Path
    key_id: str
    source: str
    """The id of the segment, or of the record in flight, that it was a part of."""
    start: int
    """Where it lay there."""
    size: int
    written_ms: int
    """When its file was last written: nothing in it ended later."""


# -- judging: bytes and rows in, ranges out -------------------------------------------------------


def gaps(length: int, covered: Iterable[Range]) -> list[Range]:
    """What `covered`, in the file's order, leaves of a file's bytes."""
    found = []
    at = 0
    for start, end in covered:
        if start > at:
            found.append((at, start))
        at = max(at, end)
    if at < length:
        found.append((at, length))
    return found


def owned(ranges: Iterable[Range], rows: Iterable[Extent]) -> Iterator[Gap]:
    """The ranges cut where a row's record begins, each with the row it belongs to."""
    ordered = sorted(rows)
    starts = [row.start for row in ordered]
    for start, end in ranges:
        cuts = [start, *starts[bisect_right(starts, start) : bisect_left(starts, end)], end]
        for first, behind in pairwise(cuts):
            number = bisect_right(starts, first) - 1
            row = ordered[number] if number >= 0 else None
            yield Gap(first, behind, row if row is not None and row.record_at >= first else None)


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Those that touch as one, in the order given."""
    found: list[Range] = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


def damage(buffer: Buffer, found: Sequence[Found], rows: Iterable[Extent]) -> list[Gap]:
    """What is damaged in a segment in which these whole records were found.

    Not among it: bytes that are all zero, which hold nothing, and, where the index knows no record
    there, a record at the end that its writer did not come to finish (it is in its part).
    """
    head = next(unbroken(buffer), None)
    covered = [(each.place.start, each.end) for each in found]
    if head is not None and head.kind == Kind.SEGMENT:
        covered.insert(0, (0, head.end))
    return [
        gap
        for gap in owned(gaps(len(buffer), covered), rows)
        if not _is_zero(buffer, gap.start, gap.end)
        and (gap.row is not None or gap.end < len(buffer) or not unfinished(buffer, gap.start))
    ]


def unfinished(buffer: Buffer, start: int) -> bool:
    """From `start` on there is no more than one record's beginning, as a kill leaves it: its frames,
    the last of them cut off by the end of the file, or zero bytes in its place."""
    record_id: bytes | None = None
    at = start
    for frame in unbroken(buffer, start):
        if frame.kind == Kind.RECORD or (record_id or frame.id) != frame.id:
            return False
        record_id, at = frame.id, frame.end
    head = buffer[at : min(at + HEADER_SIZE, len(buffer))]
    if len(head) < HEADER_SIZE:
        return head[: len(MAGIC)] == MAGIC[: len(head)] or not head.strip(b"\0")
    claim = claimed(head)
    if claim is None:
        return _is_zero(buffer, at, len(buffer))
    return claim[0] == (record_id or claim[0]) and at + HEADER_SIZE + claim[1] > len(buffer)


def _is_zero(buffer: Buffer, start: int, end: int) -> bool:
    for at in range(start, end, FileView.WINDOW):
        if buffer[at : min(at + FileView.WINDOW, end)].strip(b"\0"):
            return False
    return True


# -- files ----------------------------------------------------------------------------------------


def set_aside(layout: Layout, path: Path, key_id: str, ranges: Iterable[Range]) -> int:
    """Copy byte ranges of a segment or part into the quarantine, durably; returns how many were new.

    The file's own time goes with them. What is there already, since this was killed before the
    file went, is not copied again. OSError where the disk refuses: then the file must not go.
    """
    folder = layout.quarantine / key_id
    there = [each for each in pieces(layout, key_id) if each.source == path.stem]
    wanted = [
        (start, end)
        for start, end in merged(ranges)
        if not any(piece.start <= start < piece.start + piece.size for piece in there)
    ]
    if not wanted:
        return 0
    make_folder(layout.quarantine)
    make_folder(folder)
    with FileView(path) as buffer:
        for start, end in wanted:
            _copy(buffer, start, end, folder / f"{path.stem}-{start}.bad")
    for changed in (folder, layout.quarantine, layout.root):
        sync_folder(changed)
    return len(wanted)


def set_aside_all(layout: Layout, name: str) -> None:
    """Put aside what is damaged in a segment no row points at, which is about to go."""
    path = layout.segment(name)
    found = list(scan_segment(layout.segments, name))
    with FileView(path) as buffer:
        kept = [(gap.start, gap.end) for gap in damage(buffer, found, ())]
    set_aside(layout, path, name.partition("/")[0], kept)


def set_aside_rest(layout: Layout, part: Path, key_id: str) -> bool:
    """Put aside what is behind the damage of a part, which is read up to there; False if it is whole."""
    at = 0
    with FileView(part) as buffer:
        for frame in unbroken(buffer):
            at = frame.end
        length = len(buffer)
        damaged = at < length and not unfinished(buffer, at)
    return damaged and bool(set_aside(layout, part, key_id, [(at, length)]))


def _copy(buffer: FileView, start: int, end: int, piece: Path) -> None:
    beside = piece.with_name(piece.name + _BESIDE)
    # Of a copy that was cut short.
    beside.unlink(missing_ok=True)
    fd = create_file(beside)
    try:
        for at in range(start, end, FileView.WINDOW):
            write_all(fd, buffer[at : min(at + FileView.WINDOW, end)])
        os.fsync(fd)
        os.utime(fd, ns=(buffer.modified_ns, buffer.modified_ns))
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    beside.rename(piece)


def pieces(layout: Layout, key_id: str | None = None) -> list[Piece]:
    """What is in the quarantine, of one key or of all, in the order of their names."""
    found = []
    for folder in _folders(layout):
        for entry in _entries(folder) if key_id in (None, folder.name) else ():
            match = _NAME.match(entry.name)
            with contextlib.suppress(FileNotFoundError):
                if match is not None and entry.is_file(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    found.append(
                        Piece(
                            path=Path(entry.path),
                            key_id=folder.name,
                            source=match[1],
                            start=int(match[2]),
                            size=info.st_size,
                            written_ms=info.st_mtime_ns // 1_000_000,
                        )
                    )
    return sorted(found, key=lambda piece: (piece.key_id, piece.source, piece.start))


def left_of(layout: Layout, name: str, start: int, record_at: int) -> bool:
    """Whether bytes of a damaged record that lay there in the segment `name` are left, here or there;
    not where its last frame is good, which a scan of the segment finds."""
    try:
        with FileView(layout.segment(name)) as buffer:
            if record_at < len(buffer):
                return frame_at(buffer, record_at) is None
    except OSError:
        # Gone, or a link: then what was put aside tells.
        pass
    return piece_of(layout, name, start, record_at) is not None


def piece_of(layout: Layout, name: str, start: int, record_at: int) -> Piece | None:
    """What was put aside of such a record, if anything was."""
    key_id, _, file = name.partition("/")
    for piece in pieces(layout, key_id):
        overlaps = piece.start <= record_at and start < piece.start + piece.size
        if piece.source == file.removesuffix(".seg") and overlaps:
            return piece
    return None


def any_expired(layout: Layout, key_id: str, cutoff: int | None) -> bool:
    """Whether `drop_pieces` would delete any."""
    return any(cutoff is None or piece.written_ms < cutoff for piece in pieces(layout, key_id))


def drop_pieces(
    layout: Layout, key_id: str, cutoff: int | None, spared: Collection[Path] = ()
) -> None:
    """Delete a key's pieces last written before `cutoff`, or with None all, but for those spared;
    its folder is held alone."""
    for piece in pieces(layout, key_id):
        if (cutoff is None or piece.written_ms < cutoff) and piece.path not in spared:
            piece.path.unlink(missing_ok=True)
    for folder in _folders(layout):
        if folder.name == key_id:
            for entry in _entries(folder):
                if entry.name.endswith(_BESIDE):
                    Path(entry.path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                # Not while anything is in it.
                folder.rmdir()


def _folders(layout: Layout) -> list[Path]:
    """A folder for each key; links planted in their place are none of ours."""
    if layout.quarantine.is_symlink():
        return []
    return [
        Path(entry.path)
        for entry in _entries(layout.quarantine)
        if entry.is_dir(follow_symlinks=False)
    ]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
