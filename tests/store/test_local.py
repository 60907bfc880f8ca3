"""Retentions carried out: what a change deletes is gone when the call returns, and nothing else."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.index import Index
from store.key_folder import share
from store.layout import Layout
from store.local import LocalStore, rebuild_store
from store.reader import LocalReader
from store.record import Key
from tests.store.builders import (
    PATIENCE_S,
    SECRET,
    done,
    files_with,
    now_ms,
    parts,
    record,
    segment_files,
    until,
    writing,
)

CANARY = b"canary-2b8d17f0c4"
HOUR_MS = 3_600_000


def old_and_new(
    store: LocalStore, reader: LocalReader, key: Key, *, old: int = 4, new: int = 4
) -> tuple[list[str], list[str]]:
    """Records two hours old, all with a canary in every place, and fresh ones, in one segment."""
    with writing(store) as writer:
        gone = [
            record(
                writer,
                key,
                started_ms=now_ms() - 2 * HOUR_MS,
                request=[b'{"model":"' + CANARY + b'","n":%d}' % each],
                response=[b"data: " + CANARY + b"\n\n"],
                path=f"/v1/messages?{CANARY.decode()}",
            ).id
            for each in range(old)
        ]
        kept = [
            record(writer, key, request=[b'{"n":%d}' % each, b"k" * 3000]).id for each in range(new)
        ]
        for each in (*gone, *kept):
            done(reader, each)
    return gone, kept


@pytest.mark.check(64, 69)
@pytest.mark.parametrize("writer_lives", [False, True])
def test_lowering_deletes_what_is_expired_before_it_returns(
    store: LocalStore, reader: LocalReader, root: Path, writer_lives: bool
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    writer = store.writer() if writer_lives else None
    gone, kept = old_and_new(store, reader, key)
    before = {each: reader.get(each) for each in kept}
    files = segment_files(root)
    generation = reader.generation()
    assert files_with(root, CANARY)

    assert 4 == store.set_retention("one", 3600)
    assert [] == files_with(root, CANARY)
    assert kept[::-1] == [row.id for row in reader.records()]
    assert all(reader.get(each) is None for each in gone)
    for each in kept:
        was, now = before[each], reader.get(each)
        assert was is not None
        assert now is not None
        assert (was.meta, was.request, was.request_body, was.response, was.response_body) == (
            now.meta,
            now.request,
            now.request_body,
            now.response,
            now.response_body,
        )
    assert generation < reader.generation()
    assert not set(files) & set(segment_files(root))
    assert 0 == store.set_retention("one", 24 * 3600)
    assert kept[::-1] == [row.id for row in reader.records()]
    if writer is not None:
        done(reader, record(writer, reader.key("one")).id)
        writer.close()


@pytest.mark.check(55, 60, 65)
def test_switching_off_deletes_everything_of_the_key_before_it_returns(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    key, other = store.add_key("one", SECRET, 24 * 3600), store.add_key("two", SECRET + "2", 3600)
    old_and_new(store, reader, key)
    with writing(store) as writer:
        kept = record(writer, other).id
        done(reader, kept)
        assert 8 == store.set_retention("one", None)

    assert [] == files_with(root, CANARY)
    assert {other.id} == {path.parent.name for path in segment_files(root)}
    assert [kept] == [row.id for row in reader.records()]
    assert 0 == store.set_retention("one", None)
    assert 0 == store.set_retention("one", 60)
    with writing(store) as writer:
        done(reader, record(writer, reader.key("one")).id)


@pytest.mark.check(74)
def test_removing_a_key_deletes_its_records_first(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    old_and_new(store, reader, key)

    assert 8 == store.remove_key("one")
    assert [] == files_with(root, CANARY)
    assert [] == reader.keys()
    assert [] == list((root / "segments").iterdir())
    with pytest.raises(BadInput):
        store.remove_key("one")


@pytest.mark.check(74)
def test_a_purge_that_fails_leaves_a_key_that_can_be_removed_again(
    store: LocalStore, reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.purge.LOCK_WAIT_S", 0.1)
    key = store.add_key("one", SECRET, 24 * 3600)
    old_and_new(store, reader, key)
    stuck = share(store.layout, key.id)
    assert stuck is not None
    for attempt in ("remove", "off"):
        with pytest.raises(StoreUnavailable, match="in use by a proxy"):
            store.remove_key("one") if attempt == "remove" else store.set_retention("one", None)
        assert [key.id] == [each.id for each in reader.keys()]
        assert [] == reader.records()
    stuck.release()
    assert 8 == store.set_retention("one", None)
    assert 0 == store.remove_key("one")


@pytest.mark.check(61, 66, 67)
def test_changes_that_delete_nothing(store: LocalStore, reader: LocalReader, root: Path) -> None:
    store.add_key("none", SECRET + "9")
    for retention_s in (3600, 60, 7200, None, None):
        assert 0 == store.set_retention("none", retention_s)
    key = store.add_key("one", SECRET, 24 * 3600)
    gone, kept = old_and_new(store, reader, key)
    files = [(path, path.stat().st_mtime_ns) for path in segment_files(root)]
    for retention_s in (24 * 3600, 48 * 3600, 48 * 3600):
        assert 0 == store.set_retention("one", retention_s)
        assert [*gone, *kept][::-1] == [row.id for row in reader.records()]
    assert files == [(path, path.stat().st_mtime_ns) for path in segment_files(root)]


@pytest.mark.check(3)
@pytest.mark.parametrize("retention_s", [0, -1, 315_360_001])
def test_what_is_no_retention_changes_nothing(
    store: LocalStore, reader: LocalReader, key: Key, retention_s: int
) -> None:
    with pytest.raises(BadInput):
        store.set_retention("one", retention_s)

    assert [key] == reader.keys()


def test_purging_by_hand_deletes_the_expired_of_one_key_or_of_all(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    keys = [store.add_key(f"k{each}", f"{SECRET}{each}", 24 * 3600) for each in range(2)]
    for key in keys:
        old_and_new(store, reader, key)
    for key in keys:
        # As time would: what is expired is hidden, and still there.
        store._keys.set_retention(key.name, 3600)
    assert 8 == len(reader.records())
    assert 4 == store.purge("k0")
    assert files_with(root, CANARY)
    assert 4 == store.purge()
    assert 0 == store.purge()
    assert [] == files_with(root, CANARY)
    assert 8 == len(reader.records())


@pytest.mark.check(64)
def test_a_reader_in_mid_read_keeps_the_log_only_until_the_next_sweep(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.purge.CHECKPOINT_WAIT_S", 0.1)
    key = store.add_key("one", SECRET, 24 * 3600)
    old_and_new(store, reader, key)
    hanging = Index(store.layout).connection
    hanging.execute("BEGIN")
    hanging.execute("SELECT * FROM records").fetchone()
    assert 4 == store.set_retention("one", 3600)
    assert 4 == len(reader.records())
    hanging.execute("ROLLBACK")
    hanging.close()
    store.sweep()
    assert [] == files_with(root, CANARY)


@pytest.mark.check(55, 64)
@pytest.mark.parametrize("writers", [1, 3])
def test_a_purge_while_writers_write_at_full_speed(
    store: LocalStore, reader: LocalReader, root: Path, writers: int
) -> None:
    """Nothing that should survive is lost, nothing that should go stays."""
    key = store.add_key("one", SECRET, 24 * 3600)
    stop = threading.Event()
    old: list[str] = []
    new: list[str] = []

    def write() -> None:
        with writing(store) as writer:
            while not stop.is_set():
                for _ in range(20):
                    begun = now_ms() - 2 * HOUR_MS
                    old.append(record(writer, key, started_ms=begun, request=[CANARY]).id)
                    new.append(record(writer, key).id)
                stop.wait(0.03 * writers**2)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    deleted = 0
    for _ in range(3):
        before = len(new)
        until(lambda: len(new) > before + 100)  # noqa: B023
        deleted += store.set_retention("one", 3600)
        store.set_retention("one", 24 * 3600)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    deleted += store.set_retention("one", 3600)

    assert len(old) == deleted
    assert [] == files_with(root, CANARY)
    found: list[str] = []
    before_id = None
    while rows := reader.records(before=before_id, limit=200):
        found += [row.id for row in rows]
        before_id = rows[-1].id
    assert sorted(new) == found[::-1]
    for each in found[::7]:
        stored = reader.get(each)
        assert stored is not None
        assert b'{"model":"m-1"}' == stored.request_body.data
    assert [] == parts(root)


def test_off_and_on_while_writers_write_leaves_only_what_came_after(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    stop = threading.Event()

    def write(writer_store: LocalStore) -> None:
        with writing(writer_store) as writer:
            while not stop.wait(0.01):
                record(writer, key, request=[CANARY], response=[CANARY] * 3)

    threads = [threading.Thread(target=write, args=(store,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        until(reader.records)
        store.set_retention("one", None)
        assert [] == files_with(root, CANARY)
        assert [] == reader.records()
        store.set_retention("one", 3600)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    store.set_retention("one", None)
    assert [] == files_with(root, CANARY)
    assert [] == segment_files(root)


def test_a_rebuild_makes_the_same_rows(
    store: LocalStore, reader: LocalReader, key: Key, root: Path
) -> None:
    with writing(store) as writer:
        made = [record(writer, key).id for _ in range(100)]
        for each in made:
            done(reader, each)
        before = [{**_values(row), "seq": 0} for row in reader.records(limit=200)]
        assert 100 == store.rebuild()
        after = record(writer, key).id
        done(reader, after)
        assert 101 == rebuild_store(root)
    rows = reader.records(limit=200)

    assert before == [{**_values(row), "seq": 0} for row in rows[1:]]
    assert after == rows[0].id
    assert all(reader.get(each) for each in made)


def _values(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in type(row).__slots__}  # type: ignore[attr-defined]


def test_a_store_can_be_copied_whole(
    store: LocalStore, reader: LocalReader, key: Key, root: Path, tmp_path: Path
) -> None:
    with writing(store) as writer:
        made = record(writer, key).id
        done(reader, made)
    store.close()
    before = os.umask(0o000)
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = LocalStore(tmp_path / "copy")
    os.umask(before)
    copied = copy.reader()

    assert copied.get(made) is not None
    with writing(copy) as writer:
        assert writer.keys.match([SECRET.encode()], ()) == key
    assert 0o700 == (tmp_path / "copy").stat().st_mode & 0o777
    copied.close()
    copy.close()


def test_opening_a_store_again_and_again_disturbs_no_writer(
    store: LocalStore, reader: LocalReader, key: Key, root: Path
) -> None:
    """What a sweeper does in the proxy's process: SQLite's locks there must outlive it.

    Without them another process takes itself for the last one, and takes the log away.
    """
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM records').fetchall(); c.close()"
    wal = root / "index.db-wal"
    with writing(store) as writer:
        for _ in range(3):
            one = record(writer, key).id
            LocalStore(root).close()
            done(reader, one)
            inode = wal.stat().st_ino
            subprocess.run([sys.executable, "-c", code, str(root / "index.db")], check=True)  # noqa: S603
            assert inode == wal.stat().st_ino
    assert 3 == len(reader.records())
    assert 0 == Layout(root).index.with_name("index.db-wal").stat().st_size
