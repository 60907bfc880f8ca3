"""A real proxy under bounded load of every kind, for an hour: `make soak`.

    SOAK_MINUTES=2 SOAK_RATE=10 python -m tests.soak

Exits 1 unless every exchange was recorded exactly once and as its client saw it, nothing was
recorded of keys that are off, what expired was swept, and neither memory, threads, descriptors
nor the write-ahead log grew. Needs Linux (/proc).
"""

import contextlib
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from store.location import open_reader, open_store
from store.record import ProxyStatus, State
from tests.e2e.harness import OFF_KEY, Proxy, Upstream
from tests.soak.judge import Finding, Sample, judged
from tests.soak.ledger import Ledger
from tests.soak.traffic import LONG, SECRETS, SHORT, Load, play

SAMPLE_S = 10.0
SHORT_RETENTION_S = 60
SWEPT_S = 130
"""A sweep comes every minute, and may have its work: what expired that long ago must be gone."""

LINES = 12
"""Samples that the report shows."""


class Follower:
    """Reads every record once it is finished, before its retention takes it, into the ledger."""

    def __init__(self, store: Path, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.proxy: ProxyStatus | None = None
        """What the proxy said of itself last."""
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Read what is there now, then end."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            reader = open_reader(str(self._store))
            names = {key.id: key.name for key in reader.keys()}
            after = 0
            with contextlib.closing(reader):
                while True:
                    last = self._stop.wait(0.5)
                    while rows := reader.news(after):
                        after = rows[-1].seq
                        for meta in rows:
                            if meta.state is State.DONE:
                                record = reader.get(meta.id)
                                if record is not None:
                                    self._ledger.found(names[meta.key_id], record)
                    self.proxy = next(iter(reader.proxies()), self.proxy)
                    if last:
                        return
        except Exception as error:  # Told at the end, on the thread that reports.
            self.error = error


def sample(pid: int, store: Path, at_s: float) -> Sample:
    """The proxy and its store now."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    size = 0
    for file in store.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size
    wal = store / "index.db-wal"
    return Sample(
        at_s=at_s,
        rss=int(status["VmRSS"].split()[0]) * 1024,
        threads=int(status["Threads"]),
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        store=size,
        wal=wal.stat().st_size if wal.exists() else 0,
    )


def overdue(store: Path) -> int:
    """Rows of the short key that a sweep should have deleted."""
    long_ago = time.time_ns() // 1_000_000 - (SHORT_RETENTION_S + SWEPT_S) * 1000
    with contextlib.closing(open_reader(str(store))) as reader:
        key_id = reader.key(SHORT).id
    with contextlib.closing(sqlite3.connect(f"{store.as_uri()}/index.db?mode=ro", uri=True)) as db:
        query = "SELECT count(*) FROM records WHERE key_id = ? AND completed_ms < ?"
        return int(db.execute(query, (key_id, long_ago)).fetchone()[0])


def sampled(pid: int, store: Path, length_s: float) -> Iterator[Sample]:
    """A sample every SAMPLE_S, the first at once, for as long as the soak takes."""
    began = time.monotonic()
    number = 0
    while True:
        yield sample(pid, store, time.monotonic() - began)
        number += 1
        if number * SAMPLE_S > length_s:
            return
        time.sleep(max(0.0, began + number * SAMPLE_S - time.monotonic()))


def told(proxy: ProxyStatus | None) -> Finding:
    """What the proxy says it lost."""
    if proxy is None:
        return Finding(False, "the proxy said nothing of itself")
    lost = f"lost {proxy.lost_records} records and {proxy.lost_bytes} bytes"
    well = not (proxy.lost_records or proxy.lost_bytes or proxy.error)
    return Finding(well, f"the proxy says: {lost}; {proxy.error or 'no trouble'}")


def say(line: str) -> None:
    """A line of the report, at once: who runs this for an hour reads it meanwhile."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def soak(folder: Path, minutes: float, rate: float) -> list[Finding]:
    """Run it, printing the samples as they are taken."""
    path = folder / "store"
    store = open_store(str(path))
    store.add_key(LONG, SECRETS[LONG], 24 * 3600)
    store.add_key(SHORT, SECRETS[SHORT], SHORT_RETENTION_S)
    store.add_key("off", OFF_KEY)
    store.close()
    ledger = Ledger()
    follower = Follower(path, ledger)
    samples: list[Sample] = []
    every = max(1, round(minutes * 60 / SAMPLE_S / LINES))
    with Upstream(play) as upstream, Proxy(path, folder / "conf", upstream) as proxy:
        load = Load(proxy, ledger, rate)
        follower.start()
        load.start()
        say(f"{'minute':>7} {'rss MB':>7} {'threads':>8} {'fds':>5} {'store MB':>9} {'wal MB':>7}")
        for taken in sampled(proxy.pid, path, minutes * 60):
            if len(samples) % every == 0:
                say(
                    f"{taken.at_s / 60:7.1f} {taken.rss / 1e6:7.1f} {taken.threads:8}"
                    f" {taken.descriptors:5} {taken.store / 1e6:9.1f} {taken.wal / 1e6:7.2f}"
                )
            samples.append(taken)
            # The upstream of the tests remembers every call; here that would be its own leak.
            upstream.calls.clear()
        load.stop()
        left = overdue(path)
        proxy.stop()
    follower.stop()
    if follower.error is not None:
        raise follower.error
    say(", ".join(f"{count} {kind}" for kind, count in sorted(ledger.counts.items())))
    return [
        *ledger.findings(),
        told(follower.proxy),
        Finding(not left, f"{left} expired records that no sweep deleted"),
        *judged(samples),
    ]


def main() -> int:
    """Soak, report; 1 if something does not hold."""
    minutes = float(os.environ.get("SOAK_MINUTES", "60"))
    rate = float(os.environ.get("SOAK_RATE", "10"))
    say(f"soak: {minutes:g} min, {rate:g} exchanges/s")
    with tempfile.TemporaryDirectory() as folder:
        findings = soak(Path(folder), minutes, rate)
    for finding in findings:
        say(f"{'ok  ' if finding.holds else 'FAIL'} {finding.text}")
    return 0 if all(finding.holds for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
