"""What a writer says of itself before a call: whether a record begun now would be kept whole."""

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from store import summary
from store.local import LocalStore
from store.parts import PartFiles
from store.reader import LocalReader
from store.record import Key, RecordMeta, Transport
from store.segments import SegmentWriter
from store.writer import TRIES, LocalWriter
from tests.store.builders import (
    done,
    now_ms,
    parts,
    record,
    request_head,
    until,
    writing,
)


@contextmanager
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk on which the first write to a part hangs."""
    hanging, go_on = threading.Event(), threading.Event()
    create = PartFiles.create

    def hang(self: PartFiles, record_id: str, frames: bytes) -> None:
        hanging.set()
        go_on.wait(20)
        create(self, record_id, frames)

    monkeypatch.setattr(PartFiles, "create", hang)
    try:
        yield
    finally:
        go_on.set()


def test_a_writer_that_is_well_has_no_trouble_and_a_closed_one_says_so(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    with writing(store) as writer:
        assert writer.trouble is None
        done(reader, record(writer, key).id)
        assert writer.trouble is None
    assert "The recorder is closed." == writer.trouble


def test_a_disk_that_refuses_is_trouble_until_it_takes_again(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("store.status.TROUBLE_S", 0.05)
    monkeypatch.setattr("store.writer.RETRY_S", 0.01)
    with writing(store) as writer:
        writer.announce("127.0.0.1:8080")
        with monkeypatch.context() as patch:
            patch.setattr(SegmentWriter, "_append", refuse)
            one = record(writer, key)
            until(lambda: writer.trouble)
            assert "OSError: [Errno 28] No space left on device" == writer.trouble
            until(lambda: [each for each in reader.proxies() if each.error == writer.trouble])
        done(reader, one.id)
        until(lambda: writer.trouble is None)


def test_a_queue_that_is_full_is_trouble(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 64_000
    with stuck(monkeypatch):
        writer = LocalWriter(store.layout, lambda _: None, queue_bytes=limit)
        assert limit == writer.room
        one = writer.begin(key, now_ms(), request_head(), "messages")
        one.response_chunk(1, b"x" * (limit - 8_000))
        assert 0 < writer.room < 8_000
        assert writer.trouble is None
        one.response_chunk(2, b"x" * 4_000)
        assert "The queue to the disk is full." == writer.trouble
        one.response_chunk(3, b"x" * 4_000)
        one.end(4, Transport.COMPLETE)
    assert 4_000 == done(reader, one.id).meta.lost_bytes
    until(lambda: writer.room == limit)
    assert writer.trouble is None
    writer.close()


def test_a_disk_that_does_not_answer_is_trouble(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing(store) as writer:
        with stuck(monkeypatch):
            one = record(writer, key)
            assert writer.trouble is None
            with monkeypatch.context() as patch:
                patch.setattr("store.writer.STALL_S", 0.2)
                until(lambda: writer.trouble == "The disk has not answered for 0 s.")
        done(reader, one.id)
        assert writer.trouble is None


def test_a_record_that_fails_for_a_bug_is_given_up_and_no_trouble_for_ever(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.status.TROUBLE_S", 0.05)
    monkeypatch.setattr("store.writer.RETRY_S", 0.01)
    tried: list[str] = []
    summarize = summary.summarize

    def failing(seen: Any, *bodies: Any) -> RecordMeta:
        if seen.id == bad.id:
            tried.append(seen.id)
            raise RuntimeError("a bug")
        return summarize(seen, *bodies)

    with writing(store) as writer:
        bad = record(writer, key, end=False)
        monkeypatch.setattr("store.filing.summarize", failing)
        bad.end(9, Transport.COMPLETE)
        until(lambda: writer.trouble == "RuntimeError: a bug")
        until(lambda: writer.trouble is None)
        good = record(writer, key)
        done(reader, good.id)
    assert TRIES == len(tried)
    # Its part waits for a version that can store it.
    assert [bad.id] == [part.stem for part in parts(store.layout.root)]
    monkeypatch.undo()
    store.writer().close()
    assert b"data: 1\n\ndata: 2\n\n" == done(reader, bad.id).response_body.data


def test_a_record_may_be_begun_later_under_the_id_of_its_time(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    with writing(store) as writer:
        started = now_ms()
        held = writer.new_id(started)
        after = record(writer, key, started_ms=started + 1)
        late = writer.begin(key, started, request_head(), "messages", held)
        late.response_chunk(2, b"kept")
        late.end(3, Transport.COMPLETE)
        assert held == late.id
        done(reader, after.id)
        assert (started, b"kept") == (
            done(reader, held).meta.started_ms,
            done(reader, held).response_body.data,
        )
    assert [after.id, held] == [row.id for row in reader.records()]
    assert 2 == writer.counters.recorded
