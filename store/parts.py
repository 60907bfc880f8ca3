"""Parts: one file per record in flight, where its heads and chunks are appended as they arrive.

A part is what survives a `kill -9`, what a reader tails, and what dies by unlink. Its frames
are BEGIN, then REQUEST, REQUEST_END, RESPONSE_HEAD, RESPONSE and END as they come; a chunk's
`aux` is its at_ms. A part that is gone was purged: appending to it never brings it back.

A part is read up to the first damage: what is told of it is a prefix of what passed, never a
body with a hole. (Going on behind damage, as in a segment, could also take for frames what
somebody wrote into a body to look like them: a part's payloads are not compressed.)
"""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from store.codec import end_from_json, request_from_json, response_from_json, unpack_json
from store.frames import Frame, FrameError, Kind, frame_at, unbroken
from store.layout import FileView, create_file, open_file, write_all
from store.record import (
    EMPTY,
    Body,
    Ending,
    Record,
    RecordMeta,
    RequestHead,
    ResponseHead,
    State,
)

OPEN_PARTS = 64
"""Descriptors kept open; with more streams than that the least recently written is reopened."""


class PartFiles:
    """The parts of one writer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._prefix = f"{folder}/"
        self._open: OrderedDict[str, int] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def path(self, record_id: str) -> Path:
        """The file of a record."""
        return self._folder / f"{record_id}.part"

    def _name(self, record_id: str) -> str:
        # A Path costs as much as the system call it is for.
        return f"{self._prefix}{record_id}.part"

    def create(self, record_id: str, frames: bytes) -> None:
        """A new part beginning with `frames`; on OSError there is none."""
        self._keep(record_id, create_file(self._name(record_id)), 0)
        try:
            self._write(record_id, frames)
        except OSError:
            self.remove(record_id)
            raise

    def append(self, record_id: str, frames: bytes, *, looked: bool = False) -> None:
        """Add to a part; FileNotFoundError if it was purged meanwhile. `looked`: whoever calls looks
        by `gone` whenever keys have changed and once more at the end, which is before anything of
        it is kept; what is written to a purged part until then is nowhere."""
        fd = self._open.get(record_id)
        if fd is None:
            fd = open_file(self._name(record_id), append=True)
            self._keep(record_id, fd, os.fstat(fd).st_size)
        else:
            self._open.move_to_end(record_id)
        if not looked and os.fstat(fd).st_nlink == 0:
            self.release(record_id)
            raise FileNotFoundError(self._name(record_id))
        self._write(record_id, frames)

    def gone(self, record_id: str) -> bool:
        """The file was taken away."""
        fd = self._open.get(record_id)
        if fd is None:
            return not os.path.exists(self._name(record_id))
        return os.fstat(fd).st_nlink == 0

    def _write(self, record_id: str, frames: bytes) -> None:
        fd, before = self._open[record_id], self._sizes[record_id]
        try:
            write_all(fd, frames)
            self._sizes[record_id] = before + len(frames)
        except OSError:
            # Half a frame would hide what is appended after the disk has room again.
            with contextlib.suppress(OSError):
                os.ftruncate(fd, before)
            raise

    def _keep(self, record_id: str, fd: int, size: int) -> None:
        self._open[record_id] = fd
        self._sizes[record_id] = size
        while len(self._open) > OPEN_PARTS:
            self.release(next(iter(self._open)))

    def release(self, record_id: str) -> None:
        """Close a part's descriptor; the file stays."""
        fd = self._open.pop(record_id, None)
        if fd is not None:
            del self._sizes[record_id]
            os.close(fd)

    def remove(self, record_id: str) -> None:
        """The record is stored or given up: the part goes."""
        self.release(record_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name(record_id))

    def close(self) -> None:
        """Close every descriptor."""
        while self._open:
            os.close(self._open.popitem()[1])


class PartReading:
    """What the frames of a part say, taken in one by one."""

    def __init__(self) -> None:
        self.begin: dict[str, Any] | None = None
        self.request: RequestHead | None = None
        self.response: ResponseHead | None = None
        self.request_ended = False
        self.end: Ending | None = None
        """Of the END frame."""
        self.lost_bytes = 0
        """What its writer could not keep, as far as it came to say so."""
        self.last_at_ms = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.ttft_ms: int | None = None

    def take(self, frame: Frame) -> None:
        """Take in one frame; chunks' bytes are only counted."""
        self.last_at_ms = max(self.last_at_ms, frame.aux)
        if frame.kind == Kind.REQUEST:
            self.request_bytes += frame.raw_length
        elif frame.kind == Kind.RESPONSE:
            self.response_bytes += frame.raw_length
            if self.ttft_ms is None:
                self.ttft_ms = frame.aux
        elif frame.kind == Kind.REQUEST_END:
            self.request_ended = True
        else:
            with contextlib.suppress(FrameError, ValueError, KeyError, TypeError):
                self._take_json(frame)

    def _take_json(self, frame: Frame) -> None:
        value = unpack_json(frame.decode())
        if frame.kind == Kind.BEGIN:
            self.request = request_from_json(value["request"])
            self.begin = value
        elif frame.kind == Kind.RESPONSE_HEAD:
            self.response = response_from_json(value)
        elif frame.kind == Kind.END:
            self.end = end_from_json(value, frame.aux)
            self.lost_bytes = int(value.get("lost_bytes", 0))


class PartChunks:
    """The chunks of one kind in a part, read anew at each iteration; whatever the size, one at a time."""

    def __init__(self, path: Path, kind: Kind) -> None:
        self._path = path
        self._kind = kind

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        with FileView(self._path) as buffer:
            for frame in unbroken(buffer):
                if frame.kind == self._kind:
                    yield frame.aux, frame.payload


class PartCounter:
    """Counts the response bytes of a part; each look reads only what was appended since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0
        self._response_bytes = 0

    def count(self) -> int:
        """All response bytes that are there now; FileNotFoundError once the part is gone."""
        with FileView(self._path) as buffer:
            for frame in unbroken(buffer, self._read_to):
                self._read_to = frame.end
                if frame.kind == Kind.RESPONSE:
                    self._response_bytes += frame.raw_length
        return self._response_bytes


def read_part(path: Path) -> PartReading:
    """All that a part says; FileNotFoundError if it is gone, OSError if it cannot be read."""
    reading = PartReading()
    with FileView(path) as buffer:
        for frame in unbroken(buffer):
            reading.take(frame)
    return reading


def part_key(path: Path) -> str | None:
    """Whose record a part holds, or None if it has no readable beginning."""
    try:
        with FileView(path) as buffer:
            frame = frame_at(buffer, 0)
            if frame is None or frame.kind != Kind.BEGIN:
                return None
            return str(unpack_json(frame.decode())["key"])
    except (OSError, ValueError, KeyError):
        return None


class LivePart:
    """A record in flight, read as its writer appends (store.contract.LiveRecord)."""

    def __init__(self, path: Path, meta: RecordMeta) -> None:
        self._path = path
        self._meta = meta
        self._fd = open_file(path)
        self._read_to = 0
        """Up to where whole frames have been taken in."""
        self._reading = PartReading()
        self._request: list[tuple[int, bytes]] = []
        self._response: list[tuple[int, bytes]] = []

    def poll(self) -> bool:
        """Take in what has been appended since the last call; True if there was anything."""
        size = os.fstat(self._fd).st_size
        if size <= self._read_to:
            return False
        # A frame written half is read again when the rest of it is there: its writer may as well
        # have taken it back, because the disk was full.
        buffer = os.pread(self._fd, size - self._read_to, self._read_to)
        at = 0
        while (frame := frame_at(buffer, at)) is not None:
            at = frame.end
            self._reading.take(frame)
            if frame.kind == Kind.REQUEST:
                self._request.append((frame.aux, frame.payload))
            elif frame.kind == Kind.RESPONSE:
                self._response.append((frame.aux, frame.payload))
        self._read_to += at
        return at > 0

    @property
    def request_chunks(self) -> Sequence[tuple[int, bytes]]:
        """Every request chunk taken in so far, (at_ms, bytes); grows at its end only."""
        return self._request

    @property
    def response_chunks(self) -> Sequence[tuple[int, bytes]]:
        """The same of the response."""
        return self._response

    @property
    def gone(self) -> bool:
        """The part was unlinked: the record is done, or was discarded."""
        return os.fstat(self._fd).st_nlink == 0

    def snapshot(self) -> Record:
        """The record as far as it has been taken in."""
        reading = self._reading
        response = reading.response
        meta = self._meta
        request = reading.request or RequestHead(
            meta.method, meta.scheme, meta.host, meta.port, meta.path, "", ()
        )
        return Record(
            meta=live_meta(meta, reading),
            request=request,
            request_body=_body(self._request),
            response=response,
            response_body=_body(self._response),
            file=str(self._path),
            wire=None if reading.end is None else reading.end.wire,
        )

    def close(self) -> None:
        """Free the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def live_meta(meta: RecordMeta, reading: PartReading) -> RecordMeta:
    """The row of a record in flight with what its part knows better."""
    return RecordMeta(
        **{name: getattr(meta, name) for name in RecordMeta.__slots__}
        | {
            "state": State.LIVE,
            "request_bytes": reading.request_bytes,
            "response_bytes": reading.response_bytes,
            "ttft_ms": reading.ttft_ms,
            "status": meta.status if reading.response is None else reading.response.status,
        }
    )


def _body(chunks: Iterable[tuple[int, bytes]]) -> Body:
    chunks = list(chunks)
    if not chunks:
        return EMPTY
    return Body(
        b"".join(data for _, data in chunks), tuple((at_ms, len(data)) for at_ms, data in chunks)
    )
