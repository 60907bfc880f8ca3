"""What takes minutes, for `make faults`: kills at many random moments, and at each of many system calls."""

import hashlib
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from store.errors import BodyMissing
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, State
from tests.faults.length import only_at_length
from tests.faults.processes import kill, python, wait_for_line
from tests.faults.test_kill import STRACE, all_rows, check, needs_strace
from tests.store.builders import parts, until

KILLS = 200
STREAMS = 50

CALLS = {
    "write": (*range(1, 12), 20, 50, 100, 200, 400, 800),
    "pwrite64": (*range(1, 12), 20, 50, 100),
    "fdatasync": (*range(1, 12),),
    "fsync": (*range(1, 5),),
    "openat": (500, 520, 540, 560, 600, 640, 700, 800),
    "mkdir": (1, 2),
    "ftruncate": (1, 2),
    "unlink": (*range(1, 12), 30, 60),
    "rmdir": (1,),
    "close": (500, 520, 540, 580, 620, 700),
    "flock": (*range(1, 20, 2), 40, 80),
}
"""At which of their calls a writer is killed; numbers beyond what it makes end it by themselves."""


@dataclass
class Tally:
    """What many kills left, all together."""

    kills: int = 0
    begun: int = 0
    records: int = 0
    sent: int = 0
    kept: int = 0
    wrong: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unended: list[int] = field(default_factory=list)
    """Bytes not kept of each kill's streams."""

    def said(self) -> str:
        """One line for a page."""
        lost = sorted(self.unended)
        return (
            f"{self.kills} kills with {STREAMS} streams each: {self.records:,} records of"
            f" {self.begun:,} exchanges begun; wrong bytes in {len(self.wrong)},"
            f" unreadable {len(self.unreadable)}; of {self.sent:,} response bytes"
            f" {self.sent - self.kept:,} lost, by one kill {lost[len(lost) // 2]:,} in the middle"
            f" and {lost[-1]:,} at most"
        )


@only_at_length
@pytest.mark.check(69)
def test_killed_two_hundred_times(
    store: LocalStore,
    key: Key,
    reader: LocalReader,
    root: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    moments = random.Random()  # noqa: S311 - moments, no secrets
    tally = Tally()
    digests: dict[str, str] = {}
    for _ in range(KILLS):
        ledger = tmp_path / "ledger"
        with python("-m", "tests.faults.writer_process", root, ledger, str(STREAMS)) as process:
            wait_for_line(process, "ready")
            time.sleep(moments.uniform(0.05, 1.5))
            kill(process)
        store.writer().close()
        tally.kills += 1
        judge(reader, ledger, tally, digests)
        shutil.rmtree(ledger)
        assert [] == parts(root)
        assert [] == list((root / "live").iterdir())
    record_property("figures", tally.said())
    assert [] == tally.wrong
    assert [] == tally.unreadable
    # All of it once more: what later kills and recoveries did changed nothing of what was there.
    assert digests.keys() == {row.id for row in all_rows(reader)}
    assert len(digests) == store.rebuild()
    for row in all_rows(reader):
        stored = reader.get(row.id)
        assert stored is not None
        assert digests[row.id] == hashlib.sha256(stored.response_body.data).hexdigest()


def judge(reader: LocalReader, ledger: Path, tally: Tally, digests: dict[str, str]) -> None:
    """Hold what one kill left against what was sent."""
    ended = set((ledger / "ended").read_text().split())
    before = tally.sent - tally.kept
    for file in ledger.iterdir():
        if file.name == "ended":
            continue
        sent = file.read_bytes()
        tally.begun += 1
        tally.sent += len(sent)
        row = reader.meta(file.name)
        if row is None:
            continue
        assert row.state is State.DONE
        tally.records += 1
        try:
            stored = reader.get(file.name)
        except BodyMissing:
            tally.unreadable.append(file.name)
            continue
        assert stored is not None
        body = stored.response_body.data
        whole = row.verdict == "truncated" and not row.lost_bytes
        if not sent.startswith(body) or (whole and file.name in ended and body != sent):
            tally.wrong.append(file.name)
        tally.kept += len(body)
        digests[file.name] = hashlib.sha256(body).hexdigest()
    tally.unended.append(tally.sent - tally.kept - before)


@only_at_length
@needs_strace
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_each_call(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, tmp_path: Path, call: str
) -> None:
    ledgers: list[Path] = []
    for number in CALLS[call]:
        ledger = tmp_path / f"ledger{number}"
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        strace = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        with python(
            "-m", "tests.faults.writer_process", root, ledger, "4", before=strace
        ) as process:
            # Not every call is made so often: then it is killed when it has recorded for a while.
            until(lambda: process.poll() is not None or seen(ledger), 120)  # noqa: B023
        store.writer().close()
        if ledger.exists():
            ledgers.append(ledger)
        check(reader, ledgers)
        assert [] == parts(root)


def seen(ledger: Path) -> bool:
    return ledger.exists() and len(list(ledger.iterdir())) > 120
