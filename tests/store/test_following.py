"""Followers and the writer know nothing of each other: what a follower does never reaches a record."""

import os
import sqlite3
from pathlib import Path

import pytest

from store.errors import BadInput
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, Transport
from tests.store.builders import done, now_ms, record, until, writing


@pytest.mark.check(44, 77, 87)
def test_a_follower_that_hangs_in_mid_read_stops_nobody(
    store: LocalStore, key: Key, reader: LocalReader
) -> None:
    """A stopped process holds its read transaction open: others write and read on."""
    hung = sqlite3.connect(f"file:{store.layout.index}?mode=ro", uri=True)
    hung.execute("BEGIN")
    hung.execute("SELECT count(*) FROM records").fetchone()
    try:
        with writing(store) as writer:
            ids = [record(writer, key).id for _ in range(20)]
            until(lambda: reader.counts().records == 20)

        assert ids == [meta.id for meta in reversed(reader.records())]
        assert all(reader.get(record_id) is not None for record_id in ids)
    finally:
        hung.close()


@pytest.mark.check(44)
def test_a_follower_that_fails_is_not_told_to_the_writer(
    store: LocalStore, key: Key, reader: LocalReader
) -> None:
    said: list[str] = []
    with writing(store, said.append) as writer:
        begun = record(writer, key, end=False)
        live = until(lambda: reader.live(begun.id))
        assert live is not None
        live.close()
        with pytest.raises(OSError, match="file descriptor"):
            live.poll()
        begun.response_chunk(60, b"data: 3\n\n")
        begun.end(70, Transport.COMPLETE)

        assert b"data: 1\n\ndata: 2\n\ndata: 3\n\n" == done(reader, begun.id).response_body.data
    assert [] == said


@pytest.mark.check(79)
def test_following_begins_where_it_was_registered(
    store: LocalStore, key: Key, reader: LocalReader
) -> None:
    """However late the first read is, nothing since the registration is missing."""
    seq = reader.last_seq()
    with writing(store) as writer:
        ids = {record(writer, key).id for _ in range(3)}
        until(lambda: reader.counts().records == 3)

    assert ids == {meta.id for meta in reader.news(seq)}


@pytest.mark.check(81)
def test_a_follower_that_stops_frees_what_it_held(
    store: LocalStore, key: Key, reader: LocalReader
) -> None:
    """Its descriptor of the part too: a part that was unlinked lives on as long as one is open."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here to count descriptors with")
    with writing(store) as writer:
        begun = record(writer, key, end=False)
        until(lambda: reader.meta(begun.id))
        before = part_descriptors()
        part = reader.live(begun.id)
        assert part is not None
        part.poll()
        assert before + 1 == part_descriptors()
        part.close()

        assert before == part_descriptors()


def part_descriptors() -> int:
    """How many descriptors of parts this process has open, the writer's own among them."""
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.endswith(".part") for link in links)


@pytest.mark.check(48)
def test_expiry_counts_from_completion(store: LocalStore, key: Key, reader: LocalReader) -> None:
    """A request that took longer than the retention is there when it ends."""
    retention_ms = 1000 * (key.retention_s or 0)
    with writing(store) as writer:
        long = record(writer, key, started_ms=now_ms() - 2 * retention_ms, end=False)
        long.end(2 * retention_ms, Transport.COMPLETE)
        short = record(writer, key, started_ms=now_ms() - 2 * retention_ms)
        kept = done(reader, long.id)

    assert kept.meta.completed_ms is not None
    assert reader.meta(short.id) is None


@pytest.mark.check(46)
def test_an_unknown_key_is_an_error_not_a_silence(store: LocalStore, reader: LocalReader) -> None:
    with pytest.raises(BadInput, match="No key is named 'nope'"):
        reader.key("nope")
    with pytest.raises(BadInput, match="No key is named 'nope'"):
        store.set_retention("nope", 60)
    with pytest.raises(BadInput, match="No key is named 'nope'"):
        store.purge("nope")
