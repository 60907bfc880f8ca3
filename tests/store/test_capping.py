"""The size cap over real stores: the oldest of all keys go, the store is small enough then, and it is said."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import capping as capping_module
from store import purge as purge_module
from store.errors import StoreUnavailable
from store.layout import Layout
from store.local import LocalStore
from store.purge_index import PurgeIndex
from store.reader import LocalReader
from store.record import Key, Transport
from store.sizes import measure
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
from tests.store.test_pins import killing
from tests.store.test_reader import ids
from tests.store.test_sweep import Killed

HOUR_MS = 3_600_000


def taken(store: LocalStore) -> int:
    sizes = measure(store.layout)
    return sizes.segment_bytes + sizes.part_bytes


def everything(reader: LocalReader) -> list[str]:
    """Every record, by its end, the oldest first."""
    found = []
    before = None
    while rows := reader.records(before=before, limit=200):
        found += rows
        before = rows[-1].id
    return [row.id for row in sorted(found, key=lambda row: row.completed_ms or 1 << 62)]


@pytest.fixture
def keys(store: LocalStore) -> list[Key]:
    return [store.add_key(f"k{each}", f"{SECRET}{each}", 24 * 3600) for each in range(2)]


@pytest.fixture
def filled(store: LocalStore, reader: LocalReader, keys: list[Key]) -> list[str]:
    """Sixty records of two keys by turns, a minute after each other, in two writers' segments; some
    6 KB each that do not compress. The oldest first."""
    for half in range(2):
        with writing(store) as writer:
            made = [
                record(
                    writer,
                    keys[number % 2],
                    started_ms=now_ms() - 2 * HOUR_MS + 60_000 * number,
                    response=[os.urandom(6_000)],
                ).id
                for number in range(half * 30, half * 30 + 30)
            ]
            for each in made:
                done(reader, each)
    return everything(reader)


@pytest.mark.check(55)
@pytest.mark.parametrize("share", [99, 90, 50, 10, 1])
def test_the_oldest_of_all_keys_go_until_it_is_small_enough(
    store: LocalStore, reader: LocalReader, filled: list[str], share: int
) -> None:
    before = taken(store)
    cap = before * share // 100
    lines: list[str] = []
    bodies = {each: reader.get(each) for each in filled}
    deleted = store.sweep(lines.append, max_bytes=cap)

    left = everything(reader)
    assert filled[deleted:] == left
    assert taken(store) <= cap * 95 // 100 or not left
    # No more than was needed, but for what spares rewriting, and a segment's own head.
    assert taken(store) >= cap * 90 // 100 - 8_000
    for each in left:
        was, now = bodies[each], reader.get(each)
        assert was is not None
        assert now is not None
        assert was.response_body == now.response_body
    (line,) = lines
    assert f"flowtap_max_size: {deleted} record" in line
    told = reader.limits()
    assert (deleted, taken(store), 0) == (told.deleted, told.bytes, told.stuck_bytes)
    assert 0 == store.sweep(lines.append, max_bytes=cap)
    assert 1 == len(lines)
    assert deleted == reader.limits().deleted


def test_below_the_cap_nothing_goes(
    store: LocalStore, reader: LocalReader, filled: list[str]
) -> None:
    files = [(path, path.stat().st_mtime_ns) for path in segment_files(store.layout.root)]
    lines: list[str] = []
    assert 0 == store.sweep(lines.append, max_bytes=taken(store))
    assert [] == lines
    assert files == [(path, path.stat().st_mtime_ns) for path in segment_files(store.layout.root)]
    told = reader.limits()
    assert (None, taken(store), 0) == (told.max_bytes, told.bytes, told.deleted)
    assert told.looked_ms is not None
    assert told.deleted_ms is None


def test_what_is_pinned_stays_and_that_it_is_all_is_said_once(
    store: LocalStore, reader: LocalReader, filled: list[str]
) -> None:
    pinned = [filled[0], filled[31]]
    store.pin(pinned)
    lines: list[str] = []
    assert 58 == store.sweep(lines.append, max_bytes=2_000)
    assert pinned == everything(reader)
    assert all(reader.get(each) is not None for each in pinned)
    assert 2 == len(lines)
    assert "pinned or in flight: nothing else is deleted" in lines[1]
    assert taken(store) - 2_000 == reader.limits().stuck_bytes
    assert 0 == store.sweep(lines.append, max_bytes=2_000)
    assert 2 == len(lines)
    # Once there is something to delete again that is deleted, and no more.
    assert 0 == store.unpin([pinned[1]])
    assert 1 == store.sweep(lines.append, max_bytes=2_000)
    assert [pinned[0]] == everything(reader)
    assert 0 == store.sweep(lines.append, max_bytes=1 << 30)
    assert 0 == reader.limits().stuck_bytes


@pytest.mark.check(48)
def test_what_is_in_flight_counts_and_stays(
    store: LocalStore, reader: LocalReader, keys: list[Key], filled: list[str]
) -> None:
    before = taken(store)
    with writing(store) as writer:
        live = record(writer, keys[0], response=[os.urandom(100_000)], end=False)
        until(lambda: measure(store.layout).part_bytes >= 100_000)
        until(lambda: reader.meta(live.id))
        deleted = store.sweep(max_bytes=before)
        assert 100_000 < deleted * 7_000
        assert [*filled[deleted:], live.id] == everything(reader)
        live.end(10, Transport.COMPLETE)
        assert 100_000 == len(done(reader, live.id).response_body.data)


@pytest.mark.parametrize("pins", [False, True])
def test_sessions_of_deltas_come_down_to_the_cap(
    store: LocalStore, reader: LocalReader, keys: list[Key], pins: bool
) -> None:
    """What a cut leaves behind becomes whole, and a segment may even grow: it is looked at again."""
    sessions = [session(seed, 12, 60_000, 90_000, 20_000) for seed in range(3)]
    with writing(store) as writer:
        number = 0
        for turns in zip(*sessions, strict=True):
            for body in turns:
                started = now_ms() - 2 * HOUR_MS + 60_000 * number
                made = record(writer, keys[0], started_ms=started, request=[body]).id
                done(reader, made)
                number += 1
    before = everything(reader)
    pinned = before[1:20:6] if pins else []
    store.pin(pinned)
    cap = taken(store) * 80 // 100
    lines: list[str] = []
    for _ in range(3):
        store.sweep(lines.append, max_bytes=cap)
        if taken(store) <= cap:
            break
    assert taken(store) <= cap or all(each in pinned for each in everything(reader))
    left = everything(reader)
    unpinned = [each for each in before if each not in pinned]
    assert [each for each in left if each not in pinned] == unpinned[len(before) - len(left) :]
    assert all(reader.get(each) is not None for each in left)


def test_a_round_has_a_bound_and_the_next_sweep_goes_on(
    store: LocalStore,
    reader: LocalReader,
    filled: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capping_module, "MOST", 2)
    monkeypatch.setattr(capping_module, "ROUNDS", 3)
    cap = taken(store) // 2
    lines: list[str] = []
    for number in range(1, 4):
        assert 6 == store.sweep(lines.append, max_bytes=cap)
        assert filled[6 * number :] == everything(reader)
    assert 18 == reader.limits().deleted
    assert 3 == len(lines)


@pytest.mark.check(71)
def test_a_key_that_cannot_be_purged_keeps_no_other_s(
    store: LocalStore,
    reader: LocalReader,
    keys: list[Key],
    filled: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    purge = purge_module.purge_key

    def failing(layout: Layout, index: PurgeIndex, key_id: str, *args: object) -> int:
        if key_id == keys[0].id:
            raise StoreUnavailable("the cause")
        return purge(layout, index, key_id, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(capping_module, "purge_key", failing)
    lines: list[str] = []
    assert 30 == store.sweep(lines.append, max_bytes=taken(store) // 4)
    assert "flowtap_max_size: key k0 failed: StoreUnavailable: the cause" == lines[0]
    assert 30 == len(reader.records(key_id=keys[0].id))


STEPS: list[tuple[object, str]] = [
    (PurgeIndex, "doom"),
    (PurgeIndex, "move"),
    (Path, "unlink"),
    (PurgeIndex, "buried"),
    (PurgeIndex, "tell"),
]


@pytest.mark.check(69)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[name for _, name in STEPS])
def test_a_cap_killed_anywhere_is_kept_by_the_next_sweep(
    store: LocalStore,
    reader: LocalReader,
    filled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    after: bool,
) -> None:
    cap = taken(store) // 2
    with monkeypatch.context() as patch:
        killing(patch, owner, step, after=after)
        with pytest.raises(Killed):
            store.sweep(max_bytes=cap)
    for _ in range(2):
        store.sweep(max_bytes=cap)
    left = everything(reader)
    assert taken(store) <= cap
    assert all(reader.get(each) is not None for each in left)
    # By turns two keys, one of which was served before the kill.
    assert set(filled[-20:]) <= set(left) <= set(filled[20:])


@pytest.fixture
def capped(store: LocalStore, filled: list[str]) -> Iterator[int]:
    """A running proxy that wants half of what there is."""
    cap = taken(store) // 2
    with writing(store) as writer:
        writer.counters.max_bytes = cap
        writer.announce("127.0.0.1:1")
        reader = store.reader()
        until(lambda: reader.limits().max_bytes)
        yield cap
        reader.close()


def test_whoever_sweeps_keeps_the_cap_of_a_running_proxy(
    store: LocalStore, reader: LocalReader, filled: list[str], capped: int
) -> None:
    assert capped == reader.limits().max_bytes
    assert [capped] == [proxy.max_bytes for proxy in reader.proxies()]
    assert 0 < store.sweep(max_bytes=taken(store) - 1)
    assert taken(store) <= capped


def test_the_cap_of_a_proxy_that_is_gone_is_none(
    store: LocalStore, reader: LocalReader, filled: list[str]
) -> None:
    with writing(store) as writer:
        writer.counters.max_bytes = 1
        writer.announce("127.0.0.1:1")
        until(lambda: reader.limits().max_bytes)
    assert reader.limits().max_bytes is None
    assert 0 == store.sweep()
    assert filled == everything(reader)


@pytest.mark.check(70)
def test_a_writer_keeps_its_cap_by_itself(
    store: LocalStore, reader: LocalReader, filled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.local.FIRST_SWEEP_S", 0.05)
    monkeypatch.setattr("store.local.SWEEP_EVERY_S", 0.05)
    cap = taken(store) // 2
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        assert filled == everything(reader)
        writer.counters.max_bytes = cap
        until(lambda: taken(store) <= cap)
        until(lambda: lines)
    assert filled[-len(ids(reader.records(limit=200))) :] == everything(reader)


def test_no_byte_of_what_went_is_left(
    store: LocalStore, reader: LocalReader, root: Path, keys: list[Key]
) -> None:
    canary = b"canary-of-the-cap-5b1f"
    with writing(store) as writer:
        for number in range(20):
            started = now_ms() - 2 * HOUR_MS + 60_000 * number
            body = [canary if number < 10 else b"later", os.urandom(3_000)]
            made = record(
                writer, keys[0], started_ms=started, request=body, path=f"/v1/{body[0]!r}"
            )
            done(reader, made.id)
    assert files_with(root, canary)
    assert 10 <= store.sweep(max_bytes=taken(store) // 2)
    assert [] == files_with(root, canary)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (10_239, "10,239 bytes"),
        (10_240, "10.0 KB"),
        (10 << 20, "10.0 MB"),
        (10 << 30, "10.0 GB"),
        (2_000 << 30, "2,000.0 GB"),
    ],
)
def test_amounts(size: int, text: str) -> None:
    assert text == capping_module._amount(size)


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [(-5, "0s"), (59_999, "59s"), (60_000, "1m"), (7_200_000, "2h"), (10**9, "11d")],
)
def test_ages(age_ms: int, text: str) -> None:
    assert text == capping_module._ago(age_ms)
