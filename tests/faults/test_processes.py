"""Several processes on one store: starting at once, writing at once, purging while others write."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from store.local import LocalStore
from store.reader import LocalReader
from store.record import Kept, Key, State
from tests.faults.processes import kill, python, wait_for_line
from tests.faults.test_kill import all_rows, check
from tests.store.builders import SECRET, files_with, parts, segment_files, until

ROUNDS = 3
START = """
import sys
from store.location import open_store
sys.stdin.readline()
store = open_store(sys.argv[1])
writer = store.writer()
writer.announce("127.0.0.1:1")
writer.close()
store.close()
print("fine")
"""

RING = """
import sys, time
from store.location import open_store
writer = open_store(sys.argv[1]).writer()
writer.counters.has_ring = True
writer.announce("127.0.0.1:1")
while not writer.asks():
    time.sleep(0.01)
print("asked", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_three_start_at_once_on_a_fresh_store(tmp_path: Path, attempt: int) -> None:
    with ExitStack() as stack:
        started = [
            stack.enter_context(python("-c", START, tmp_path / "s", standard_input=True))
            for _ in range(3)
        ]
        for process in started:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in started:
            wait_for_line(process, "fine")
            assert 0 == process.wait(60)


def test_two_write_one_is_killed_and_a_third_recovers_while_the_other_writes_on(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, tmp_path: Path
) -> None:
    ledgers = [tmp_path / "one", tmp_path / "two"]
    with (
        python("-m", "tests.faults.writer_process", root, ledgers[0], "5") as one,
        python("-m", "tests.faults.writer_process", root, ledgers[1], "5") as two,
    ):
        wait_for_line(one, "ready")
        wait_for_line(two, "ready")
        until(lambda: [True, True] == [status.alive for status in reader.proxies()])
        until(lambda: reader.counts().records > 40)
        kill(one)
        until(lambda: [False, True] == sorted(status.alive for status in reader.proxies()))
        store.writer().close()
        live = [row for row in all_rows(reader) if row.state is State.LIVE]
        assert all(row.verdict is None for row in live), "the living writer's records live on"
        seen = reader.counts().records
        until(lambda: reader.counts().records > seen + 10)
        kill(two)
    store.writer().close()

    check(reader, ledgers)
    assert [] == parts(root)


@pytest.mark.check(65)
def test_off_in_one_process_while_others_write_leaves_no_byte(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, tmp_path: Path
) -> None:
    with (
        python("-m", "tests.faults.writer_process", root, tmp_path / "one") as one,
        python("-m", "tests.faults.writer_process", root, tmp_path / "two") as two,
    ):
        for process in (one, two):
            wait_for_line(process, "ready")
        until(lambda: reader.counts().records > 60)
        stored = reader.counts().records - reader.counts().live
        # Those in flight may be dropped by their writers, which hear of it at once.
        assert stored <= store.set_retention("one", None)

        assert [] == files_with(root, b'"stream":')
        assert [] == parts(root)
        assert [] == segment_files(root)
        store.set_retention("one", 3600)
        until(lambda: reader.counts().records > 20)
        for process in (one, two):
            kill(process)
    store.writer().close()
    check(reader, [tmp_path / "one", tmp_path / "two"])
    store.remove_key("one")
    assert [] == files_with(root, b'"stream":')
    assert [] == files_with(root, SECRET.encode())


def test_a_proxy_killed_when_it_was_asked_is_told_as_silent_at_once(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    with python("-c", RING, root) as proxy, ThreadPoolExecutor(1) as asking:
        until(lambda: [status for status in reader.proxies() if status.alive])
        kept = asking.submit(store.keep, "kept", 0, 60, timeout_s=600.0)
        wait_for_line(proxy, "asked")
        assert not kept.done()
        kill(proxy)
        assert Kept(records=0, answered=0, without_ring=0, silent=1) == kept.result(60)
