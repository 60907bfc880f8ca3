"""A real store's rows added up: what a list would show, and every byte of the segments once."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from store import usage_reading
from store.frames import frame_at
from store.layout import make_folder
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, RecordMeta
from store.sizes import measure
from store.usage_reading import first_id, read_usage
from store.usage_stats import Added
from tests.store.builders import (
    SECRET,
    done,
    now_ms,
    record,
    segment_files,
    until,
    writing,
)

HOUR_MS = 3_600_000


def read(store: LocalStore, reader: LocalReader, *by: str, **more: object) -> Added:
    return read_usage(reader, store.layout, by, now_ms(), **more)  # type: ignore[arg-type]


def heads(root: Path) -> int:
    """What the segments take besides their records."""
    found = [frame_at(path.read_bytes(), 0) for path in segment_files(root)]
    return sum(frame.end for frame in found if frame is not None)


@pytest.fixture
def filled(store: LocalStore, reader: LocalReader) -> list[Key]:
    """Two keys, records by turns, two hours and no time old, one in three of the second key."""
    keys = [store.add_key("one", SECRET, 24 * 3600), store.add_key("two", SECRET + "2", 24 * 3600)]
    with writing(store) as writer:
        ids = [
            record(
                writer,
                keys[number % 3 == 0],
                started_ms=now_ms() - 2 * HOUR_MS * (number % 2),
                request=[b"x" * 10],
                response=[b"y" * number],
            ).id
            for number in range(30)
        ]
        for each in ids:
            done(reader, each)
    return keys


def test_everything(store: LocalStore, reader: LocalReader, root: Path, filled: list[Key]) -> None:
    found = read(store, reader, "key")
    assert {filled[0].id: 20, filled[1].id: 10} == {
        group.key_id: usage.requests for group, usage in found.groups
    }
    assert 300 + sum(range(30)) == found.total.wire_bytes
    assert measure(store.layout).segment_bytes == found.total.stored_bytes + heads(root)
    assert 50 == found.total.duration.at(0.5)


def test_of_one_key(store: LocalStore, reader: LocalReader, root: Path, filled: list[Key]) -> None:
    found = read(store, reader, "key", key_id=filled[1].id)
    assert [(filled[1].id, 10)] == [(each.key_id, usage.requests) for each, usage in found.groups]
    every = read(store, reader, "key")
    stored = {group.key_id: usage.stored_bytes for group, usage in every.groups}
    assert stored[filled[1].id] == found.total.stored_bytes


@pytest.mark.parametrize(("hours", "count"), [(1, 15), (3, 30), (0, 0)])
def test_since(
    store: LocalStore, reader: LocalReader, filled: list[Key], hours: int, count: int
) -> None:
    since_ms = now_ms() - hours * HOUR_MS
    assert count == read(store, reader, "key", since_ms=since_ms).total.requests


def test_a_page_at_a_time(
    store: LocalStore, reader: LocalReader, filled: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read(store, reader, "key", "day")
    monkeypatch.setattr(usage_reading, "ROWS", 7)
    told: list[tuple[int, int]] = []
    found = read(store, reader, "key", "day", progress=lambda at, end: told.append((at, end)))
    assert [(group, usage.requests, usage.stored_bytes) for group, usage in whole.groups] == [
        (group, usage.requests, usage.stored_bytes) for group, usage in found.groups
    ]
    assert sorted(told) == told
    assert told[-1][0] == told[-1][1]
    assert len(told) == 5


@pytest.mark.check(62)
@pytest.mark.parametrize("pinned", [0, 2])
def test_what_is_hidden_is_not_counted(
    store: LocalStore, reader: LocalReader, filled: list[Key], pinned: int
) -> None:
    old = [row.id for row in reader.records(key_id=filled[0].id) if _hours(row) > 1]
    store.pin(old[:pinned])
    store._keys.set_retention("one", 3600)
    store._keys.set_retention("two", None)
    found = read(store, reader, "key")
    assert len(reader.records()) == found.total.requests == 10 + pinned
    # What expired lies between them still, and is not counted with its neighbours.
    sizes = [usage.stored_bytes for _, usage in found.groups]
    store.purge()
    assert sizes == [usage.stored_bytes for _, usage in read(store, reader, "key").groups]


def _hours(row: RecordMeta) -> float:
    return (now_ms() - (row.completed_ms or 0)) / HOUR_MS


def test_in_flight_and_left_by_the_dead(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    with writing(store) as writer:
        live = record(writer, key, end=False)
        until(lambda: reader.meta(live.id))
        found = read(store, reader)
        assert (1, 1, 0) == (found.total.requests, found.total.live, found.total.errors)
        with closing(LocalStore(root)), store._managed() as index:
            connection = index.connection
            connection.execute("UPDATE records SET writer = 'gone'")
        make_folder(root / "live" / "gone")
        found = read(store, reader)
        assert {"interrupted": 1} == found.total.verdicts


def test_an_empty_store(store: LocalStore, reader: LocalReader) -> None:
    found = read(store, reader, "key")
    assert (0, [], None) == (found.total.requests, found.groups, found.others)


def test_no_cursor_is_held_while_others_write(
    store: LocalStore, reader: LocalReader, filled: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pages the log can be emptied."""
    monkeypatch.setattr(usage_reading, "ROWS", 7)
    emptied: list[bool] = []

    def between(_: int, __: int) -> None:
        def checkpoint() -> None:
            with store._managed() as index:
                emptied.append(index.checkpoint(truncate=True))

        thread = threading.Thread(target=checkpoint)
        thread.start()
        thread.join()

    read(store, reader, "key", progress=between)
    assert emptied
    assert all(emptied)


@pytest.mark.parametrize(
    ("at_ms", "found"),
    [
        (0, "0" * 26),
        (1, "0000000001" + "0" * 16),
        (31, "000000000Z" + "0" * 16),
        (32, "0000000010" + "0" * 16),
        ((1 << 48) - 1, "7ZZZZZZZZZ" + "0" * 16),
    ],
)
def test_the_least_id_of_a_millisecond(at_ms: int, found: str) -> None:
    assert found == first_id(at_ms)


def test_ids_are_not_before_the_least_of_their_time(
    store: LocalStore, reader: LocalReader, filled: list[Key]
) -> None:
    for row in reader.records():
        assert first_id(row.started_ms) <= row.id


def test_sizes(store: LocalStore, root: Path, filled: list[Key], tmp_path: Path) -> None:
    sizes = measure(store.layout)
    files = segment_files(root)
    assert (len(files), sum(path.stat().st_size for path in files)) == (
        sizes.segments,
        sizes.segment_bytes,
    )
    assert (0, 0, 0, 0) == (
        sizes.parts,
        sizes.part_bytes,
        sizes.quarantine,
        sizes.quarantine_bytes,
    )
    assert sizes.index_bytes > 0 < sizes.keys_bytes
    assert sizes.free_bytes is not None
    assert sizes.total_bytes == (
        sizes.segment_bytes + sizes.index_bytes + sizes.log_bytes + sizes.keys_bytes
    )
    folder = root / "quarantine" / filled[0].id
    folder.mkdir(parents=True)
    (folder / "x-0.bad").write_bytes(b"12345")
    (root / "quarantine" / "link").symlink_to(folder)
    texts = root / "fulltext" / filled[0].id
    texts.mkdir(parents=True)
    (texts / "2026-02-06.db").write_bytes(b"123")
    (folder / "link.bad").symlink_to(folder / "x-0.bad")
    sizes = measure(store.layout)
    assert (1, 5, 3) == (sizes.quarantine, sizes.quarantine_bytes, sizes.texts_bytes)
