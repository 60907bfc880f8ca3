"""The frame: the one unit the store's files are made of. Bytes in, values out; no files here.

A frame describes itself (magic, kind, codec, record id, lengths, CRC-32), so a file is
readable from any frame on, a torn tail is seen, and a scan of any bytes ends: it never
raises and never allocates more than it was given.

    magic 4 | kind 1 | codec 1 | zero 2 | record id 16 | aux 8 | raw length 4 | stored length 4 | crc 4 | payload

The CRC covers the header before it and the payload. `aux` belongs to the kind: of a chunk
in a part its at_ms, of a slice of arrivals the time its first one counts from, of a delta
the offset of what it is a delta to.
"""

import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Protocol

import zstandard

MAGIC = b"\xf1fT1"
_HEADER = struct.Struct("<4sBBH16sQIII")
HEADER_SIZE = _HEADER.size
_CRC_AT = HEADER_SIZE - 4
_BEFORE_CRC = struct.Struct("<4sBBH16sQII")

BODY_FRAME = 8 * 1024 * 1024
"""A longer body is cut into frames of this size, so that memory stays bounded both ways."""

MAX_RAW = 2 * BODY_FRAME
"""No frame decodes to more; a length beyond it is a lie and is refused before allocating."""

ZSTD_LEVEL = 3
"""The knee of the curve on LLM bodies: level 9 gains a tenth for five times the time."""

UNCOMPRESSED = 64
"""Bytes that are not worth compressing."""

TOGETHER = 6
"""Bodies that are compressed faster in one call than one by one."""

ARRIVALS_SLICE = 500_000
"""Pairs of one frame of arrivals: 4 MB, well under MAX_RAW."""

NO_RECORD = bytes(16)

_PAIR = struct.Struct("<2I")

_of_thread = threading.local()


class Kind(IntEnum):
    """What a frame holds."""

    SEGMENT = 1
    """First of a segment; JSON: key, writer, created_ms."""
    BEGIN = 2
    """First of a part; JSON: the request's head and whose it is."""
    REQUEST = 3
    """Bytes of the request body: in a part a chunk, in a segment a slice of at most BODY_FRAME."""
    REQUEST_END = 4
    RESPONSE_HEAD = 5
    RESPONSE = 6
    END = 7
    """Of a part: the exchange is over; JSON: transport, error, lost_bytes."""
    REQUEST_ARRIVALS = 8
    """Of a segment: when the chunks arrived, see `pack_arrivals`."""
    RESPONSE_ARRIVALS = 9
    RECORD = 10
    """Last of a record in a segment; JSON: everything but the bodies. A record is there once this is."""


_KINDS = frozenset(Kind)


class Codec(IntEnum):
    """How a payload is stored."""

    RAW = 0
    ZSTD = 1
    DELTA = 2
    """zstd with another body of the same file as its prefix; `aux` is where that one's frame begins."""


class FrameError(ValueError):
    """A frame's payload does not decode to what its header says."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One good frame of a buffer: its header passed the CRC together with its payload."""

    offset: int
    end: int
    kind: int
    codec: int
    id: bytes
    aux: int
    raw_length: int
    payload: bytes
    """As stored; `decode` gives the bytes."""

    def decode(self) -> bytes:
        """The payload's bytes; FrameError if they are not what the header promised."""
        if self.raw_length > MAX_RAW:
            raise FrameError(f"frame claims {self.raw_length} bytes")
        if self.codec == Codec.RAW:
            data = self.payload
        elif self.codec == Codec.ZSTD:
            check_length(self.payload, self.raw_length)
            try:
                # A context of its own: zstandard's are not safe to share between threads.
                data = zstandard.ZstdDecompressor().decompress(
                    self.payload, max_output_size=self.raw_length, allow_extra_data=False
                )
            except zstandard.ZstdError as exc:
                raise FrameError(f"frame does not decompress: {exc}") from exc
        elif self.codec == Codec.DELTA:
            raise FrameError("frame is a delta and needs its base")
        else:
            raise FrameError(f"frame of unknown codec {self.codec}")
        if len(data) != self.raw_length:
            raise FrameError(f"frame holds {len(data)} bytes, not {self.raw_length}")
        return data


def check_length(payload: bytes, length: int) -> None:
    """FrameError unless zstd's own header promises `length`: what it says is allocated, whatever
    bound is given."""
    try:
        promised = zstandard.frame_content_size(payload)
    except zstandard.ZstdError as exc:
        raise FrameError(f"frame does not decompress: {exc}") from exc
    if promised not in (length, -1):
        raise FrameError(f"frame holds {promised} bytes, not {length}")


class Buffer(Protocol):
    """What can be scanned: bytes, or a file (store.layout.FileView)."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes: ...
    def find(self, sub: bytes, start: int = ..., /) -> int: ...


def pack(
    kind: Kind, record_id: bytes, data: bytes, *, aux: int = 0, compress: bool = False
) -> bytes:
    """One frame. With `compress`, zstd where that is smaller."""
    codec, payload = Codec.RAW, data
    if compress and len(data) > UNCOMPRESSED:
        packed = _compressor().compress(data)
        if len(packed) < len(data):
            codec, payload = Codec.ZSTD, packed
    return pack_stored(kind, record_id, payload, codec, len(data), aux)


def compress_all(bodies: Sequence[bytes]) -> list[tuple[Codec, bytes]]:
    """What `pack` makes of each with `compress`: the codec and the payload. In one step where the
    library has one: from each single one it comes back only when the proxy's loop lets it."""
    long = [data for data in bodies if len(data) > UNCOMPRESSED]
    compressor = _compressor()
    together = getattr(compressor, "multi_compress_to_buffer", None)
    if together is None or len(long) < TOGETHER:
        packed = iter([compressor.compress(data) for data in long])
    else:
        packed = iter([piece.tobytes() for piece in together(long)])
    result = []
    for data in bodies:
        payload = next(packed) if len(data) > UNCOMPRESSED else data
        shorter = len(payload) < len(data)
        result.append((Codec.ZSTD, payload) if shorter else (Codec.RAW, data))
    return result


def pack_all(record_id: bytes, pieces: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Frames of (kind, aux, data), uncompressed, one after the other."""
    frames: list[bytes] = []
    for kind, aux, data in pieces:
        size = len(data)
        head = _BEFORE_CRC.pack(MAGIC, kind, 0, 0, record_id, aux, size, size)
        frames += (head, zlib.crc32(data, zlib.crc32(head)).to_bytes(4, "little"), data)
    return b"".join(frames)


def pack_stored(
    kind: int, record_id: bytes, payload: bytes, codec: int, raw_length: int, aux: int
) -> bytes:
    """One frame whose payload is coded already."""
    head = _BEFORE_CRC.pack(MAGIC, kind, codec, 0, record_id, aux, raw_length, len(payload))
    crc = zlib.crc32(payload, zlib.crc32(head))
    return b"%b%b%b" % (head, crc.to_bytes(4, "little"), payload)


def _compressor() -> zstandard.ZstdCompressor:
    """The calling thread's: making one costs more than compressing a small body, and threads
    must not share one."""
    found: zstandard.ZstdCompressor | None = getattr(_of_thread, "compressor", None)
    if found is None:
        found = _of_thread.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    return found


def frame_at(buffer: Buffer, offset: int) -> Frame | None:
    """The good frame at `offset`, or None: too short, not a frame, or damaged."""
    if offset < 0 or offset + HEADER_SIZE > len(buffer):
        return None
    head = buffer[offset : offset + HEADER_SIZE]
    if len(head) < HEADER_SIZE:
        # The file was cut while it is read.
        return None
    magic, kind, codec, _, record_id, aux, raw_length, stored_length, crc = _HEADER.unpack(head)
    end = offset + HEADER_SIZE + stored_length
    if magic != MAGIC or end > len(buffer):
        return None
    payload = buffer[offset + HEADER_SIZE : end]
    if zlib.crc32(payload, zlib.crc32(head[:_CRC_AT])) != crc:
        return None
    return Frame(offset, end, kind, codec, record_id, aux, raw_length, payload)


def claimed(head: bytes) -> tuple[bytes, int] | None:
    """What a frame's first HEADER_SIZE bytes say, true or not: whose it is, and how many bytes follow.
    None if they begin no frame."""
    magic, kind, _, _, record_id, _, _, stored_length, _ = _HEADER.unpack(head)
    return (record_id, stored_length) if magic == MAGIC and kind in _KINDS else None


def unbroken(buffer: Buffer, start: int = 0) -> Iterator[Frame]:
    """Good frames one right after the other, up to the first damage: a prefix of what was written."""
    while (frame := frame_at(buffer, start)) is not None:
        yield frame
        start = frame.end


def scan(buffer: Buffer, start: int = 0) -> Iterator[Frame]:
    """Every good frame from `start` on, in order; what is between them was damaged.

    After damage it goes on at the next magic that begins a good frame, so one bad byte
    costs one frame.
    """
    at = start
    while True:
        frame = frame_at(buffer, at)
        if frame is not None:
            yield frame
            at = frame.end
            continue
        at = buffer.find(MAGIC, at + 1)
        if at < 0:
            return


def pack_arrivals(
    kind: Kind, record_id: bytes, arrivals: Sequence[tuple[int, int]]
) -> Iterator[bytes]:
    """Frames of 32-bit pairs (milliseconds since the pair before, length), ARRIVALS_SLICE pairs each."""
    for start in range(0, len(arrivals), ARRIVALS_SLICE):
        part = arrivals[start : start + ARRIVALS_SLICE]
        base = part[0][0]
        if len(part) == 1:
            yield pack(kind, record_id, _PAIR.pack(0, part[0][1]), aux=base)
            return
        # A monotonic clock feeds this; a step back would be a bug of the caller, and is flattened.
        times = [base, *accumulate((at_ms for at_ms, _ in part), max)]
        numbers = [0] * (2 * len(part))
        numbers[::2] = [min(after - before, 0xFFFFFFFF) for before, after in pairwise(times)]
        numbers[1::2] = [length for _, length in part]
        data = struct.pack(f"<{len(numbers)}I", *numbers)
        yield pack(kind, record_id, data, aux=base, compress=True)


def unpack_arrivals(frame: Frame) -> list[tuple[int, int]]:
    """The (at_ms, length) pairs of one frame of arrivals; FrameError if they are not pairs."""
    data = frame.decode()
    if len(data) % 8:
        raise FrameError("arrivals are not pairs")
    numbers = struct.unpack(f"<{len(data) // 4}I", data)
    at_ms = frame.aux
    result = []
    for delta, length in zip(numbers[::2], numbers[1::2], strict=True):
        at_ms += delta
        result.append((at_ms, length))
    return result
