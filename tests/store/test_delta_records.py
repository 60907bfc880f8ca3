"""Deltas in a store: what a purge, a restart, a failing disk and damage leave of them."""

import errno
import os
from pathlib import Path

import pytest

from store import layout, segments
from store.delta import body_of
from store.errors import BodyMissing
from store.frames import Codec, Frame, FrameError, Kind, scan
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key
from store.segments import Content, SegmentWriter, read_record
from tests.store.agentic import session
from tests.store.builders import (
    SECRET,
    done,
    meta,
    now_ms,
    opened,
    record,
    request_head,
    segment_files,
    writing,
)

HOUR_MS = 3_600_000
TURNS = list(session(7, 10, 12_000, 40_000, 6_000))


def frames_of(root: Path) -> list[tuple[bytes, Frame]]:
    """Every request frame of the store, with its file."""
    found = []
    for path in segment_files(root):
        file = path.read_bytes()
        found += [(file, frame) for frame in scan(file) if frame.kind == Kind.REQUEST]
    return found


def recorded(
    store: LocalStore, reader: LocalReader, key: Key, bodies: list[bytes], old: int = 0
) -> list[str]:
    """Records of these requests, the first `old` of them two hours ago."""
    with writing(store) as writer:
        ids = []
        for number, body in enumerate(bodies):
            started = now_ms() - (2 * HOUR_MS if number < old else 0)
            ids.append(record(writer, key, started_ms=started, request=[body]).id)
            done(reader, ids[-1])
    return ids


def bodies_of(reader: LocalReader, ids: list[str]) -> list[bytes]:
    found = [reader.get(each) for each in ids]
    return [record.request_body.data for record in found if record is not None]


@pytest.mark.check(49)
def test_turns_come_back_and_are_small(store: LocalStore, reader: LocalReader, root: Path) -> None:
    key = store.add_key("one", SECRET, 3600)
    ids = recorded(store, reader, key, TURNS)
    assert bodies_of(reader, ids) == TURNS
    codecs = [frame.codec for _, frame in frames_of(root)]
    assert [Codec.ZSTD, *[Codec.DELTA] * 9] == codecs
    with opened(root) as (_, again):
        assert bodies_of(again, ids) == TURNS


def test_keys_share_no_bases(store: LocalStore, reader: LocalReader, root: Path) -> None:
    keys = [store.add_key(name, f"{SECRET}{name}", 3600) for name in ("one", "two")]
    with writing(store) as writer:
        for key in keys:
            done(reader, record(writer, key, request=[TURNS[0]]).id)
    assert [Codec.ZSTD] * 2 == [frame.codec for _, frame in frames_of(root)]


@pytest.mark.check(64, 69)
@pytest.mark.parametrize("old", range(len(TURNS) + 1))
def test_what_survives_a_purge_reads_the_same_without_what_went(
    store: LocalStore, reader: LocalReader, root: Path, old: int
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    secrets = [b"canary-%d-%s" % (n, os.urandom(20).hex().encode()) for n in range(len(TURNS))]
    bodies = [body + secret for body, secret in zip(TURNS, secrets, strict=True)]
    ids = recorded(store, reader, key, bodies, old)

    assert old == store.set_retention("one", 3600)
    assert bodies_of(reader, ids[old:]) == bodies[old:]
    kept = b"".join(body_of(file, frame) for file, frame in frames_of(root))
    assert [n for n, secret in enumerate(secrets) if secret in kept] == [*range(old, len(TURNS))]
    # One body is whole, the others are deltas as before.
    assert [Codec.DELTA] * (len(TURNS) - old - 1) == [f.codec for _, f in frames_of(root)][1:]


def test_a_rebuilt_index_finds_them(store: LocalStore, reader: LocalReader) -> None:
    key = store.add_key("one", SECRET, 3600)
    ids = recorded(store, reader, key, TURNS)
    assert len(TURNS) == store.rebuild()
    assert bodies_of(reader, ids) == TURNS


def test_records_whose_sync_failed_are_moved_with_their_bases(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.add_key("one", SECRET, 3600)
    real = os.fdatasync
    failed: list[int] = []

    def failing(fd: int) -> None:
        if len(failed) < 1:
            failed.append(fd)
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    with writing(store) as writer:
        first = record(writer, key, request=[TURNS[0]]).id
        done(reader, first)
        monkeypatch.setattr(os, "fdatasync", failing)
        # These lie in a file whose sync fails: their base, the first, stays behind.
        ids = [record(writer, key, request=[body]).id for body in TURNS[1:4]]
        for each in ids:
            done(reader, each)
    assert failed
    assert bodies_of(reader, [first, *ids]) == TURNS[:4]
    assert len(segment_files(root)) == 2


def content(number: int, body: bytes) -> Content:
    return Content(meta(f"01{number:024d}"), request_head(), None, [(0, body)], [(1, b"x")])


def test_a_request_that_was_cut_back_is_no_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = SegmentWriter(tmp_path, "k" * 16, "w", "01" + "0" * 24, 5)
    real = layout.write_all

    def full(fd: int, data: bytes) -> None:
        # Room for the request, and not for the rest.
        real(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segments, "write_all", full)
    with pytest.raises(OSError, match="No space"):
        segment.append(content(1, TURNS[0]))
    monkeypatch.undo()
    places = [segment.append(content(n, body)) for n, body in enumerate(TURNS[:3])]
    segment.close()
    read = [read_record(tmp_path, place, meta(f"01{n:024d}")) for n, place in enumerate(places)]
    assert [each.request_body.data for each in read] == TURNS[:3]


@pytest.mark.check(50)
def test_damage_to_a_base_costs_what_stands_on_it_and_no_more(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    ids = recorded(store, reader, key, TURNS, old=1)
    (path,) = segment_files(root)
    _, third = frames_of(root)[2]
    file = bytearray(path.read_bytes())
    file[third.end - 1] ^= 1
    path.write_bytes(file)

    assert bodies_of(reader, ids[:2]) == TURNS[:2]
    for each in ids[2:]:
        with pytest.raises(BodyMissing, match=each):
            reader.get(each)
    assert len(ids) == len(reader.records())
    # A purge carries them over as they are: unreadable, and never something else.
    assert store.set_retention("one", 3600) == 1
    assert bodies_of(reader, ids[1:2]) == TURNS[1:2]
    for number, each in enumerate(ids[3:], 3):
        with pytest.raises(BodyMissing, match=each):
            reader.get(each)
        file_now, frame = frames_of(root)[number - 2]
        with pytest.raises(FrameError):
            body_of(file_now, frame)
