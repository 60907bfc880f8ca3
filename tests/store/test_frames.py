"""Frames: any cut gives a prefix, any damage costs one frame, any bytes end."""

import struct
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from store import frames
from store.frames import (
    ARRIVALS_SLICE,
    HEADER_SIZE,
    MAGIC,
    MAX_RAW,
    NO_RECORD,
    Codec,
    Frame,
    FrameError,
    Kind,
    frame_at,
    pack,
    pack_arrivals,
    pack_stored,
    scan,
    unbroken,
    unpack_arrivals,
)

ONE = bytes(range(16))
PAYLOADS = [b"", b"a", b"\x00" * 300, MAGIC * 40, bytes(range(256)) * 3, b"data: x\n\n" * 200]
STREAM = [
    pack(Kind.RESPONSE, ONE, payload, aux=at, compress=bool(at % 2))
    for at, payload in enumerate(PAYLOADS)
]
WHOLE = b"".join(STREAM)
ENDS = [sum(map(len, STREAM[: count + 1])) for count in range(len(STREAM))]


def forged(*, raw_length: int, stored_length: int, payload: bytes, codec: int = 0) -> bytes:
    """A frame whose lengths lie and whose CRC is right."""
    head = struct.pack("<4sBBH16sQII", MAGIC, 6, codec, 0, ONE, 0, raw_length, stored_length)
    return head + zlib.crc32(payload, zlib.crc32(head)).to_bytes(4, "little") + payload


def only(buffer: bytes) -> Frame:
    (frame,) = scan(buffer)
    return frame


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("compress", [True, False])
def test_a_frame_comes_back_as_it_was(payload: bytes, compress: bool) -> None:
    frame = only(pack(Kind.REQUEST, ONE, payload, aux=2**63, compress=compress))

    assert (Kind.REQUEST, ONE, 2**63, payload) == (frame.kind, frame.id, frame.aux, frame.decode())


def test_what_does_not_get_smaller_is_kept_as_it_is() -> None:
    data = zlib.compress(bytes(range(256)) * 9)

    assert data == only(pack(Kind.REQUEST, ONE, data, compress=True)).payload


def test_every_cut_of_a_file_is_a_prefix_of_its_frames() -> None:
    for cut in range(len(WHOLE) + 1):
        whole = sum(end <= cut for end in ENDS)

        assert PAYLOADS[:whole] == [frame.decode() for frame in unbroken(WHOLE[:cut])]
        if MAGIC not in WHOLE[ENDS[whole - 1] + 4 if whole else 4 : cut]:
            assert PAYLOADS[:whole] == [frame.decode() for frame in scan(WHOLE[:cut])]


def test_a_flipped_byte_anywhere_costs_exactly_its_frame() -> None:
    for at in range(len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[at] ^= 0x41
        hit = next(index for index, end in enumerate(ENDS) if at < end)

        assert [p for index, p in enumerate(PAYLOADS) if index != hit] == [
            frame.decode() for frame in scan(bytes(damaged))
        ]
        assert PAYLOADS[:hit] == [frame.decode() for frame in unbroken(bytes(damaged))]


@pytest.mark.parametrize("garbage", [b"\x00" * 500, MAGIC, MAGIC * 99, b"\xff" * 77, MAGIC[:3]])
def test_garbage_around_frames_costs_none(garbage: bytes) -> None:
    buffer = garbage + STREAM[2] + garbage + STREAM[4] + garbage

    assert [PAYLOADS[2], PAYLOADS[4]] == [frame.decode() for frame in scan(buffer)]


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(MAGIC), st.sampled_from(STREAM))))
@settings(max_examples=200, deadline=None)
def test_a_scan_of_any_bytes_ends_and_says_only_what_is_there(pieces: list[bytes]) -> None:
    buffer = b"".join(pieces)
    before = 0
    for frame in scan(buffer):
        assert before <= frame.offset < frame.end <= len(buffer)
        assert len(frame.payload) == frame.end - frame.offset - HEADER_SIZE
        before = frame.end


@pytest.mark.parametrize("length", [2**32 - 1, MAX_RAW + 1, 10_000])
def test_a_length_beyond_the_file_is_no_frame(length: int) -> None:
    assert frame_at(forged(raw_length=4, stored_length=length, payload=b"abcd"), 0) is None


@pytest.mark.parametrize(
    ("raw_length", "codec", "payload"),
    [
        (2**32 - 1, 0, b"abcd"),
        (2**32 - 1, 1, b"abcd"),
        (5, 0, b"abcd"),
        (4, 1, b"abcd"),
        (4, 7, b"abcd"),
        (10, 1, zstandard.ZstdCompressor().compress(bytes(2**24))),
        (MAX_RAW, 1, zstandard.ZstdCompressor().compress(b"short")),
    ],
)
def test_a_payload_that_is_not_what_its_header_says_is_refused_without_allocating(
    raw_length: int, codec: int, payload: bytes
) -> None:
    frame = only(
        forged(raw_length=raw_length, stored_length=len(payload), payload=payload, codec=codec)
    )
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            frame.decode()
        assert tracemalloc.get_traced_memory()[1] < MAX_RAW + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("offset", [-1, 1, len(WHOLE), len(WHOLE) + 5, 2**70])
def test_there_is_no_frame_elsewhere(offset: int) -> None:
    assert frame_at(WHOLE, offset) is None


@pytest.mark.check(25)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**33), st.integers(0, 2**32 - 1)),
        max_size=50,
    )
)
@settings(deadline=None)
def test_arrivals_come_back(pairs: list[tuple[int, int]]) -> None:
    arrivals = []
    at_ms = 0
    for delta, length in pairs:
        at_ms += min(delta, 2**32 - 1)
        arrivals.append((at_ms, length))
    packed = b"".join(pack_arrivals(Kind.RESPONSE_ARRIVALS, ONE, arrivals))

    assert arrivals == [pair for frame in scan(packed) for pair in unpack_arrivals(frame)]


def test_more_arrivals_than_a_frame_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "ARRIVALS_SLICE", 100)
    arrivals = [(at * 7, at % 5) for at in range(1_001)]
    packed = list(pack_arrivals(Kind.REQUEST_ARRIVALS, ONE, arrivals))

    assert 11 == len(packed)
    assert arrivals == [pair for frame in scan(b"".join(packed)) for pair in unpack_arrivals(frame)]
    assert ARRIVALS_SLICE * 8 < MAX_RAW


def test_a_clock_that_steps_back_is_flattened() -> None:
    packed = b"".join(pack_arrivals(Kind.REQUEST_ARRIVALS, ONE, [(9, 1), (4, 2), (12, 3)]))

    assert [(9, 1), (9, 2), (12, 3)] == unpack_arrivals(only(packed))


def test_arrivals_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(FrameError):
        unpack_arrivals(only(pack(Kind.REQUEST_ARRIVALS, NO_RECORD, b"abc")))


@pytest.mark.parametrize(
    "payload",
    [b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00", b"\x28\xb5", b""],
    ids=["promises 2^60 bytes", "cut", "empty"],
)
def test_what_a_compressed_payload_promises_is_not_allocated(payload: bytes) -> None:
    frame = only(pack_stored(Kind.RESPONSE, ONE, payload, Codec.ZSTD, 100, 0))
    with pytest.raises(FrameError):
        frame.decode()
