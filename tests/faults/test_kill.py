"""kill -9 at any moment: every record is readable and is a prefix of what was sent; starts repair it."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, RecordMeta, State, Verdict
from tests.faults.processes import kill, python, wait_for_line
from tests.store.builders import SECRET, parts, record, segment_files, until, writing

KILLS = 6
STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


def all_rows(reader: LocalReader) -> list[RecordMeta]:
    found: list[RecordMeta] = []
    while rows := reader.records(before=found[-1].id if found else None, limit=200):
        found += rows
    return found


def check(reader: LocalReader, ledgers: list[Path]) -> dict[str, RecordMeta]:
    """Hold every record against what was sent; returns the rows."""
    sent = {
        file.name: file.read_bytes()
        for ledger in ledgers
        for file in ledger.iterdir()
        if file.name != "ended"
    }
    rows = {row.id: row for row in all_rows(reader)}
    assert set(rows) <= set(sent)
    for record_id, row in rows.items():
        stored = reader.get(record_id)
        assert stored is not None
        body = stored.response_body.data
        assert sent[record_id].startswith(body), record_id
        # Whole chunks: every one is there as it was sent, or not at all.
        assert body.endswith(b"}\n\n") or not body
        assert row.state is State.DONE
        assert row.verdict in (Verdict.INTERRUPTED, Verdict.TRUNCATED)
        assert row.response_bytes == len(body)
        if row.verdict is Verdict.TRUNCATED and not row.lost_bytes:
            # It was ended (these streams have no terminal event): nothing of it may lack.
            assert sent[record_id] == body
    return rows


@pytest.mark.check(69)
def test_killed_again_and_again_at_full_speed(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, tmp_path: Path
) -> None:
    moments = random.Random()  # noqa: S311 - moments, no secrets
    ledgers: list[Path] = []
    known: dict[str, RecordMeta] = {}
    for kill_number in range(KILLS):
        ledgers.append(tmp_path / f"ledger{kill_number}")
        with python("-m", "tests.faults.writer_process", root, ledgers[-1]) as process:
            wait_for_line(process, "ready")
            time.sleep(moments.uniform(0.05, 0.9))
            kill(process)
        dead_live = [row for row in all_rows(reader) if row.state is State.LIVE]
        assert all(row.verdict is Verdict.INTERRUPTED for row in dead_live)
        for row in dead_live[:3]:
            assert reader.get(row.id) is not None
        committed = {row.id for row in all_rows(reader)}
        store.writer().close()
        rows = check(reader, ledgers)

        assert committed <= set(rows)
        assert set(known) <= set(rows)
        assert all(rows[each].verdict == was.verdict for each, was in known.items())
        assert [] == parts(root)
        assert [] == list((root / "live").iterdir())
        known = rows
    assert {Verdict.INTERRUPTED, Verdict.TRUNCATED} == {row.verdict for row in known.values()}
    assert not (root / "quarantine").exists(), "what a kill cuts off is not corrupt"
    assert len(known) == store.rebuild()
    assert known.keys() == check(reader, ledgers).keys()


@needs_strace
@pytest.mark.parametrize(
    ("call", "numbers"),
    [("fdatasync", (1, 2)), ("write", (60, 300)), ("unlink", (3, 9)), ("pwrite64", (30, 90))],
)
def test_killed_at_the_nth_call(
    store: LocalStore,
    key: Key,
    reader: LocalReader,
    root: Path,
    tmp_path: Path,
    call: str,
    numbers: tuple[int, ...],
) -> None:
    ledgers = []
    for number in numbers:
        ledgers.append(tmp_path / f"ledger{number}")
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        with python(
            "-m", "tests.faults.writer_process", root, ledgers[-1], "4", before=strace
        ) as process:
            until(lambda: process.poll() is not None, 60)
        store.writer().close()
        if ledgers[-1].exists():
            check(reader, [ledger for ledger in ledgers if ledger.exists()])
    assert not (root / "quarantine").exists()


@needs_strace
def test_killed_in_recovery_again_and_again(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    with python("-m", "tests.faults.writer_process", root, ledger) as process:
        wait_for_line(process, "ready")
        until(lambda: len(all_rows(reader)) > 30 and len(parts(root)) >= 15)
        kill(process)
    before = {row.id for row in all_rows(reader)}
    code = "import sys; from store.location import open_store; open_store(sys.argv[1]).writer().close()"
    for call, number in (
        ("write", 3),
        ("write", 40),
        ("fdatasync", 1),
        ("unlink", 2),
        ("unlink", 9),
        ("rmdir", 1),
    ):
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        with python("-c", code, root, before=strace) as process:
            until(lambda: process.poll() is not None, 60)
        assert before <= {row.id for row in all_rows(reader)} | {part.stem for part in parts(root)}
    store.writer().close()

    assert before <= set(check(reader, [ledger]))
    assert [] == parts(root)
    assert not (root / "quarantine").exists()
    names = {f"{path.parent.name}/{path.name}" for path in segment_files(root)}
    assert names >= {row[0] for row in reader._all("SELECT DISTINCT segment FROM records")}


def test_what_was_synced_and_not_committed_is_there_at_the_first_start(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short exchanges have no part: only their segment knows of them."""
    if os.fork() == 0:
        try:
            child = LocalStore(root)
            writer = child.writer()
            monkeypatch.setattr(
                writer._index,
                "put",
                lambda *_: os.kill(os.getpid(), signal.SIGKILL),
            )
            found = writer.keys.match([SECRET.encode()], ())
            assert found is not None
            for _ in range(3):
                record(writer, found)
            time.sleep(60)
        finally:
            os._exit(1)
    _, status = os.wait()
    assert signal.SIGKILL == os.WTERMSIG(status)
    assert [] == reader.records()
    assert 1 == len(segment_files(root))
    with writing(store):
        assert 3 == len(reader.records())
        assert all(reader.get(row.id) for row in reader.records())
