"""Segments: a record is there whole or not at all, and a write that failed moves no other."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import BodyMissing
from store.segments import (
    Content,
    Place,
    SegmentWriter,
    read_record,
    scan_segment,
    segment_names,
    segment_owner,
)
from tests.store.builders import meta, request_head, response_head

KEY = "k" * 16
IDS = [f"01{number:024d}" for number in range(9)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def segment(folder: Path) -> Iterator[SegmentWriter]:
    segment = SegmentWriter(folder, KEY, "w", IDS[8], 5)
    yield segment
    segment.close()


def content(number: int, *chunks: bytes) -> Content:
    timed = [(at_ms, chunk) for at_ms, chunk in enumerate(chunks)]
    row = meta(IDS[number], KEY)
    return Content(row, request_head(), response_head(), [(0, b"{%d}" % number)], timed)


def body(folder: Path, place: Place, number: int) -> bytes:
    return read_record(folder, place, meta(IDS[number], KEY)).response_body.data


def test_records_come_back_from_where_they_were_put(folder: Path, segment: SegmentWriter) -> None:
    chunks = [[], [b""], [b"a"], [b"a", b"", b"bc" * 500], [os.urandom(3_000)]]
    places = [segment.append(content(number, *each)) for number, each in enumerate(chunks)]

    for number, (place, each) in enumerate(zip(places, chunks, strict=True)):
        stored = read_record(folder, place, meta(IDS[number], KEY))
        assert [*enumerate(each)] == list(stored.response_body.chunks())
        assert b"{%d}" % number == stored.request_body.data
    found = list(scan_segment(folder, segment.name))
    assert places == [each.place for each in found]
    assert [meta(each, KEY) for each in IDS[:5]] == [each.meta for each in found]
    assert segment.size == found[-1].end == (folder / segment.name).stat().st_size
    assert found[3:] == list(scan_segment(folder, segment.name, found[2].end))
    assert ("w", [segment.name]) == (
        segment_owner(folder, segment.name),
        segment_names(folder, KEY),
    )


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "read error"), ValueError("a bug")])
def test_an_append_that_fails_half_way_moves_no_later_record(
    folder: Path, segment: SegmentWriter, failure: Exception
) -> None:
    def broken() -> Iterator[tuple[int, bytes]]:
        yield 0, os.urandom(9 * 1024 * 1024)
        raise failure

    first = segment.append(content(0, b"one"))
    with pytest.raises(type(failure)):
        segment.append(Content(meta(IDS[1], KEY), request_head(), None, [(0, b"x")], broken()))
    third = segment.append(content(2, b"three"))

    assert (b"one", b"three") == (body(folder, first, 0), body(folder, third, 2))
    assert [first, third] == [each.place for each in scan_segment(folder, segment.name)]
    assert not segment.broken


def test_what_cannot_be_cut_back_is_broken(
    folder: Path, segment: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "ftruncate", refuse)
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="Read-only"):
        segment.append(content(0, b"one"))
    monkeypatch.undo()
    assert segment.broken
    with pytest.raises(OSError, match="earlier"):
        segment.sync()


def test_after_a_failed_sync_no_other_is_believed(
    segment: SegmentWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        with pytest.raises(OSError, match="Input"):
            segment.sync()
    with pytest.raises(OSError, match="earlier"):
        segment.sync()


def test_a_segment_that_found_no_room_leaves_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="No space"):
        SegmentWriter(folder, KEY, "w", IDS[0], 5)
    assert [] == segment_names(folder)


@pytest.mark.parametrize(
    "place", [Place("k/none.seg", 0, 0), Place("k", 0, 0), Place(f"{KEY}/{IDS[8]}.seg", 3, 900)]
)
def test_a_place_where_nothing_is(folder: Path, segment: SegmentWriter, place: Place) -> None:
    (folder / "k").mkdir()
    with pytest.raises(BodyMissing, match=IDS[0]):
        body(folder, place, 0)


def test_another_s_frames_are_not_read_as_a_record_s(folder: Path, segment: SegmentWriter) -> None:
    place = segment.append(content(0, b"one"))
    with pytest.raises(BodyMissing, match="no frame of the record"):
        body(folder, place, 1)
