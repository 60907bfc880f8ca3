"""What a file system does as a whole: it loses its power, stalls, takes no more writing, has no locks."""

import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from store.contract import Recording
from store.errors import StoreUnavailable
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, State, Transport
from store.writer import LocalWriter
from tests.faults.filesystems import disk
from tests.faults.length import reach
from tests.faults.processes import python, wait_for_line
from tests.faults.test_kill import all_rows, check
from tests.store.builders import (
    SECRET,
    done,
    now_ms,
    opened,
    parts,
    record,
    request_head,
    response_head,
    until,
    writing,
)


@pytest.mark.check(47)
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_power_cut_costs_no_record_that_was_committed(tmp_path: Path, kind: str) -> None:
    """What was fully written before is read as it was sent, what was not is a prefix or not there."""
    with disk(tmp_path, kind) as drive:
        root = drive.place / "store"
        with opened(root) as (store, _):
            store.add_key("one", SECRET, 24 * 3600)
        ledgers = []
        for cut in range(reach(2, 12)):
            ledgers.append(tmp_path / f"ledger{cut}")
            with python("-m", "tests.faults.writer_process", root, ledgers[-1]) as process:
                wait_for_line(process, "ready")
                with closing(LocalReader(root)) as reader:
                    stored = partial(ended, reader, reader.last_seq())
                    until(stored, 60)
                    committed = {row.id for row in all_rows(reader) if row.state is State.DONE}
                    drive.cut_power()
            drive.unmount()
            drive.mount()
            with opened(root) as (again, reading):
                again.writer().close()
                rows = check(reading, ledgers)
                assert committed <= set(rows)
                assert [] == parts(root)


def ended(reader: LocalReader, after: int) -> bool:
    return any(row.state is State.DONE for row in reader.news(after))


def test_a_frozen_disk_stops_neither_the_loop_nor_memory_s_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.writer.STALL_S", 0.3)
    with disk(tmp_path) as drive, opened(drive.place / "store") as (store, reader):
        key = store.add_key("one", SECRET, 24 * 3600)
        writer = LocalWriter(store.layout, lambda _: None, queue_bytes=2**20)
        before = done(reader, record(writer, key).id)

        def loop() -> Recording:
            one = writer.begin(key, now_ms(), request_head(), "messages")
            one.response_head(1, response_head())
            for at_ms in range(4_000):
                one.response_chunk(at_ms, b"x" * 1_000)
            return one

        with ThreadPoolExecutor(1) as thread, drive.frozen():
            # Where the disk held up who tells of what passes, this would not come back.
            one = thread.submit(loop).result(60)
            until(lambda: "has not answered" in (writer.trouble or ""))
        one.end(5_000, Transport.COMPLETE)
        stored = done(reader, one.id)

        assert 0 < len(stored.response_body.data) < 2**20
        assert 4_000_000 == stored.meta.lost_bytes + len(stored.response_body.data)
        assert before == reader.get(before.meta.id)
        until(lambda: writer.trouble is None)
        assert 0 == done(reader, record(writer, key).id).meta.lost_bytes
        writer.close()


def test_a_store_on_a_disk_that_takes_no_writing_is_said_with_its_path(tmp_path: Path) -> None:
    with disk(tmp_path) as drive:
        root = drive.place / "store"
        with opened(root) as (store, reader):
            key = store.add_key("one", SECRET, 24 * 3600)
            with writing(store) as writer:
                done(reader, record(writer, key).id)
        drive.read_only()
        for place in (root, drive.place / "new"):
            with pytest.raises(StoreUnavailable) as caught:
                LocalStore(place)
            assert str(place) in str(caught.value)
            assert "Read-only file system" in str(caught.value)
            assert "\n" not in str(caught.value)
        # SQLite may need to make a file even for reading: then that is what is said.
        said = ""
        try:
            with closing(LocalReader(root)) as reading:
                assert [reading.get(row.id) for row in reading.records()]
        except StoreUnavailable as exc:
            said = str(exc)
        assert said == "" or str(root) in said


def test_a_store_that_turns_read_only_goes_on_by_itself_afterwards(
    store: LocalStore, key: Key, reader: LocalReader, root: Path
) -> None:
    """Every file and folder is made immutable: what is open can be written no more either."""
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        before = done(reader, record(writer, key).id)
        live = record(writer, key, response=[b"early"], end=False)
        until(lambda: reader.live_bytes(live.id))
        with immutable(root):
            live.response_chunk(9, b"late")
            meanwhile = [record(writer, key).id for _ in range(3)]
            until(lambda: lines)
            assert writer.trouble is not None
        after = done(reader, record(writer, key).id)
        live.end(20, Transport.COMPLETE)
        stored = done(reader, live.id)
        for each in meanwhile:
            kept = done(reader, each)
            assert b"data: 1\n\ndata: 2\n\n".startswith(kept.response_body.data)
            passed = len(kept.request_body.data) + len(kept.response_body.data)
            assert 15 + 18 == passed + kept.meta.lost_bytes
        until(lambda: writer.trouble is None)

    assert b"earlylate".startswith(stored.response_body.data)
    assert 9 == len(stored.response_body.data) + stored.meta.lost_bytes
    assert 0 == after.meta.lost_bytes
    assert before == reader.get(before.meta.id)


@contextmanager
def immutable(root: Path) -> Iterator[None]:
    def change(flag: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - our own arguments
            ["/usr/bin/env", "chattr", "-f", "-R", flag, str(root)],
            capture_output=True,
            text=True,
            check=False,
        )

    refused = change("+i")
    try:
        if refused.returncode:
            pytest.skip(f"files cannot be made immutable here: {refused.stderr.strip()}")
        yield
    finally:
        change("-i")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_there_are_no_locks_a_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """As on some network file systems: two proxies would each take the other for dead."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    LocalStore(tmp_path / "made elsewhere").close()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with closing(LocalReader(tmp_path / "made elsewhere")) as reader:
        assert [] == reader.records()
    with pytest.raises(StoreUnavailable) as caught:
        LocalStore(tmp_path / "store")
    assert str(tmp_path / "store") in str(caught.value)
    assert f"this file system has no locks ({os.strerror(code)})" in str(caught.value)
