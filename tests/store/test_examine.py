"""What an examination sees, of stores of every kind; and that it changes none of them."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from store import examine
from store.deep_look import DeepLook
from store.examine import Examination
from store.health import DeepSeen, SegmentSeen
from store.layout import Layout, Lock, make_folder
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key
from tests.store.builders import SECRET, done, parts, record, segment_files, until, writing
from tests.store.test_recovery import CHUNK, HEAD, ID, part_of
from tests.store.test_schema import older as older

COUNT = 6


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is never coming here."""
    monkeypatch.setattr(examine, "LOCK_WAIT_S", 0.05)
    monkeypatch.setattr(examine, "BUSY_S", 0.05)
    monkeypatch.setattr(examine, "AGAIN_S", 0.0)


@pytest.fixture
def made(store: LocalStore, key: Key, reader: LocalReader) -> list[str]:
    with writing(store) as writer:
        ids = [record(writer, key, response=[os.urandom(200)]).id for _ in range(COUNT)]
        for each in ids:
            done(reader, each)
    return ids


def everything(root: Path) -> tuple[object, ...]:
    """Every method, on a store in whatever state."""
    with Examination(root) as look:
        return (
            look.root(),
            list(look.entries()),
            look.space(),
            look.pieces(),
            look.locks(),
            look.databases(),
            look.writers(),
            look.keys(),
            look.log(),
            look.proxies(),
            look.segments(),
            deep(look),
        )


def deep(look: Examination) -> DeepSeen:
    return DeepLook(look).everything(lambda at, total: None)


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time and content of everything. By another process, as in files_with."""
    code = """
import os, sys, json
for folder, _, files in os.walk(sys.argv[1]):
    for path in [folder, *(os.path.join(folder, each) for each in files)]:
        info = os.lstat(path)
        data = b'' if path == folder or not os.path.isfile(path) else open(path, 'rb').read()
        print(json.dumps([path, info.st_mode, info.st_mtime_ns, data.hex()]))
"""
    ran = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True
    )
    import json

    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    return {path: (mode, at, data) for path, mode, at, data in rows}


# -- well -----------------------------------------------------------------------------------------


def test_a_store_that_is_well(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, made: list[str]
) -> None:
    with writing(store) as writer:
        writer.announce("127.0.0.1:9")
        until(reader.proxies)
        live = record(writer, key, end=False)
        until(lambda: reader.meta(live.id))
        with Examination(root) as look:
            assert {"folder"} == {look.root() and look.root().kind}  # type: ignore[union-attr]
            assert {"file", "folder"} == {entry.kind for entry in look.entries()}
            assert [False] * 3 == [lock.stuck or lock.missing for lock in look.locks()]
            for database in look.databases():
                assert (False, None, (), (), ()) == (
                    database.missing,
                    database.error,
                    database.damage,
                    database.older,
                    database.newer,
                )
            keys = look.keys()
            assert keys is not None
            assert (frozenset({key.id}), 1, 32) == (keys.ids, keys.on, keys.secret_bytes)
            (own,) = look.writers()
            assert (True, 1, 0, os.getpid()) == (own.alive, own.parts, own.recoverable, own.pid)
            (proxy,) = look.proxies()
            assert ("127.0.0.1:9", True, None) == (proxy.address, proxy.alive, proxy.error)
            seen = look.segments()
            assert seen is not None
            assert (COUNT, 0, ()) == (
                sum(each.rows for each in seen.segments),
                seen.tombstones,
                seen.strangers,
            )
            assert not any(each.odd for each in seen.segments)
            assert DeepSeen(COUNT) == deep(look)
            space = look.space()
            assert space.free is not None
            assert space.total is not None
            assert 0 < space.free <= space.total


@pytest.mark.parametrize("log", ["with its log", "without"])
def test_it_changes_nothing(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str], tmp_path: Path, log: str
) -> None:
    """Nor does it make SQLite's files where nobody has the index open."""
    reader.close()
    store.close()
    if log == "without":
        with closing(sqlite3.connect(root / "index.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert not (root / "index.db-wal").exists()
    else:
        copy = tmp_path / "copy"
        hanging = sqlite3.connect(root / "index.db")
        hanging.execute("SELECT * FROM records").fetchall()
        hanging.execute("UPDATE counters SET value = value + 1")
        hanging.commit()
        shutil.copytree(root, copy)
        hanging.close()
        root = copy
    before = snapshot(root)
    everything(root)
    after = snapshot(root)
    shared = str(root / "index.db-shm")
    assert before.pop(shared, None) is None or log != "without"
    after.pop(shared, None)
    assert before == after


# -- not well -------------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


def torn(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.rename(path.with_suffix(".was"))
    path.symlink_to(path.with_suffix(".was"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARMS = [garbage, torn, cut, empty, gone, link, folder]


@pytest.mark.check(50)
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("file", ["index.db", "keys.db"])
def test_a_damaged_database(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    made: list[str],
    file: str,
    harm: Callable[[Path], None],
) -> None:
    """It is told, and all the rest is looked at."""
    reader.close()
    store.close()
    for leftover in ("-wal", "-shm"):
        (root / f"{file}{leftover}").unlink(missing_ok=True)
    harm(root / file)
    everything(root)
    with Examination(root) as look:
        (seen,) = (each for each in look.databases() if each.path.endswith(file))
        if harm is empty:
            assert seen.older
        else:
            assert seen.missing or seen.error or seen.damage
        if file == "index.db" and harm is not empty:
            # An index that cannot be trusted says nothing about the files.
            assert look.segments() is None


@pytest.mark.parametrize("what", ["secret", "segments", "live", "lock.ckpt", "lock.schema"])
@pytest.mark.parametrize("harm", [gone, link, garbage])
def test_a_store_with_something_else_in_its_place(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    made: list[str],
    what: str,
    harm: Callable[[Path], None],
) -> None:
    reader.close()
    store.close()
    if (root / what).is_dir():
        shutil.rmtree(root / what)
        (root / what).touch()
    harm(root / what)
    everything(root)
    with Examination(root) as look:
        kinds = {Path(entry.path).name: entry.kind for entry in look.entries()}
        assert (None if harm is gone else "link" if harm is link else "file") == kinds.get(what)


def test_no_store_and_an_empty_one(tmp_path: Path) -> None:
    with Examination(tmp_path / "absent") as look:
        assert look.root() is None
    assert everything(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    everything(tmp_path / "empty")
    with Examination(tmp_path / "empty") as look:
        assert all(each.missing for each in look.databases())
        assert all(each.missing for each in look.locks())
        assert look.keys() is None


def test_an_older_store(older: Path) -> None:
    everything(older)
    with Examination(older) as look:
        assert all(each.older and not each.newer for each in look.databases())
        keys = look.keys()
        assert keys is not None
        assert (2, 1) == (len(keys.ids), keys.on)


def test_a_newer_store(store: LocalStore, root: Path, made: list[str]) -> None:
    for file in ("index.db", "keys.db"):
        with closing(sqlite3.connect(root / file)) as connection, connection:
            connection.execute(
                "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
                " VALUES ('x', 'm999_wings', '2099')"
            )
    with closing(sqlite3.connect(root / "index.db")) as connection, connection:
        connection.execute("ALTER TABLE records ADD COLUMN wings TEXT")
        connection.execute("ALTER TABLE proxies RENAME COLUMN error TO mishap")
    everything(root)
    with Examination(root) as look:
        assert [("m999_wings",)] * 2 == [each.newer for each in look.databases()]
        assert DeepSeen(COUNT) == deep(look)
        assert [] == look.proxies()


def test_a_locked_store(store: LocalStore, reader: LocalReader, root: Path) -> None:
    """Keys are kept to itself by who changes them, the index is read all the same."""
    reader.close()
    with closing(sqlite3.connect(root / "keys.db", isolation_level=None)) as hogging:
        hogging.execute("BEGIN EXCLUSIVE")
        with Examination(root) as look:
            keys, index = look.databases()
            assert (True, False) == (keys.locked, index.locked)
            assert look.keys() is None
            assert look.segments() is not None


@pytest.mark.parametrize("name", ["lock.schema", "lock.ckpt", "lock.sweep"])
def test_a_lock_that_is_kept(store: LocalStore, root: Path, name: str) -> None:
    lock = Lock(root / name)
    lock.take()
    with Examination(root) as look:
        (seen,) = (each for each in look.locks() if each.name == name)
        assert seen.held
        # A sweep may take its time.
        assert (name != "lock.sweep") == seen.stuck
        if Path("/proc/locks").exists():
            assert os.getpid() in {holder.pid for holder in seen.holders}
    lock.release()
    with Examination(root) as look:
        assert not any(each.held for each in look.locks())


def test_a_file_system_without_locks(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refusing(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refusing)
    with Examination(root) as look:
        assert ["No locks available"] * 3 == [each.error for each in look.locks()]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells who has it open")
def test_who_has_the_index_open(store: LocalStore, root: Path) -> None:
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM records'); print('x', flush=True); sys.stdin.read()"
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, str(root / "index.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with Examination(root) as look:
            assert process.pid in {holder.pid for holder in look.log().holders}
        process.communicate()


# -- the index against the files ------------------------------------------------------------------


def odd(root: Path) -> list[SegmentSeen]:
    with Examination(root) as look:
        seen = look.segments()
        assert seen is not None
        return [each for each in seen.segments if each.odd]


def test_segments_and_rows(store: LocalStore, root: Path, key: Key, made: list[str]) -> None:
    (file,) = segment_files(root)
    data = file.read_bytes()
    assert [] == odd(root)
    file.write_bytes(data + b"more")
    (found,) = odd(root)
    assert (len(data) + 4, len(data), COUNT) == (found.size, found.indexed, found.rows)
    file.write_bytes(data[:-9])
    (found,) = odd(root)
    assert (len(data) - 9, len(data)) == (found.size, found.indexed)
    file.write_bytes(data)
    unknown = file.with_name("01JX4000000000000000000000.seg")
    unknown.write_bytes(b"x")
    (found,) = odd(root)
    assert (1, None, 0) == (found.size, found.indexed, found.rows)
    unknown.unlink()
    file.unlink()
    (found,) = odd(root)
    assert (None, COUNT, False) == (found.size, found.rows, found.put_aside)
    piece = root / "quarantine" / key.id / f"{file.stem}-40.bad"
    piece.parent.mkdir(parents=True)
    piece.write_bytes(b"x")
    (found,) = odd(root)
    assert found.put_aside
    with Examination(root) as look:
        assert [(str(piece), file.stem, 40, 1)] == [
            (each.path, each.source, each.start, each.size) for each in look.pieces()
        ]


def test_a_writer_at_work_is_ahead_of_the_index(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    with writing(store) as writer:
        done(reader, record(writer, key).id)
        (file,) = segment_files(root)
        with file.open("ab") as appending:
            appending.write(b"what it is writing now")
        assert [] == odd(root)
    assert 1 == len(odd(root))


def test_what_is_odd_for_a_moment_is_not_odd(
    store: LocalStore, root: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = segment_files(root)
    away = root / "away"
    file.rename(away)
    monkeypatch.setattr("store.examine.time.sleep", lambda _: away.rename(file))
    assert [] == odd(root)


def test_tombstones_and_strangers(store: LocalStore, root: Path, made: list[str]) -> None:
    stranger = root / "segments" / ("f" * 16)
    make_folder(stranger)
    (stranger / "01JX4000000000000000000000.seg").touch()
    make_folder(root / "segments" / ("e" * 16))
    with store._managed() as index, index.transaction() as connection:
        connection.execute("INSERT INTO tombstones VALUES ('x/y.seg', 1)")
    with Examination(root) as look:
        seen = look.segments()
        assert seen is not None
        assert (1, (("f" * 16, 1),)) == (seen.tombstones, seen.strangers)


@pytest.mark.parametrize(
    ("state", "recoverable"), [("on", 1), ("off", 0), ("removed", 0), ("stored", 0), ("noise", 0)]
)
def test_what_the_dead_have_left(
    store: LocalStore, root: Path, key: Key, made: list[str], state: str, recoverable: int
) -> None:
    if state == "off":
        store._keys.set_retention("one", None)
    left = root / "live" / ("d" * 16)
    left.mkdir()
    (left / "lock").touch()
    name = made[0] if state == "stored" else ID
    content = (
        b"noise"
        if state == "noise"
        else part_of("f" * 16 if state == "removed" else key.id, HEAD, CHUNK)
    )
    (left / f"{name}.part").write_bytes(content)
    (left / "notes.txt").touch()
    with Examination(root) as look:
        (seen,) = look.writers()
        assert (False, 1, recoverable) == (seen.alive, seen.parts, seen.recoverable)
    if recoverable:
        store.writer().close()
        assert [] == parts(root)


def test_a_link_in_it_is_not_followed(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "deep.seg").touch()
    for place in ("segments/link", "live/link", "quarantine"):
        (root / place).symlink_to(outside)
    with Examination(root) as look:
        assert not [entry for entry in look.entries() if entry.path.endswith("deep.seg")]
        assert 3 == sum(entry.kind == "link" for entry in look.entries())
        assert ([], []) == (look.pieces(), look.writers())
    assert Layout(root).segments.exists()


def test_a_second_key_and_its_secret(store: LocalStore, root: Path, key: Key) -> None:
    store.add_key("two", SECRET + "2")
    (root / "secret").write_bytes(b"short")
    with Examination(root) as look:
        keys = look.keys()
    assert keys is not None
    assert (2, 1, 5) == (len(keys.ids), keys.on, keys.secret_bytes)
