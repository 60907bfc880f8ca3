"""Segments: append-only files of one key's finished records. I/O only; what a frame is stands in store.frames.

A segment begins with a SEGMENT frame. A record in it is: request slices, response slices,
arrivals, then its RECORD frame; it is there once that last frame is. A request of one slice may
be a delta to an earlier one of the same segment (store.delta). A writer appends to
segments of its own alone, holding the key folder's lock shared from the append to the
index commit; who purges holds it exclusively, so no bytes can be between the two.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store.codec import (
    meta_from_json,
    pack_json,
    record_json,
    request_from_json,
    response_from_json,
    unpack_json,
    wire_from_json,
)
from store.delta import SMALLEST, Bases, Relocation, body_of, pack_body
from store.errors import BodyMissing
from store.frames import (
    BODY_FRAME,
    NO_RECORD,
    Frame,
    FrameError,
    Kind,
    compress_all,
    frame_at,
    pack,
    pack_arrivals,
    pack_stored,
    scan,
    unpack_arrivals,
)
from store.layout import FileView, create_file, make_folder, sync_folder, write_all
from store.record import Body, Record, RecordMeta, RequestHead, ResponseHead, Wire, id_bytes

SEAL_BYTES = 32 * 1024 * 1024
"""A purge rewrites at most one boundary segment, so this bounds what it costs."""

GATHERED_BYTES = 1024 * 1024
"""Frames of a record that are written at once: beyond it memory is worth more than a write."""

type Arrivals = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lies in a segment."""

    segment: str
    """`<key id>/<ulid>.seg`, below the segments folder."""
    start: int
    record_at: int
    """Offset of its RECORD frame, the last."""


@dataclass(slots=True)
class Content:
    """A finished exchange on its way into a segment; bodies as chunks, so that a large one needs no memory."""

    meta: RecordMeta
    request: RequestHead
    response: ResponseHead | None
    request_chunks: Iterable[tuple[int, bytes]]
    response_chunks: Iterable[tuple[int, bytes]]
    wire: Wire | None = None
    values: dict[str, Any] | None = None
    """The column values of `meta`, if they are there already."""

    @property
    def size(self) -> int:
        """Bytes of both bodies."""
        return self.meta.request_bytes + self.meta.response_bytes


class SegmentWriter:
    """The segment a writer is appending to for one key."""

    def __init__(
        self,
        segments: Path,
        key_id: str,
        writer: str,
        segment_id: str,
        now_ms: int,
        bases: Bases | None = None,
    ) -> None:
        """`bases`: the requests remembered for deltas, of all segments of the writer."""
        folder = segments / key_id
        make_folder(folder)
        self.key_id = key_id
        self.name = f"{key_id}/{segment_id}.seg"
        self.created_ms = now_ms
        self._bases = Bases() if bases is None else bases
        self.broken = False
        """A write or sync failed and what lies behind `size` is not to be trusted: append no more."""
        path = segments / self.name
        self._fd = create_file(path)
        head = pack_json({"key": key_id, "writer": writer, "created_ms": now_ms, "format": 1})
        frame = pack(Kind.SEGMENT, NO_RECORD, head)
        try:
            write_all(self._fd, frame)
            sync_folder(folder)
        except OSError:
            self.close()
            # A full disk is tried again every second: no empty file a second.
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self.size = len(frame)

    @property
    def unlinked(self) -> bool:
        """A purge took the file away: what is appended now would be lost."""
        return os.fstat(self._fd).st_nlink == 0

    def append(self, content: Content) -> Place:
        """Write a record; if that fails the file is cut back to where it was."""
        start = self.size
        try:
            record_at, end = self._append(content)
        except BaseException:
            self.cut_back(start)
            # Its request may be among them, and is not where it said.
            self._bases.forget(self.name)
            raise
        self.size = end
        return Place(self.name, start, record_at)

    def append_all(self, contents: Sequence[Content]) -> list[Place]:
        """Write small records, compressed together, in one write; if that fails the file is cut back
        to where it was, and each may be tried alone."""
        start = self.size
        try:
            frames, places = self._packed(contents)
            write_all(self._fd, frames)
        except BaseException:
            self.cut_back(start)
            self._bases.forget(self.name)
            raise
        self.size += len(frames)
        return places

    def _packed(self, contents: Sequence[Content]) -> tuple[bytes, list[Place]]:
        small = [_Small(content) for content in contents]
        packed = iter(compress_all([data for each in small for _, data in each.pieces]))
        frames: list[bytes] = []
        places = []
        at = self.size
        for each in small:
            start = at
            if each.request:
                frames.append(pack_body(each.id, each.request, self.name, at, self._bases))
                at += len(frames[-1])
            for kind, data in each.pieces:
                if kind == Kind.RECORD:
                    frames += each.arrivals
                    at += sum(map(len, each.arrivals))
                    places.append(Place(self.name, start, at))
                codec, payload = next(packed)
                frames.append(pack_stored(kind, each.id, payload, codec, len(data), 0))
                at += len(frames[-1])
        return b"".join(frames), places

    def cut_back(self, size: int) -> None:
        """Drop what was written behind `size`; where the disk refuses even that, the segment is broken."""
        self.size = size
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self.broken = True

    def _append(self, content: Content) -> tuple[int, int]:
        record_id = id_bytes(content.meta.id)
        at = written = self.size
        frames: list[bytes] = []

        def put(frame: bytes) -> None:
            """Most records are one write; what is large is not gathered in memory."""
            nonlocal at, written
            frames.append(frame)
            at += len(frame)
            if at - written >= GATHERED_BYTES:
                write_all(self._fd, b"".join(frames))
                frames.clear()
                written = at

        hashes = {}
        arrivals: dict[str, Arrivals] = {}
        for name, kind, chunks in (
            ("request", Kind.REQUEST, content.request_chunks),
            ("response", Kind.RESPONSE, content.response_chunks),
        ):
            digest = hashlib.sha256()
            arrivals[name] = []
            for piece in _slices(chunks, arrivals[name]):
                digest.update(piece)
                if kind == Kind.REQUEST and at == self.size and len(piece) < BODY_FRAME:
                    put(pack_body(record_id, piece, self.name, at, self._bases))
                else:
                    put(pack(kind, record_id, piece, compress=True))
            hashes[name] = digest.hexdigest()
        for kind, times in (
            (Kind.REQUEST_ARRIVALS, arrivals["request"]),
            (Kind.RESPONSE_ARRIVALS, arrivals["response"]),
        ):
            for frame in pack_arrivals(kind, record_id, times):
                put(frame)
        value = record_json(
            content.meta, content.request, content.response, hashes, content.wire, content.values
        )
        record_at = at
        put(pack(Kind.RECORD, record_id, pack_json(value), compress=True))
        write_all(self._fd, b"".join(frames))
        return record_at, at

    def append_raw(self, frames: bytes) -> None:
        """Take a record's frames over as they are."""
        try:
            write_all(self._fd, frames)
        except BaseException:
            self.cut_back(self.size)
            raise
        self.size += len(frames)

    def sync(self) -> None:
        """The data is on the disk, or OSError: then, and ever after, the segment is broken.

        The kernel may mark pages it failed to write as clean, so that a second sync succeeds
        and the bytes are not there (lwn.net/Articles/752063).
        """
        if self.broken:
            raise OSError(errno.EIO, "an earlier write or sync failed", self.name)
        try:
            os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)
        except OSError:
            self.broken = True
            raise

    def close(self) -> None:
        """Let the file go; it is sealed by not being appended to again."""
        self._bases.forget(self.name)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Small:
    """A small record on its way into a segment."""

    def __init__(self, content: Content) -> None:
        self.id = id_bytes(content.meta.id)
        self.request = b""
        """The request's body if it may be a delta, or a base."""
        self.pieces: list[tuple[Kind, bytes]] = []
        """What else is compressed; the RECORD is the last, after `arrivals`."""
        self.arrivals: list[bytes] = []
        hashes = {}
        for name, kind, times, chunks in (
            ("request", Kind.REQUEST, Kind.REQUEST_ARRIVALS, content.request_chunks),
            ("response", Kind.RESPONSE, Kind.RESPONSE_ARRIVALS, content.response_chunks),
        ):
            arrivals: Arrivals = []
            data = b"".join(_slices(chunks, arrivals))
            hashes[name] = hashlib.sha256(data).hexdigest()
            self.arrivals += pack_arrivals(times, self.id, arrivals)
            if kind == Kind.REQUEST and len(data) >= SMALLEST:
                self.request = data
            elif data:
                self.pieces.append((kind, data))
        value = record_json(
            content.meta, content.request, content.response, hashes, content.wire, content.values
        )
        self.pieces.append((Kind.RECORD, pack_json(value)))


def _slices(chunks: Iterable[tuple[int, bytes]], arrivals: Arrivals) -> Iterator[bytes]:
    """The chunks' bytes in pieces of at most BODY_FRAME, noting each chunk's arrival."""
    pieces: list[bytes] = []
    size = 0
    for at_ms, data in chunks:
        arrivals.append((at_ms, len(data)))
        pieces.append(data)
        size += len(data)
        if size >= BODY_FRAME:
            whole = memoryview(b"".join(pieces))
            for at in range(0, size - BODY_FRAME + 1, BODY_FRAME):
                yield bytes(whole[at : at + BODY_FRAME])
            size %= BODY_FRAME
            pieces = [bytes(whole[len(whole) - size :])]
    if size:
        yield b"".join(pieces)


def read_record(segments: Path, place: Place, meta: RecordMeta) -> Record:
    """A record with its bodies; BodyMissing, naming record and file, if they are not there or not whole."""
    path = segments / place.segment
    try:
        with FileView(path) as buffer:
            frames = list(_record_frames(buffer, place, id_bytes(meta.id)))
            return _assemble(buffer, frames, meta, str(path))
    except FileNotFoundError as exc:
        raise BodyMissing(
            f"Record {meta.id}: its body is gone, {path} is not on the disk."
        ) from exc
    except (FrameError, OSError, ValueError, KeyError, TypeError) as exc:
        raise BodyMissing(f"Record {meta.id}: its body is damaged in {path}: {exc}.") from exc


def _record_frames(buffer: FileView, place: Place, record_id: bytes) -> Iterator[Frame]:
    at = place.start
    while at <= place.record_at:
        frame = frame_at(buffer, at)
        if frame is None or frame.id != record_id:
            raise FrameError(f"no frame of the record at byte {at}")
        yield frame
        at = frame.end


def _assemble(buffer: FileView, frames: list[Frame], meta: RecordMeta, file: str) -> Record:
    data: dict[int, list[bytes]] = {Kind.REQUEST: [], Kind.RESPONSE: []}
    times: dict[int, Arrivals] = {Kind.REQUEST_ARRIVALS: [], Kind.RESPONSE_ARRIVALS: []}
    value: dict[str, Any] = {}
    for frame in frames:
        if frame.kind in data:
            data[frame.kind].append(body_of(buffer, frame))
        elif frame.kind in times:
            times[frame.kind] += unpack_arrivals(frame)
        elif frame.kind == Kind.RECORD:
            value = unpack_json(frame.decode())
    bodies = {}
    for name, kind, arrived in (
        ("request", Kind.REQUEST, Kind.REQUEST_ARRIVALS),
        ("response", Kind.RESPONSE, Kind.RESPONSE_ARRIVALS),
    ):
        whole = b"".join(data[kind])
        if hashlib.sha256(whole).hexdigest() != value["sha256"][name]:
            raise FrameError(f"the {name} body does not match its hash")
        bodies[name] = Body(whole, tuple(times[arrived]))
    return Record(
        meta=meta,
        request=request_from_json(value["request"]),
        request_body=bodies["request"],
        response=None if value["response"] is None else response_from_json(value["response"]),
        response_body=bodies["response"],
        file=file,
        wire=wire_from_json(value),
    )


class Copying:
    """Records of one segment into another, in the order in which they lie; deltas whose bases are
    not among them become whole."""

    def __init__(self, buffer: FileView, to: SegmentWriter) -> None:
        self._buffer = buffer
        self._to = to
        self._relocation = Relocation(buffer)

    def copy(self, place: Place) -> Place | None:
        """The record's place in the other segment; None if its frames are not readable."""
        start = at = record_at = self._to.size
        frames = []
        offset = place.start
        while offset <= place.record_at:
            frame = frame_at(self._buffer, offset)
            if frame is None:
                return None
            frames.append(self._relocation.frame(frame, at))
            record_at = at
            at += len(frames[-1])
            offset = frame.end
        self._to.append_raw(b"".join(frames))
        return Place(self._to.name, start, record_at)


@dataclass(frozen=True, slots=True)
class Found:
    """A whole record met while scanning a segment."""

    meta: RecordMeta
    place: Place
    end: int


def scan_segment(segments: Path, name: str, start: int = 0) -> Iterator[Found]:
    """Every whole record from byte `start` on, in file order; damaged ones are passed over.

    A record that says it is another's than the folder's key is no record: bytes found behind
    damage may be of somebody else's making. Raises FileNotFoundError if the segment is gone.
    """
    key_id = name.partition("/")[0]
    with FileView(segments / name) as buffer:
        begin: int | None = None
        current = NO_RECORD
        expected = -1
        for frame in scan(buffer, start):
            if frame.id != current or frame.offset != expected:
                begin, current = frame.offset, frame.id
            expected = frame.end
            if frame.kind == Kind.RECORD and begin is not None:
                meta = _meta_of(frame, key_id)
                if meta is not None:
                    yield Found(meta, Place(name, begin, frame.offset), frame.end)
                begin, current = None, NO_RECORD


def _meta_of(frame: Frame, key_id: str) -> RecordMeta | None:
    try:
        meta = meta_from_json(unpack_json(frame.decode()))
        return meta if meta.key_id == key_id and id_bytes(meta.id) == frame.id else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def segment_owner(segments: Path, name: str) -> str:
    """The writer a segment says it belongs to; "" if its head is damaged."""
    try:
        with FileView(segments / name) as buffer:
            frame = frame_at(buffer, 0)
            if frame is None or frame.kind != Kind.SEGMENT:
                return ""
            return str(unpack_json(frame.decode()).get("writer", ""))
    except (OSError, ValueError):
        return ""


def segment_names(segments: Path, key_id: str | None = None) -> list[str]:
    """Every segment on the disk, oldest first within a key."""
    folders = [segments / key_id] if key_id is not None else sorted(segments.iterdir())
    names = []
    for folder in folders:
        if folder.is_dir() and not folder.is_symlink():
            names += sorted(f"{folder.name}/{file.name}" for file in folder.glob("*.seg"))
    return names
