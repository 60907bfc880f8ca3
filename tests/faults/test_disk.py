"""A disk that is full or fails: the proxy's side never raises, losses are counted, and it goes on alone."""

import errno
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import StoreUnavailable
from store.index import Index
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Transport
from store.writer import LocalWriter
from tests.faults.processes import kill, python, wait_for_line
from tests.faults.test_kill import check
from tests.store.builders import (
    SECRET,
    done,
    now_ms,
    record,
    request_head,
    response_head,
    segment_files,
    until,
    writing,
)

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


def mount(*arguments: str) -> bool:
    return subprocess.run(["/usr/bin/env", *arguments], capture_output=True).returncode == 0  # noqa: S603


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or not mount("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)):
        pytest.skip("only root, where mounts are allowed, can make a small disk")
    yield place
    mount("umount", "-l", str(place))


def fill(file: Path) -> None:
    """Take all room there is."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, bytes(4096)):
            pass
    except OSError as exc:
        if exc.errno != errno.ENOSPC:
            raise
    finally:
        os.close(fd)


@pytest.mark.check(17)
def test_a_full_disk_costs_only_what_passed_while_it_was_full(small_disk: Path) -> None:
    root = small_disk / "store"
    store = LocalStore(root)
    key = store.add_key("one", SECRET, 24 * 3600)
    reader = store.reader()
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        writer.announce("127.0.0.1:1")
        before = record(writer, key).id
        done(reader, before)
        live = record(writer, key, response=[b"early"], end=False)
        until(lambda: reader.live_bytes(live.id))
        filler = small_disk / "filler"
        fill(filler)
        begun = [record(writer, key, response=[os.urandom(9_000)] * 9, end=False) for _ in range(3)]
        live.response_chunk(9, os.urandom(20_000))
        until(lambda: lines)
        for each in begun:
            each.response_chunk(99, b"late")
            each.end(100, Transport.COMPLETE)
        time.sleep(0.5)
        assert all(reader.get(each) for each in [before])
        filler.unlink()
        # Nobody tells it: what had ended is stored, and what begins now is stored whole.
        after = record(writer, key).id
        assert b"data: 1\n\ndata: 2\n\n" == done(reader, after).response_body.data
        for each in begun:
            stored = done(reader, each.id)
            kept = len(stored.request_body.data) + len(stored.response_body.data)
            assert 15 + 81_000 + 4 == stored.meta.lost_bytes + kept
        live.end(200, Transport.COMPLETE)
        stored = done(reader, live.id)
        assert b"early" == stored.response_body.data
        assert 20_000 == stored.meta.lost_bytes
        lost = sum((reader.meta(each.id) or stored.meta).lost_bytes for each in (*begun, live))
        until(lambda: reader.proxies()[0].lost_bytes == lost)
        until(lambda: reader.proxies()[0].error is None)
        assert 0 == reader.proxies()[0].lost_records
    assert 1 == len([line for line in lines if "the store fails" in line])
    assert "No space" in lines[0] or "full" in lines[0]
    assert all(reader.get(row.id) for row in reader.records())
    reader.close()
    store.close()


def test_a_store_on_a_full_disk_is_unavailable_not_broken(small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(StoreUnavailable) as caught:
        LocalStore(small_disk / "store")
    assert str(small_disk) in str(caught.value)
    (small_disk / "filler").unlink()
    LocalStore(small_disk / "store").close()


@needs_strace
@pytest.mark.parametrize(
    "inject",
    [
        "fdatasync:error=EIO:when=3+5",
        "write:error=ENOSPC:when=200..260",
        "write:error=EIO:when=150+9",
        "pwrite64:error=ENOSPC:when=40..45",
        "openat:error=EMFILE:when=600+7",
        "unlink:error=EIO:when=1+2",
    ],
)
def test_injected_errors_end_no_thread_and_make_no_wrong_byte(
    store: LocalStore, reader: LocalReader, root: Path, tmp_path: Path, inject: str
) -> None:
    store.add_key("one", SECRET, 24 * 3600)
    ledger = tmp_path / "ledger"
    call = inject.partition(":")[0]
    strace = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    with python(
        "-m",
        "tests.faults.writer_process",
        root,
        ledger,
        "5",
        before=[*strace, "-e", f"inject={inject}"],
    ) as process:
        try:
            wait_for_line(process, "ready")
        except AssertionError:
            pytest.skip("the injection hit the start-up")
        until(lambda: len(list(ledger.iterdir())) > 40, 40)
        # Its thread lives and stores what ends now.
        seen = reader.last_seq()
        until(lambda: any(row.verdict is not None for row in reader.news(seen)))
        assert process.poll() is None
        kill(process)
    store.writer().close()

    assert len(check(reader, [ledger])) > 20


def test_a_failed_sync_moves_what_was_written_to_another_segment(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    failing = [False]
    sync = os.fdatasync
    failed: list[int] = []

    def fdatasync(fd: int) -> None:
        if failing[0]:
            failing[0] = False
            failed.append(fd)
            raise OSError(5, "Input/output error")
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with writing(store) as writer:
        first = record(writer, key).id
        done(reader, first)
        failing[0] = True
        moved = [record(writer, key, request=[b"moved %d" % each]).id for each in range(5)]
        stored = [done(reader, each) for each in moved]
    old, new = segment_files(root)

    assert 1 == len(failed)
    assert [b"moved %d" % each for each in range(5)] == [each.request_body.data for each in stored]
    assert {str(new)} == {each.file for each in stored}
    found = reader.get(first)
    assert found is not None
    assert str(old) == found.file
    assert b"moved" not in old.read_bytes()


def test_an_index_that_is_locked_for_long_loses_nothing(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.writer.INDEX_PATIENCE_S", 0.05)
    monkeypatch.setattr("store.filing.INDEX_RETRY_S", 0.05)
    key = store.add_key("one", SECRET, 24 * 3600)
    with writing(store) as writer:
        writer.announce("127.0.0.1:1")
        live = record(writer, key, end=False)
        until(lambda: reader.meta(live.id))
        hog = Index(store.layout)
        hog.connection.execute("BEGIN IMMEDIATE")
        made = [record(writer, key).id for _ in range(20)]
        size = reader.live_bytes(live.id) or 0
        live.response_chunk(60, b"x" * 500)
        # Parts go on while rows wait.
        until(lambda: (reader.live_bytes(live.id) or 0) > size)
        until(lambda: len(segment_files(root)) == 1)
        hog.connection.execute("ROLLBACK")
        hog.close()
        for each in made:
            done(reader, each)


def test_the_disk_s_refusal_of_one_byte_more_is_as_a_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: EFBIG, and a signal that Python ignores."""
    root = tmp_path / "store"
    code = f"""
import resource, sys
from store.local import LocalStore
from tests.store.builders import *
from pathlib import Path; store = LocalStore(Path({str(root)!r})); key = store.add_key("one", SECRET, 86400); reader = store.reader()
writer = store.writer(print); writer.announce("127.0.0.1:1")
done(reader, record(writer, key).id)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
import os
big = record(writer, key, response=[os.urandom(90_000)], end=False)
until(lambda: reader.proxies()[0].lost_bytes or reader.proxies()[0].error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
big.end(9, Transport.COMPLETE)
print("lost", done(reader, big.id).meta.lost_bytes)
done(reader, record(writer, key).id)
writer.close(); reader.close(); store.close()
"""
    with python("-c", code) as process:
        out, err = process.communicate(timeout=60)

    assert "lost 90015" in out, err
    assert "the store fails: OSError" in out
    assert "Traceback" not in err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@needs_strace
def test_a_read_error_is_one_record_s_and_kills_nobody(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    with writing(store) as writer:
        ids = [record(writer, key).id for _ in range(3)]
        for each in ids:
            done(reader, each)
    (segment,) = segment_files(root)
    code = f"""
from store.errors import BodyMissing
from store.location import open_reader
reader = open_reader({str(root)!r})
print(len(reader.records()))
for row in reader.records():
    try:
        reader.get(row.id); print("whole")
    except BodyMissing as exc:
        print("missing", "Input/output error" in str(exc))
"""
    strace = [
        str(STRACE),
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        str(segment),
        "-e",
        "trace=pread64",
    ]
    inject = ["-e", "inject=pread64:error=EIO:when=1"]
    with python("-c", code, before=[*strace, *inject]) as process:
        out, err = process.communicate(timeout=60)

    assert ["3", "missing True", "whole", "whole"] == out.split("\n")[:-1], err


def test_a_stalled_disk_stops_neither_the_loop_nor_memory_s_bound(
    store: LocalStore, reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    stalled, go_on = threading.Event(), threading.Event()
    write = os.write

    def slow(fd: int, data: bytes) -> int:
        stalled.set()
        assert go_on.wait(30)
        return write(fd, data)

    writer = LocalWriter(store.layout, lambda _: None, queue_bytes=2**20)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", slow)
        one = writer.begin(key, now_ms(), request_head(), "messages")
        assert stalled.wait(30)
        one.response_head(1, response_head())
        for at_ms in range(4_000):
            one.response_chunk(at_ms, b"x" * 1_000)
        go_on.set()
        one.end(5_000, Transport.COMPLETE)
        stored = done(reader, one.id)

    assert stored.meta.lost_bytes + len(stored.response_body.data) == 4_000_000
    assert 0 < len(stored.response_body.data) < 2**20
    writer.close()
