"""What the system refuses or does slowly: descriptors, whole writes, the room in the queue."""

import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.errors import BadInput
from store.ids import IdSource
from store.local import LocalStore
from store.location import open_store
from store.reader import LocalReader
from store.record import Key, Transport
from store.writer import LocalWriter
from tests.faults.length import reach
from tests.faults.processes import python
from tests.store.builders import (
    done,
    now_ms,
    record,
    request_head,
    response_head,
    segment_files,
    writing,
)

NO_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from store.local import LocalStore
from tests.store.builders import *
store = LocalStore(Path(sys.argv[1])); key = store.add_key("one", SECRET, 86400)
reader = store.reader(); lines = []
writer = store.writer(lines.append); writer.announce("127.0.0.1:1")
done(reader, record(writer, key).id)
live = record(writer, key, response=[b"early"], end=False)
until(lambda: reader.live_bytes(live.id))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
begun = [record(writer, key, response=[b"early"], end=False) for _ in range(5)]
ended = [record(writer, key) for _ in range(5)]
live.response_chunk(9, b"late")
until(lambda: writer.trouble)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for each in (live, *begun):
    each.end(20, Transport.COMPLETE)
for passed, each in [(24, live), *((20, each) for each in begun), *((33, each) for each in ended)]:
    stored = done(reader, each.id)
    kept = stored.request_body.data + stored.response_body.data
    assert (b'{"model":"m-1"}earlylate' if passed == 24 else b'{"model":"m-1"}early' if passed == 20
            else b'{"model":"m-1"}data: 1\\n\\ndata: 2\\n\\n').startswith(kept), kept
    print(each.id, passed == len(kept) + stored.meta.lost_bytes)
print("after", done(reader, record(writer, key).id).meta.lost_bytes)
until(lambda: writer.trouble is None)
writer.close(); reader.close(); store.close()
print([line for line in lines if "Too many open files" in line] != [], len(lines))
"""


def test_without_descriptors_what_is_not_kept_is_counted_and_it_goes_on_alone(root: Path) -> None:
    with python("-c", NO_DESCRIPTORS, root) as process:
        out, err = process.communicate(timeout=120)
    assert "" == err
    *records, after, told = out.splitlines()
    assert ["True"] * 11 == [line.split()[1] for line in records]
    assert "after 0" == after
    assert "True 1" == told


def test_a_disk_that_takes_seven_bytes_at_a_time_takes_everything(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    bodies = [os.urandom(900) for _ in range(6)]
    with writing(store) as writer:
        ids = []
        for body in bodies:
            live = record(writer, key, request=[body], response=[body, body], end=False)
            live.end(50, Transport.COMPLETE)
            ids.append(live.id)
        stored = [done(reader, each) for each in ids]
    assert bodies == [each.request_body.data for each in stored]
    assert [body * 2 for body in bodies] == [each.response_body.data for each in stored]
    assert 6 == store.rebuild()


def test_a_slow_disk_fills_the_queue_then_bodies_are_cut_and_counted(
    store: LocalStore, key: Key, reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sync = os.write, os.fdatasync

    def slow_write(fd: int, data: bytes) -> int:
        time.sleep(0.05)
        return write(fd, data)

    def slow_sync(fd: int) -> None:
        time.sleep(0.2)
        sync(fd)

    writer = LocalWriter(store.layout, lambda _: None, queue_bytes=2**18)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", slow_write)
        patch.setattr(os, "fdatasync", slow_sync)
        streams = [record(writer, key, response=(), end=False) for _ in range(4)]
        for at_ms in range(2_000):
            for each in streams:
                each.response_chunk(at_ms, b"x" * 500)
        for each in streams:
            each.end(5_000, Transport.COMPLETE)
        stored = [done(reader, each.id) for each in streams]
    lost = [each.meta.lost_bytes for each in stored]
    assert [1_000_000] * 4 == [
        lost_bytes + len(each.response_body.data)
        for lost_bytes, each in zip(lost, stored, strict=True)
    ]
    assert sum(lost) > 0
    assert 0 == done(reader, record(writer, key).id).meta.lost_bytes
    writer.close()


def test_ids_of_one_millisecond_in_many_processes_are_all_different() -> None:
    """Each counts on from a random start of its own, 80 bits wide."""
    code = """
import sys
from store.ids import IdSource
source = IdSource()
sys.stdin.readline()
for _ in range(5_000):
    print(source.new(1_700_000_000_000))
"""
    with ThreadPoolExecutor(4) as pool:

        def ids(_: int) -> list[str]:
            with python("-c", code, standard_input=True) as process:
                out, err = process.communicate("\n", timeout=120)
            assert not err
            return out.split()

        runs = list(pool.map(ids, range(4)))
    assert all(a < b for run in runs for a, b in itertools.pairwise(run))
    assert 20_000 == len({each for run in runs for each in run})
    assert {IdSource().new(1_700_000_000_000)[:10]} == {each[:10] for run in runs for each in run}


def test_one_byte_now_and_then_for_hours_is_seen_and_costs_no_memory(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other records come and go meanwhile, and their segment is sealed."""
    with writing(store) as writer:
        slow = record(writer, key, response=[b"s"], end=False)
        silent = writer.begin(key, now_ms(), request_head(), "messages")
        live = reader.live
        monkeypatch.setattr("store.filing.SEAL_BYTES", 1)
        for turn in range(1, reach(6, 60)):
            slow.response_chunk(turn * 10_000, b"s")
            done(reader, record(writer, key).id)
        part = None
        while part is None or len(part.response_chunks) < reach(6, 60):
            if part is not None:
                part.close()
            part = live(slow.id)
            assert part is not None
            part.poll()
        part.close()
        assert live(silent.id) is not None
        # All that is kept of what is in the part is a copy, bounded for each and for all.
        kept = [each.copied + each.waiting_bytes for each in writer._in_flight.all()]
        assert sum(kept) < 1_000
        slow.end(36_000_000, Transport.COMPLETE)
        silent.response_head(36_000_000, response_head())
        silent.end(36_000_001, Transport.COMPLETE)
        stored = done(reader, slow.id)
        assert b"" == done(reader, silent.id).response_body.data
    assert b"s" * reach(6, 60) == stored.response_body.data
    assert stored.response_body.arrivals[-1][0] == (reach(6, 60) - 1) * 10_000
    assert 36_000_000 == stored.meta.duration_ms
    assert reach(6, 60) + 1 >= len(segment_files(root)) > 1


@pytest.mark.parametrize("location", ["postgresql://127.0.0.1/flowtap", "s3://bucket/flowtap"])
def test_a_database_or_object_store_that_is_down(location: str) -> None:
    try:
        open_store(location)
    except BadInput as exc:
        pytest.skip(f"the scale-out store is not built: {exc}")
    pytest.fail("there is a scale-out store now: what it does when it is down is to be tested")
