"""Many records at a time: what is done to them together comes out as if each had been alone."""

import errno
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from store import frames
from store.frames import Codec, Kind, compress_all, frame_at, pack, pack_all, unbroken
from store.index import ROWS, Index, Row
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, State, Transport, id_bytes
from store.segments import Content, Place, SegmentWriter, read_record, scan_segment
from tests.store.agentic import session
from tests.store.builders import (
    SECRET,
    done,
    meta,
    now_ms,
    record,
    request_head,
    response_head,
    until,
    writing,
)

KEY = "k" * 16
IDS = [f"01{number:024d}" for number in range(40)]
TURNS = list(session(1, 6, 6_000, 12_000, 3_000))
SIZES = (0, 1, 64, 65, 3_000, 70_000)


# -- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False], ids=["in one call", "one by one"])
@pytest.mark.parametrize("count", [0, 1, frames.TOGETHER, 40])
def test_bodies_compressed_together_are_those_compressed_alone(
    count: int, together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not together:
        # As where the library is built without that call.
        alone = zstandard.ZstdCompressor(level=frames.ZSTD_LEVEL)
        only = type("Only", (), {"compress": staticmethod(alone.compress)})
        monkeypatch.setattr(frames, "_compressor", lambda: only)
    chance = random.Random(7)  # noqa: S311 - filler
    bodies = [
        chance.randbytes(SIZES[number % 6]) if number % 2 else b"ab" * SIZES[number % 6]
        for number in range(count)
    ]

    found = compress_all(bodies)

    expected = [frame_at(pack(Kind.RECORD, bytes(16), each, compress=True), 0) for each in bodies]
    assert [(each.codec, each.payload) for each in expected if each is not None] == found
    assert {Codec.RAW, Codec.ZSTD} >= {codec for codec, _ in found}


@given(st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**40), st.binary(max_size=99))))
def test_frames_packed_together_are_those_packed_alone(
    pieces: list[tuple[Kind, int, bytes]],
) -> None:
    raw_id = id_bytes(IDS[3])

    packed = pack_all(raw_id, pieces)

    assert packed == b"".join(pack(kind, raw_id, data, aux=aux) for kind, aux, data in pieces)
    assert len(pieces) == len(list(unbroken(packed)))


# -- segments --------------------------------------------------------------------------------------


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[SegmentWriter]:
    segment = SegmentWriter(tmp_path, KEY, "w", IDS[39], 5)
    yield segment
    segment.close()


def content(number: int, request: bytes, *chunks: bytes) -> Content:
    row = meta(IDS[number], KEY)
    timed = list(enumerate(chunks))
    head = response_head() if chunks else None
    return Content(row, request_head(), head, [(0, request)] if request else [], timed)


def contents() -> list[Content]:
    """Bodies of every sort: none, empty chunks, tiny, deltas to each other, not to be compressed."""
    return [
        content(0, b""),
        content(1, b"{}", b""),
        content(2, b"{}", b"a", b"", b"bc" * 500),
        *[content(3 + n, turn, b"data: %d\n\n" % n) for n, turn in enumerate(TURNS)],
        content(9, os.urandom(3_000), os.urandom(3_000), b"z"),
    ]


def test_records_appended_together_come_back_as_if_appended_alone(
    tmp_path: Path, segment: SegmentWriter
) -> None:
    other = SegmentWriter(tmp_path, KEY, "w", IDS[38], 5)
    alone = [other.append(each) for each in contents()]
    before = [segment.append(each) for each in contents()[:1]]
    together = segment.append_all(contents()[1:])
    after = segment.append(content(10, b"{}", b"behind them"))
    other.close()

    places = [*before, *together]
    for number, place in enumerate(places):
        row = meta(IDS[number], KEY)
        found, expected = (read_record(tmp_path, each, row) for each in (place, alone[number]))
        if number == 9:  # Random bytes.
            assert [3_000, 1] == [len(each) for _, each in found.response_body.chunks()]
            continue
        assert (found.request_body, found.response_body, found.response) == (
            expected.request_body,
            expected.response_body,
            expected.response,
        )
    assert [*places, after] == [each.place for each in scan_segment(tmp_path, segment.name)]
    assert segment.size == (tmp_path / segment.name).stat().st_size


def test_an_agents_turns_are_deltas_also_where_they_come_together(
    tmp_path: Path, segment: SegmentWriter
) -> None:
    size = segment.size
    segment.append_all([content(n, turn, b"x") for n, turn in enumerate(TURNS)])

    data = (tmp_path / segment.name).read_bytes()
    requests = [each for each in unbroken(data) if each.kind == Kind.REQUEST]
    assert [Codec.ZSTD, *[Codec.DELTA] * 5] == [each.codec for each in requests]
    assert len(data) - size < sum(map(len, TURNS)) / 2


def test_records_that_the_disk_refuses_together_leave_nothing_behind(
    tmp_path: Path, segment: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = segment.size
    real = os.write

    def full(fd: int, data: Any) -> int:
        # Room for some of it.
        if real(fd, bytes(data)[:700]) < 700:
            raise AssertionError("a test of a disk that has more room than that")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            segment.append_all(contents())
    assert size == segment.size == (tmp_path / segment.name).stat().st_size

    # What they would have been is no base of what comes now.
    places = segment.append_all(contents())
    for number, place in enumerate(places):
        read_record(tmp_path, place, meta(IDS[number], KEY))


# -- rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 2])
def test_rows_come_in_their_order_however_many_there_are(
    store: LocalStore, reader: LocalReader, key: Key, count: int
) -> None:
    index = Index(store.layout)
    now = now_ms()
    rows = [meta(each, key.id, completed_ms=now) for each in reversed(IDS[:count])]
    index.put([Row(each, "w", Place(f"{key.id}/x.seg", 1, 2)) for each in rows])
    index.close()

    found = reader.news(0)
    assert [each.id for each in rows] == [each.id for each in found]
    assert sorted({each.seq for each in found}) == [each.seq for each in found]


# -- the writer ------------------------------------------------------------------------------------


def crowd(writer: Any, key: Key, other: Key) -> list[str]:
    """Exchanges that end at once: small ones, a large one between them, of two keys."""
    open_ = [
        record(
            writer,
            other if number % 4 == 3 else key,
            request=[b'{"model":"m-%d"}' % number],
            response=[b"%d" % number * (100_000 if number == 5 else 10)],
            end=False,
        )
        for number in range(12)
    ]
    for each in open_:
        each.end(9, Transport.COMPLETE)
    return [each.id for each in open_]


def bodies(reader: LocalReader, ids: list[str]) -> list[bytes]:
    return [done(reader, each).response_body.data for each in ids]


EXPECTED = [b"%d" % number * (100_000 if number == 5 else 10) for number in range(12)]


@pytest.mark.check(47, 49, 55)
def test_exchanges_that_end_together_are_stored_each_under_its_key(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = store.add_key("other", SECRET + "1", 3600)
    monkeypatch.setattr("store.writer.DRAIN_S", 0.2)
    with writing(store) as writer:
        ids = crowd(writer, key, other)

        assert EXPECTED == bodies(reader, ids)
    assert ids[3::4] == [each.id for each in reversed(reader.records(key_id=other.id))]
    assert [f"m-{n}" for n in range(12)] == [row.model for row in reversed(reader.records())]


@pytest.mark.check(43)
@pytest.mark.parametrize("refuse", ["append_all", "every second write"])
def test_what_cannot_be_stored_together_is_stored_alone(
    store: LocalStore,
    reader: LocalReader,
    key: Key,
    refuse: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = store.add_key("other", SECRET + "1", 3600)
    monkeypatch.setattr("store.writer.DRAIN_S", 0.2)
    monkeypatch.setattr("store.writer.RETRY_S", 0.01)
    real: Callable[..., Any] = SegmentWriter._append
    calls = 0

    def sometimes(self: SegmentWriter, one: Content) -> Any:
        nonlocal calls
        calls += 1
        if refuse != "append_all" and calls % 2:
            raise OSError(errno.EIO, "I/O error")
        return real(self, one)

    def never(*_: object) -> list[Place]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SegmentWriter, "append_all", never)
    monkeypatch.setattr(SegmentWriter, "_append", sometimes)
    with writing(store) as writer:
        ids = crowd(writer, key, other)

        assert EXPECTED == bodies(reader, ids)
    assert calls >= 12
    assert len(ids) == len(reader.records())


def test_a_short_call_never_had_a_row_in_flight_a_long_one_has(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes are in its part all the same; and a clock set back leaves no record without a row."""
    monkeypatch.setattr("store.writer.ROW_AFTER_MS", 3_600_000)
    parts = store.layout.live
    with writing(store) as writer:
        short = record(writer, key, end=False)
        until(lambda: list(parts.rglob(f"{short.id}.part")))
        ahead = record(writer, key, started_ms=now_ms() + 3_600_000, end=False)
        until(lambda: reader.meta(ahead.id))
        assert reader.meta(short.id) is None
        monkeypatch.setattr("store.writer.ROW_AFTER_MS", 0)
        # Nothing new has come for it: it is looked at again all the same.
        row = until(lambda: reader.meta(short.id))
        assert row is not None
        assert (State.LIVE, "m-1", 200) == (row.state, row.model, row.status)
        for each in (short, ahead):
            each.end(9, Transport.COMPLETE)
            done(reader, each.id)
    assert not list(parts.rglob("*.part"))


@pytest.mark.check(37, 65)
def test_a_key_that_was_off_for_a_moment_leaves_nothing_of_what_was_in_flight(
    store: LocalStore, reader: LocalReader, key: Key, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However seldom the writer looks for keys: the part went with the purge, and what is told of
    the exchange after that is nowhere."""
    monkeypatch.setattr("store.writer.LOOK_S", 0.5)
    with writing(store) as writer:
        one = record(writer, key, response=[b"before-the-purge"], end=False)
        until(lambda: reader.meta(one.id))
        other = LocalStore(root)
        other.set_retention("one", None)
        other.set_retention("one", 3600)
        other.close()
        one.response_chunk(60, b"after-the-purge")
        until(lambda: not list(store.layout.live.rglob("*.part")))
        one.end(90, Transport.COMPLETE)
        good = record(writer, key)
        done(reader, good.id)
    assert [good.id] == [each.id for each in reader.records()]
    for file in root.rglob("*"):
        assert not (file.is_file() and re.search(rb"(before|after)-the-purge", file.read_bytes()))
