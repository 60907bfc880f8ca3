"""Request bodies as deltas to earlier ones of the same segment. Pure: bytes in, bytes out.

Agents send their whole history again with each turn, so a request mostly holds the one before
it. Which one that is is told by the bytes alone: a few windows of an earlier body are looked for
in the new one, the latest body first. A body is never parsed for it: JSON of a megabyte would
hold the interpreter for 9 ms, in a process that passes on streams.

A delta is a zstd frame with the base as its prefix (RFC 8878 calls it a raw content dictionary).
Chains are bounded (DEPTH): a reader decodes all of a chain to read its last. Where the chain is
full the next delta goes to its first body, which is whole, unless so much is new by then that a
whole body serves the next ones better.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import zstandard

from store.frames import (
    BODY_FRAME,
    MAX_RAW,
    ZSTD_LEVEL,
    Buffer,
    Codec,
    Frame,
    FrameError,
    Kind,
    check_length,
    frame_at,
    pack,
    pack_stored,
)

DEPTH = 16
"""Bodies that are decoded before the last of a chain, at most: 16 ms for those of a megabyte."""

SMALLEST = 2 * 1024
"""Shorter bodies are no bases and no deltas: compressed by themselves they cost as little."""

WINDOWS = 8
WINDOW = 64
"""Bytes of each. Long enough to be found nowhere by chance, JSON's repetitions included."""

SURE = 7
"""Windows that, found, end the search: this is the turn before."""

ENOUGH = 2
"""Windows that make a base at all: two sessions of one program share tools and system prompt."""

RENEWED = 2
"""A full chain begins anew once a delta to its first body is more than half of what the body
alone would be: measured on sessions of 50 turns, 2 gives 46 times smaller, 3 gives 41, never 33."""

CANDIDATES = 12
"""Bodies of one segment that are looked at, the latest first."""

NOWHERE = (1 << 64) - 1
"""The offset of a base that was damaged when its delta was moved."""

MEMORY = 48 * 1024 * 1024
"""Bytes of bodies a writer keeps as bases, for all its segments together."""


@dataclass(frozen=True, slots=True)
class Base:
    """A body that is in a segment, and may be what a later one is a delta to."""

    body: bytes = field(repr=False)
    offset: int
    """Where its frame begins."""
    depth: int
    """How many bodies are decoded before it."""
    stored: int
    """Bytes of its payload in the file."""
    first: int | None = None
    """The offset of the first of its chain; None: itself."""


class Bases:
    """The bodies a writer remembers, by segment; the ones not used for longest go."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._size = 0
        self._kept: OrderedDict[tuple[str, int], Base] = OrderedDict()
        self._of_segment: dict[str, OrderedDict[int, Base]] = {}

    def add(self, segment: str, base: Base) -> None:
        """Remember a body; it is now the latest of its segment."""
        if len(base.body) > self._memory:
            return
        self._kept[segment, base.offset] = base
        self._of_segment.setdefault(segment, OrderedDict())[base.offset] = base
        self._size += len(base.body)
        while self._size > self._memory:
            self._drop(*next(iter(self._kept)))

    def first_of(self, segment: str, base: Base) -> Base | None:
        """The first of its chain, if it is still remembered."""
        return self._kept.get((segment, base.offset if base.first is None else base.first))

    def used(self, segment: str, base: Base) -> None:
        """It served as a base: it goes later, and so does the first of its chain."""
        for offset in {base.offset, base.offset if base.first is None else base.first}:
            if (segment, offset) in self._kept:
                self._kept.move_to_end((segment, offset))

    def replaced(self, segment: str, base: Base) -> None:
        """Its next turn is there: it is looked at no more, unless it is the first of a chain."""
        if base.depth and (segment, base.offset) in self._kept:
            self._drop(segment, base.offset)

    def latest(self, segment: str) -> list[Base]:
        """What may be a base in that segment, the latest first."""
        bases = self._of_segment.get(segment)
        if not bases:
            return []
        return [base for base, _ in zip(reversed(bases.values()), range(CANDIDATES), strict=False)]

    def forget(self, segment: str) -> None:
        """The segment is sealed, or gone."""
        for offset in list(self._of_segment.get(segment, ())):
            self._drop(segment, offset)

    def _drop(self, segment: str, offset: int) -> None:
        base = self._kept.pop((segment, offset))
        self._size -= len(base.body)
        of_segment = self._of_segment[segment]
        del of_segment[offset]
        if not of_segment:
            del self._of_segment[segment]


def likeness(body: bytes, base: bytes) -> int:
    """How many of the base's windows the body has, 0 to WINDOWS; 0 as soon as the first half has none.

    They lie evenly, none at the ends, where what changes with each turn often is.
    """
    found = 0
    for number in range(WINDOWS):
        at = (2 * number + 1) * len(base) // (2 * WINDOWS)
        found += body.find(base[at : at + WINDOW]) >= 0
        if not found and number >= WINDOWS // 2:
            return 0
    return found


def choose(body: bytes, bases: list[Base]) -> Base | None:
    """The base that seems to share most bytes with the body, of equals the earliest in the list;
    None: none is like it."""
    best, most = None, 0
    for base in bases:
        found = likeness(body, base.body)
        shared = found * len(base.body)
        if found >= ENOUGH and shared > most:
            best, most = base, shared
            if found >= SURE:
                break
    return best


def pack_body(record_id: bytes, body: bytes, segment: str, offset: int, bases: Bases) -> bytes:
    """The frame of a whole request body that is to stand at `offset` of its segment, as a delta if
    that is worth it; the body is remembered for the next ones."""
    if not SMALLEST <= len(body) < BODY_FRAME:
        return pack(Kind.REQUEST, record_id, body, compress=True)
    turn_before = choose(body, bases.latest(segment))
    packed = None
    if turn_before is not None:
        packed = _as_delta(body, segment, turn_before, bases)
    if packed is None:
        frame = pack(Kind.REQUEST, record_id, body, compress=True)
        bases.add(segment, Base(body, offset, 0, len(frame)))
    else:
        payload, base = packed
        frame = pack_stored(Kind.REQUEST, record_id, payload, Codec.DELTA, len(body), base.offset)
        first = base.offset if base.first is None else base.first
        bases.used(segment, base)
        bases.add(segment, Base(body, offset, base.depth + 1, len(payload), first))
    if turn_before is not None and len(body) >= len(turn_before.body):
        bases.replaced(segment, turn_before)
    return frame


def _as_delta(
    body: bytes, segment: str, turn_before: Base, bases: Bases
) -> tuple[bytes, Base] | None:
    """The payload and what it is a delta to, or None if the body is better stored whole."""
    full = turn_before.depth >= DEPTH
    base = bases.first_of(segment, turn_before) if full else turn_before
    if base is None:
        return None
    payload = delta(body, base.body)
    if base is turn_before:
        return (payload, base) if len(payload) < len(body) else None
    # How well its like compresses alone is told by the first of the chain, which is whole.
    alone = base.stored * len(body) // len(base.body)
    return (payload, base) if len(payload) * RENEWED < alone else None


def delta(body: bytes, base: bytes) -> bytes:
    """The body as a zstd frame that needs the base."""
    window = max(10, (len(body) + len(base) - 1).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=window)
    return zstandard.ZstdCompressor(
        compression_params=parameters, dict_data=_prefix(base)
    ).compress(body)


def undelta(payload: bytes, base: bytes, length: int) -> bytes:
    """The body again; FrameError if it is not what was promised."""
    if length > MAX_RAW:
        raise FrameError(f"frame claims {length} bytes")
    check_length(payload, length)
    try:
        body = zstandard.ZstdDecompressor(
            dict_data=_prefix(base), max_window_size=4 * MAX_RAW
        ).decompress(payload, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as exc:
        raise FrameError(f"delta does not decompress: {exc}") from exc
    if len(body) != length:
        raise FrameError(f"delta holds {len(body)} bytes, not {length}")
    return body


def _prefix(base: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def body_of(buffer: Buffer, frame: Frame) -> bytes:
    """What a frame of a body holds, its bases decoded from the same buffer; FrameError if one of
    them is damaged, names a later one, or there are too many."""
    chain = [frame]
    while chain[-1].codec == Codec.DELTA:
        last = chain[-1]
        base = frame_at(buffer, last.aux) if last.aux < last.offset else None
        if base is None or base.kind != Kind.REQUEST:
            raise FrameError(f"its base at byte {last.aux} is damaged")
        if len(chain) > DEPTH:
            raise FrameError(f"more than {DEPTH} bases")
        chain.append(base)
    body = chain.pop().decode()
    for each in reversed(chain):
        body = undelta(each.payload, body, each.raw_length)
    return body


class Relocation:
    """Frames of one file on their way to another, where the bases of some may not follow."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._moved: dict[int, int] = {}

    def frame(self, frame: Frame, to: int) -> bytes:
        """The frame as it is to stand at offset `to` of the new file: frames come in their order.

        A delta whose base has gone before it keeps its bytes and names the new place; one whose
        base stays behind becomes whole.
        """
        if frame.kind == Kind.REQUEST:
            self._moved[frame.offset] = to
        if frame.codec != Codec.DELTA:
            return self._buffer[frame.offset : frame.end]
        base = self._moved.get(frame.aux)
        if base is None:
            try:
                body = body_of(self._buffer, frame)
            except FrameError:
                # As unreadable there as it is here: the rest of its record is not.
                base = NOWHERE
            else:
                return pack(Kind.REQUEST, frame.id, body, compress=True)
        return pack_stored(frame.kind, frame.id, frame.payload, frame.codec, frame.raw_length, base)
