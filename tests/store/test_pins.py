"""Pins: past its retention a pinned record is shown and kept, and nothing else is."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store import purge as purge_module
from store.errors import BadInput, BodyMissing, StoreUnavailable
from store.frames import Kind, frame_at
from store.key_folder import seize
from store.local import LocalStore, rebuild_store
from store.pins import Pins
from store.purge_index import PurgeIndex
from store.quarantine import pieces
from store.reader import LocalReader
from store.record import Key, State, Transport
from store.segments import SegmentWriter
from tests.store.agentic import session
from tests.store.builders import (
    SECRET,
    done,
    files_with,
    now_ms,
    record,
    segment_files,
    until,
    writing,
)
from tests.store.test_local import CANARY, HOUR_MS, old_and_new
from tests.store.test_reader import fill, ids, number
from tests.store.test_sweep import Killed


@pytest.fixture
def key(store: LocalStore) -> Key:
    return store.add_key("one", SECRET, 24 * 3600)


def pins_of(root: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(root / "keys.db")) as connection:
        return [row[0] for row in connection.execute("SELECT record_id FROM pins ORDER BY 1")]


def expire(store: LocalStore) -> None:
    """As time would: what is two hours old is expired, and still there."""
    store._keys.set_retention("one", 3600)


def delete(store: LocalStore, how: str) -> None:
    """What a retention that has passed comes to, in whatever way."""
    if how == "lowering":
        store.set_retention("one", 3600)
        return
    expire(store)
    match how:
        case "purge":
            store.purge()
        case "purge of the key":
            store.purge("one")
        case "rebuild":
            store.rebuild()
        case "start":
            store.writer().close()
    store.sweep()


@pytest.mark.check(62, 64, 70)
@pytest.mark.parametrize("new", [0, 4])
@pytest.mark.parametrize(
    "how", ["sweep", "purge", "purge of the key", "lowering", "rebuild", "start"]
)
def test_what_is_pinned_is_shown_and_kept_and_nothing_else(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, how: str, new: int
) -> None:
    gone, kept = old_and_new(store, reader, key, new=new)
    before = reader.get(gone[1])
    assert before is not None
    assert not before.meta.pinned
    assert 1 == store.pin([gone[1]])
    delete(store, how)

    shown = [*kept[::-1], gone[1]]
    assert shown == ids(reader.records()) == ids(reader.records(key_id=key.id))
    assert [gone[1]] == [row.id for row in reader.news(0, key_id=key.id) if row.pinned]
    after = reader.get(gone[1])
    assert after is not None
    assert after.meta.pinned
    assert before.request_body == after.request_body
    assert before.response_body == after.response_body
    assert before.request == after.request
    assert len(shown) == reader.counts().records == reader.counts(key.id).records
    assert 1 == reader.pinned() == reader.pinned(key.id)
    assert all(reader.get(each) is None for each in gone if each != gone[1])
    # In the one segment it lies in, and in its row.
    holding = files_with(root, CANARY)
    assert {".seg", ".db"} >= {Path(each).suffix for each in holding}
    assert 1 == len([each for each in holding if each.endswith(".seg")])


@pytest.mark.check(62, 64)
def test_unpinning_an_expired_record_deletes_it_before_it_returns(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    gone, kept = old_and_new(store, reader, key)
    store.pin(gone[:2])
    store.set_retention("one", 3600)

    assert 1 == store.unpin([gone[0]])
    assert [*kept[::-1], gone[1]] == ids(reader.records())
    assert [gone[1]] == pins_of(root)
    assert 1 == store.unpin(gone[1:2])
    assert kept[::-1] == ids(reader.records())
    assert [] == pins_of(root) == files_with(root, CANARY)
    with pytest.raises(BadInput, match=f"No record {gone[1]}"):
        store.unpin([gone[1]])


def test_unpinning_what_is_not_expired_deletes_nothing(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    gone, kept = old_and_new(store, reader, key)
    store.pin(gone)
    files = segment_files(root)
    assert 0 == store.unpin([gone[0], gone[0], kept[0]])
    assert files == segment_files(root)
    assert sorted(gone[1:]) == pins_of(root)
    assert 8 == len(reader.records())


@pytest.mark.check(65, 74)
@pytest.mark.parametrize("how", ["off", "remove", "sweep"])
def test_of_a_key_that_is_off_nothing_is_kept_pinned_or_not(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, how: str
) -> None:
    other = store.add_key("two", SECRET + "2", 3600)
    gone, _ = old_and_new(store, reader, key)
    with writing(store) as writer:
        stays = record(writer, other).id
        done(reader, stays)
    store.pin([*gone, stays])
    match how:
        case "off":
            assert 8 == store.set_retention("one", None)
        case "remove":
            assert 8 == store.remove_key("one")
        case _:
            store._keys.set_retention("one", None)
            assert [stays] == ids(reader.records()) == ids(reader.records(pinned=True))
            assert 8 == store.sweep()

    assert [stays] == pins_of(root) == ids(reader.records())
    assert [] == files_with(root, CANARY)
    if how != "remove":
        store.set_retention("one", 3600)
        assert [stays] == ids(reader.records())


@pytest.mark.parametrize("which", ["unknown", "expired", "off", "no id"])
def test_what_is_not_shown_is_not_pinned_and_nothing_with_it(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, which: str
) -> None:
    gone, kept = old_and_new(store, reader, key)
    other = store.add_key("two", SECRET + "2", 3600)
    fill(store, other.id, range(1))
    wrong = {"unknown": number(7), "expired": gone[0], "off": number(0), "no id": "../x"}[which]
    if which == "expired":
        expire(store)
    if which == "off":
        store._keys.set_retention("two", None)
    for ask in (store.pin, store.unpin):
        with pytest.raises(BadInput, match="not a record id" if which == "no id" else "No record"):
            ask([kept[0], wrong])
    assert [] == pins_of(root)


def test_pins_are_counted_once(store: LocalStore, reader: LocalReader, root: Path) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(5))
    assert 2 == store.pin([number(1), number(2), number(1)])
    assert 1 == store.pin([number(2), number(3)])
    assert 0 == store.pin([])
    assert 0 == store.unpin([])
    assert [number(each) for each in (1, 2, 3)] == pins_of(root)


def test_a_key_that_is_switched_off_meanwhile_gets_no_pin(store: LocalStore, root: Path) -> None:
    """Between the look at the record and the pin: what is switched off then takes no pin with it."""
    key = store.add_key("one", SECRET)
    with pytest.raises(BadInput, match="just switched"):
        Pins(store._db, store.layout.keys).add({number(1): key.id}, now_ms())
    assert [] == pins_of(root)


def test_while_a_purge_has_the_key_nothing_of_it_is_pinned(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.local.LOCK_WAIT_S", 0.1)
    monkeypatch.setattr("store.purge.LOCK_WAIT_S", 0.1)
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(1))
    purging = seize(store.layout, key.id, timeout_s=1.0)
    assert purging is not None
    with pytest.raises(StoreUnavailable, match="being purged"):
        store.pin([number(0)])
    assert [] == pins_of(root)
    purging.release()
    assert 1 == store.pin([number(0)])


@pytest.mark.check(48)
def test_a_record_in_flight_may_be_pinned_and_counts_from_its_end(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    with writing(store) as writer:
        slow = record(writer, key, started_ms=now_ms() - 2 * HOUR_MS, end=False)
        row = until(lambda: reader.meta(slow.id))
        assert row is not None
        assert (State.LIVE, False) == (row.state, row.pinned)
        store.pin([slow.id])
        live = reader.get(slow.id)
        assert live is not None
        assert live.meta.pinned
        slow.end(10, Transport.COMPLETE)
        assert done(reader, slow.id).meta.pinned
    store.set_retention("one", 3600)
    assert [slow.id] == ids(reader.records())
    assert 1 == store.unpin([slow.id])
    assert [] == reader.records()


@pytest.mark.check(65)
def test_a_pinned_record_in_flight_of_a_key_that_is_switched_off_goes(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    with writing(store) as writer:
        slow = record(writer, key, request=[CANARY], end=False)
        until(lambda: reader.meta(slow.id))
        store.pin([slow.id])
        store.set_retention("one", None)
        slow.end(10, Transport.COMPLETE)
    assert [] == pins_of(root) == files_with(root, CANARY)


def test_a_follower_hears_of_pins(store: LocalStore, reader: LocalReader) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(2))
    for change in (store.pin, store.unpin):
        version, generation = reader.version(), reader.generation()
        change([number(0)])
        assert version < reader.version()
        assert generation < reader.generation()


def test_pins_outlive_the_index(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    gone, kept = old_and_new(store, reader, key)
    store.pin([gone[2]])
    store.set_retention("one", 3600)
    store.close()
    (root / "index.db").unlink()
    assert 5 == rebuild_store(root)
    assert [*kept[::-1], gone[2]] == ids(reader.records())
    assert reader.get(gone[2]) is not None


def test_a_pinned_record_lies_apart_and_is_not_moved_again(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    """No later sweep rewrites the segment of what stays for its pin alone."""
    gone, kept = old_and_new(store, reader, key)
    store.pin([gone[0], gone[3]])
    store.set_retention("one", 3600)
    assert 2 == len(segment_files(root))
    places = dict(reader._all("SELECT id, segment FROM records"))
    assert places[gone[0]] == places[gone[3]] != places[kept[0]]
    files = [(path, path.stat().st_mtime_ns) for path in segment_files(root)]
    assert 0 == store.sweep()
    assert 0 == store.purge()
    assert files == [(path, path.stat().st_mtime_ns) for path in segment_files(root)]


def test_of_a_chain_of_deltas_any_one_may_be_pinned(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    turns = list(session(7, 8, 12_000, 40_000, 6_000))
    with writing(store) as writer:
        made = []
        for body in turns:
            made.append(record(writer, key, started_ms=now_ms() - 2 * HOUR_MS, request=[body]).id)
            done(reader, made[-1])
    store.pin([made[3], made[6]])
    assert 6 == store.set_retention("one", 3600)
    for each in (3, 6):
        found = reader.get(made[each])
        assert found is not None
        assert turns[each] == found.request_body.data
    assert 1 == store.unpin([made[3]])
    found = reader.get(made[6])
    assert found is not None
    assert turns[6] == found.request_body.data


def test_what_is_left_of_a_damaged_pinned_record_stays_as_long_as_its_pin(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    gone, kept = old_and_new(store, reader, key)
    store.pin(gone[:2])
    ((_, record_at),) = reader._all("SELECT start, record_at FROM records WHERE id = ?", gone[:1])
    (file,) = segment_files(root)
    data = bytearray(file.read_bytes())
    last = frame_at(bytes(data), record_at)
    assert last is not None
    assert Kind.RECORD == last.kind
    data[last.end - 1] ^= 1
    file.write_bytes(data)
    before = now_ms() - HOUR_MS - 60_000
    # So old that all of its pieces are expired.
    os.utime(file, ns=(before * 1_000_000, before * 1_000_000))
    store.set_retention("one", 3600)
    store.sweep()
    assert [*kept[::-1], gone[1], gone[0]] == ids(reader.records())
    with pytest.raises(BodyMissing, match="What is left of it"):
        reader.get(gone[0])
    assert reader.get(gone[1]) is not None
    assert 1 == len(pieces(store.layout))
    assert 1 == store.unpin([gone[0]])
    store.sweep()
    assert [] == pieces(store.layout)
    assert [gone[1]] == pins_of(root)


PINNING = """
import sys
from pathlib import Path
from store.errors import StoreError
from store.local import LocalStore

store = LocalStore(Path(sys.argv[1]))
for record_id in sys.argv[2:]:
    try:
        store.pin([record_id])
    except StoreError:
        continue
    print(record_id, flush=True)
store.close()
"""


@pytest.mark.check(69)
def test_what_another_process_pins_while_a_purge_runs_is_there_or_was_refused(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    gone, kept = old_and_new(store, reader, key, old=60)
    command = [sys.executable, "-c", PINNING, str(root), *gone]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pinning:  # noqa: S603
        assert pinning.stdout is not None
        told = [pinning.stdout.readline().strip() for _ in range(5)]
        store.set_retention("one", 3600)
        told += pinning.stdout.read().split()
    assert 0 == pinning.returncode
    assert gone[:5] == told[:5]
    assert sorted(told) == pins_of(root)
    assert [*kept[::-1], *reversed(told)] == ids(reader.records(limit=200))
    assert all(reader.get(each) is not None for each in (*kept, *told))


# -- pages ------------------------------------------------------------------------------------------


@pytest.mark.check(51, 52, 55)
@pytest.mark.parametrize("page", [1, 7, 200])
def test_pages_of_the_pinned(store: LocalStore, reader: LocalReader, page: int) -> None:
    one, two = store.add_key("one", SECRET, 3600), store.add_key("two", SECRET + "1", 3600)
    fill(store, one.id, range(0, 60, 2), completed_ms=1)
    fill(store, two.id, range(1, 60, 2))
    Pins(store._db, store.layout.keys).add(
        {number(each): one.id for each in range(0, 60, 6)}
        | {number(each): two.id for each in range(3, 60, 6)},
        now_ms(),
    )
    for key_id, expected in (
        (None, range(0, 60, 3)),
        (one.id, range(0, 60, 6)),
        (two.id, range(3, 60, 6)),
        ("removed", range(0)),
    ):
        found: list[str] = []
        before = None
        while rows := reader.records(key_id=key_id, before=before, limit=page, pinned=True):
            assert all(row.pinned for row in rows)
            found += ids(rows)
            before = rows[-1].id
        assert [number(each) for each in reversed(expected)] == found
        assert len(expected) == reader.pinned(key_id)
    assert 40 == len(reader.records(limit=200))


@pytest.mark.check(54)
@pytest.mark.parametrize("rows", [10, 5_000])
@pytest.mark.parametrize("pins", [0, 1, 500])
@pytest.mark.parametrize("call", ["records", "key", "pinned", "pinned page", "key's pinned"])
def test_lists_with_pins_run_on_one_index_in_its_own_order(
    store: LocalStore,
    reader: LocalReader,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    pins: int,
    rows: int,
) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(rows), completed_ms=1)
    Pins(store._db, store.layout.keys).add(
        {number(each): key.id for each in range(min(pins, rows))}, now_ms()
    )
    # Told how many there are, SQLite might choose another plan.
    store._db.execute("ANALYZE")
    with contextlib.closing(sqlite3.connect(store.layout.index)) as connection, connection:
        connection.execute("ANALYZE")
    reader.close()
    asked: list[tuple[str, object]] = []
    answer = reader._all

    def noted(sql: str, parameters: object = ()) -> list[object]:
        asked.append((sql, parameters))
        return answer(sql, parameters)

    monkeypatch.setattr(reader, "_all", noted)
    before = number(rows)
    found = {
        "records": lambda: reader.records(before=before),
        "key": lambda: reader.records(key_id=key.id),
        "pinned": lambda: reader.records(pinned=True),
        "pinned page": lambda: reader.records(pinned=True, before=before),
        "key's pinned": lambda: reader.records(pinned=True, key_id=key.id, before=before),
    }[call]()
    assert min(pins, rows, 100) == len(found)
    sql, parameters = next(each for each in asked if "records" in each[0])
    plan = " | ".join(row[3] for row in answer(f"EXPLAIN QUERY PLAN {sql}", parameters))

    assert "TEMP B-TREE" not in plan
    assert "MULTI-INDEX" not in plan
    if "pinned" in call:
        assert plan.index("pins") < plan.index("records")
        assert "records USING INDEX sqlite_autoindex_records_1 (id=?)" in plan
    elif call == "key":
        assert "records_key_id (key_id=?" in plan
    else:
        assert "autoindex" in plan


# -- a kill in between --------------------------------------------------------------------------------


STEPS: list[tuple[object, str]] = [
    (purge_module, "_take_stock"),
    (PurgeIndex, "doom"),
    (SegmentWriter, "append_raw"),
    (SegmentWriter, "sync"),
    (PurgeIndex, "move"),
    (Path, "unlink"),
    (PurgeIndex, "buried"),
    (PurgeIndex, "checkpoint"),
]


def killing(monkeypatch: pytest.MonkeyPatch, owner: object, step: str, *, after: bool) -> None:
    original = getattr(owner, step)

    def kill(*args: object, **kwargs: object) -> object:
        if after:
            original(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(owner, step, kill)


FINISHERS: dict[str, Callable[[LocalStore], object]] = {
    "start": lambda store: store.writer().close(),
    "sweep": lambda store: None,
    "rebuild": lambda store: store.rebuild(),
}


@pytest.mark.check(69)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("finisher", FINISHERS)
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[name for _, name in STEPS])
def test_a_purge_killed_anywhere_loses_nothing_that_is_pinned(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    after: bool,
    finisher: str,
) -> None:
    gone, kept = old_and_new(store, reader, key)
    store.pin([gone[1]])
    bodies = {each: reader.get(each) for each in (*kept, gone[1])}
    with monkeypatch.context() as patch:
        killing(patch, owner, step, after=after)
        with pytest.raises(Killed):
            store.set_retention("one", 3600)
    assert reader.get(gone[1]) is not None
    FINISHERS[finisher](store)
    store.sweep()

    assert [*kept[::-1], gone[1]] == ids(reader.records())
    for each, body in bodies.items():
        found = reader.get(each)
        assert found is not None
        assert body is not None
        assert body.request_body == found.request_body
    assert 1 == store.unpin([gone[1]])
    assert [] == files_with(root, CANARY)


@pytest.mark.check(69)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("finisher", FINISHERS)
@pytest.mark.parametrize(
    ("owner", "step"), [*STEPS, (Pins, "remove")], ids=[*(name for _, name in STEPS), "remove"]
)
def test_unpinning_killed_anywhere_is_finished_or_not_begun(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    after: bool,
    finisher: str,
) -> None:
    gone, kept = old_and_new(store, reader, key)
    store.pin(gone[:2])
    store.set_retention("one", 3600)
    with monkeypatch.context() as patch:
        killing(patch, owner, step, after=after)
        if step in ("_take_stock", "append_raw", "sync"):
            # Its segment, that of the pinned, is old as a whole.
            patch.setattr(purge_module, "_boundary", lambda layout, doomed, cutoff: doomed)
        with pytest.raises(Killed):
            store.unpin([gone[0]])
    unpinned = pins_of(root) == [gone[1]]
    assert unpinned or (step, after) == ("remove", False)
    assert unpinned == (gone[0] not in ids(reader.records()))
    FINISHERS[finisher](store)
    store.sweep()

    left = [gone[1]] if unpinned else [gone[1], gone[0]]
    assert [*kept[::-1], *left] == ids(reader.records())
    assert all(reader.get(each) is not None for each in (*kept, *left))
    store.unpin(left)
    assert [] == files_with(root, CANARY)


@pytest.mark.check(69)
@pytest.mark.parametrize("pin_first", [False, True])
@pytest.mark.parametrize("raised", [False, True])
def test_a_purge_killed_between_its_rows_is_finished(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
    raised: bool,
    pin_first: bool,
) -> None:
    """Some of what it was to delete is still shown where the retention is raised at once: until it
    is finished it can even be pinned."""
    monkeypatch.setattr("store.purge_index.CHANGE_ROWS", 1)
    gone, kept = old_and_new(store, reader, key)
    if pin_first:
        store.pin([gone[0]])
    with monkeypatch.context() as patch:
        killing(patch, PurgeIndex, "checkpoint", after=True)
        with pytest.raises(Killed):
            store.set_retention("one", 3600)
    if raised:
        store._keys.set_retention("one", 24 * 3600)
    survivors = ids(reader.records())
    assert set(kept) < set(survivors) if raised or pin_first else kept[::-1] == survivors
    pinned = [gone[0]] if pin_first else []
    if raised:
        store.pin([gone[3]])
        pinned.insert(0, gone[3])
    store.sweep()

    assert [*kept[::-1], *pinned] == ids(reader.records())
    assert all(reader.get(each) is not None for each in (*kept, *pinned))
    for each in pinned:
        store.unpin([each])
    store.set_retention("one", 3600)
    assert kept[::-1] == ids(reader.records())
    assert [] == files_with(root, CANARY)


@pytest.mark.check(69)
def test_unpinning_after_a_killed_purge_and_a_raised_retention_keeps_what_is_in_it(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The killed purge had passed it over; by the retention of now it is not expired."""
    gone, kept = old_and_new(store, reader, key)
    store.pin([gone[1]])
    with monkeypatch.context() as patch:
        killing(patch, PurgeIndex, "doom", after=True)
        with pytest.raises(Killed):
            store.set_retention("one", 3600)
    store._keys.set_retention("one", 24 * 3600)
    assert 0 == store.unpin([gone[1]])
    store.sweep()
    assert [*kept[::-1], gone[1]] == ids(reader.records())
    assert all(reader.get(each) is not None for each in (*kept, gone[1]))
