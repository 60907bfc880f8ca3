"""What SQLite keeps beside its database, taken away or growing; a view that stopped in mid-life."""

import os
import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key
from tests.faults.processes import kill, python, wait_for_line
from tests.faults.test_kill import all_rows, check
from tests.store.builders import SECRET, opened, parts, record, segment_files, until, writing

VIEW = """
import sys
from store.location import open_reader
reader = open_reader(sys.argv[1])
while True:
    reader.version(); reader.records(); reader.news(0); reader.counts()
    print("idle", flush=True)
    if not sys.stdin.readline():
        break
"""


COMMITS = 80


def committed(reader: LocalReader, after: int) -> bool:
    return reader.last_seq() > after


@pytest.mark.parametrize(
    "gone", [("-wal",), ("-shm",), ("-wal", "-shm")], ids=["wal", "shm", "both"]
)
def test_without_its_log_the_index_is_made_good_from_the_segments(
    root: Path, tmp_path: Path, gone: tuple[str, ...]
) -> None:
    """The writer is killed, so that nobody has moved its log into the database."""
    with opened(root) as (store, _):
        store.add_key("one", SECRET, 24 * 3600)
    ledger = tmp_path / "ledger"
    with python("-m", "tests.faults.writer_process", root, ledger) as process:
        wait_for_line(process, "ready")
        until(lambda: segment_files(root) and segment_files(root)[0].stat().st_size > 60_000, 60)
        kill(process)
    with closing(LocalReader(root)) as reader:
        # Rows of finished records, which a reader sees only with the log.
        done = {row.id for row in all_rows(reader) if row.verdict == "truncated"}
    assert done
    for suffix in gone:
        log = root / f"index.db{suffix}"
        assert log.stat().st_size > 0
        log.unlink()
    with opened(root) as (store, reader):
        store.writer().close()
        rows = check(reader, [ledger])
        assert done <= set(rows)
        assert [] == parts(root)
        assert len(rows) == store.rebuild()
        assert rows.keys() == check(reader, [ledger]).keys()


def test_a_view_that_was_stopped_does_not_make_the_log_grow(
    store: LocalStore, key: Key, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no transaction between two looks, so the log is used again from its beginning."""
    most = 400_000
    monkeypatch.setattr("store.index.CHECKPOINT_BYTES", most // 4)
    monkeypatch.setattr("store.filing.CHECKPOINT_S", 0.0)
    monkeypatch.setattr("store.filing.SYNC_S", 0.0)
    monkeypatch.setattr("store.writer.DRAIN_S", 0.002)
    log = root / "index.db-wal"
    with (
        python("-c", VIEW, root, standard_input=True) as view,
        opened(root) as (_, reader),
        writing(store) as writer,
    ):
        wait_for_line(view, "idle")
        os.kill(view.pid, signal.SIGSTOP)
        sizes = []
        for _ in range(COMMITS):
            stored = partial(committed, reader, reader.last_seq())
            record(writer, key)
            until(stored)
            sizes.append(log.stat().st_size)
        # Each commit writes the pages of a row and of its indexes, at least.
        assert max(sizes) < most < COMMITS * 4 * 4096
        os.kill(view.pid, signal.SIGCONT)
        assert view.stdin is not None
        view.stdin.write("\n")
        view.stdin.flush()
        wait_for_line(view, "idle")
