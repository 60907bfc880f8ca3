"""The recording side of a local store: one thread that empties the queue into parts, segments and rows.

Deliberately nothing here raises towards the proxy: traffic does not stop for the recorder.
What could not be kept is counted, shown in the status row, and logged once a minute.
"""

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable

from store.contract import Counters
from store.filing import Filing
from store.handover import CALL_BYTES, Call, Handover, LocalRecording
from store.ids import IdSource
from store.in_flight import Exchange, InFlight
from store.index import Index
from store.keys import HashedKeys, read_keys
from store.layout import Layout, Lock, create_file, locked, make_folder
from store.parts import PartFiles
from store.record import Key, ProxyStatus, RequestHead, Transport

DRAIN_S = 0.05
"""How often the queue is emptied while there is traffic: what a killed process can lose."""

KEYS_S = 0.5
"""How often an idle writer looks for changed keys; a busy one does at every drain."""

HEARTBEAT_S = 2.0
CHANGED_STATUS_S = 0.5
RETRY_S = 1.0
KEEP_TRYING = 1_000
"""Finished records kept while the disk refuses them; beyond it the oldest are left to recovery."""

LOG_EVERY_S = 60.0
SHUT_DOWN = "The proxy was shut down."


class LocalWriter:
    """The recording side of a local store (store.contract.Writer)."""

    def __init__(self, layout: Layout, log: Callable[[str], None]) -> None:
        self.counters = Counters()
        self.name = secrets.token_hex(8)
        self._layout = layout
        self._log = log
        self._ids = IdSource()
        self._handover = Handover()
        self._closing = False
        folder = layout.live / self.name
        # Recovery runs under the same lock, and must not take a writer being born for a dead one.
        with locked(layout.schema_lock):
            make_folder(folder)
            os.close(create_file(folder / "lock"))
            self._lock = Lock(folder / "lock")
            self._lock.take()

        # From here on the thread's alone, once it runs.
        self._index = Index(layout)
        self._in_flight = InFlight(PartFiles(folder))
        self._filing = Filing(layout, self._index, self.name, self._ids)
        self._finished: list[Exchange] = []
        self._unwritten: list[Exchange] = []
        self._retry_at = 0.0
        self._watched = WatchedKeys(layout)
        self._keys_at = 0.0
        self._status = _Status(self.name, self.counters)
        self._logged_at = -LOG_EVERY_S
        self._thread = threading.Thread(target=self._run, name="flowtap-writer", daemon=True)
        self._thread.start()

    # -- the loop's side -----------------------------------------------------------------

    @property
    def keys(self) -> HashedKeys:
        """The current snapshot of the keys."""
        return self._watched.keys

    def begin(
        self, key: Key, started_ms: int, request: RequestHead, protocol: str | None
    ) -> LocalRecording:
        """Start a record."""
        self.counters.recorded += 1
        record_id = self._ids.new(started_ms)
        return LocalRecording(self._handover, record_id, key.id, started_ms, request, protocol)

    def announce(self, address: str) -> None:
        """Say where the proxy listens; the status row appears with it."""
        self._status.address = address
        self._handover.wake()

    def close(self, timeout_s: float = 10.0) -> None:
        """End what still lives as PROXY_SHUTDOWN, write everything, stop; idempotent."""
        self._closing = True
        self._handover.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._log("the store did not finish in time; the next start recovers what is left")

    # -- the thread's side ---------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            arrived = self._handover.wait(0.0 if self._busy() else KEYS_S)
            if arrived or self._busy():
                # Let a little gather: a short exchange then is one write and one row.
                time.sleep(DRAIN_S)
            self._tick()
        self._shut_down()

    def _busy(self) -> bool:
        return bool(self._handover) or bool(self._finished) or self._filing.waiting

    def _tick(self) -> None:
        # The thread must outlive whatever the disk does: a dead writer loses every later record.
        try:
            self._step()
        except Exception as exc:
            self._failed(exc)

    def _step(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        self._status.failing = False
        if self._busy() or len(self._in_flight) or now - self._keys_at >= KEYS_S:
            self._keys_at = now
            self._refresh_keys()
        self._drain()
        self._write_parts()
        self._finish(now, at_once=at_once)
        for record_id in self._filing.commit(now, at_once=at_once):
            self._in_flight.remove_part(record_id)
        if not (self._status.failing or self._unwritten or self._filing.waiting_done):
            self._status.error = None
        self._status.publish(self._index, now)

    def _failed(self, exc: BaseException) -> None:
        """Say why records are being lost: in the status row at once, in the log once a minute."""
        self._status.failing = True
        self._status.error = f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:500]
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            self._log(f"the store fails: {self._status.error} (in {self._layout.root})")

    def _refresh_keys(self) -> None:
        if not self._watched.refresh():
            return
        for exchange in self._in_flight.all():
            if not self._watched.is_on(exchange.recording.key_id):
                self._discard(exchange)

    def _discard(self, exchange: Exchange) -> None:
        """The key was switched off or removed while the record was in flight: nothing of it stays."""
        self._filing.note_gone(exchange.recording.id)
        with contextlib.suppress(OSError):
            self._in_flight.drop(exchange)
        self._log(f"record {exchange.recording.id} discarded: its key is off")

    def _drain(self) -> None:
        calls = self._handover.take()
        self._finished += self._in_flight.take(calls)
        size = CALL_BYTES * len(calls)
        for call, _, _, value in calls:
            if call in (Call.REQUEST, Call.RESPONSE):
                size += len(value)
        self._handover.written(size)

    def _write_parts(self) -> None:
        for exchange in self._in_flight.dirty():
            try:
                self._in_flight.write_part(exchange)
                if exchange.row_due:
                    self._filing.note_live(self._in_flight.row(exchange))
            except FileNotFoundError:
                # Purged from another process, which knew before us that the key is off.
                self._discard(exchange)
            except OSError as exc:
                self._status.lost_bytes += self._in_flight.give_up(exchange)
                self._failed(exc)

    def _finish(self, now: float, *, at_once: bool) -> None:
        if self._unwritten and (at_once or now >= self._retry_at):
            self._finished = self._unwritten + self._finished
            self._unwritten = []
        finished, self._finished = self._finished, []
        for exchange in finished:
            try:
                self._file(exchange)
            except Exception as exc:
                self._failed(exc)
                self._unwritten.append(exchange)
                self._retry_at = now + RETRY_S
                # What memory holds of it goes to its part, where recovery would find it.
                with contextlib.suppress(OSError):
                    self._in_flight.park(exchange)
        while len(self._unwritten) > KEEP_TRYING:
            self._status.lost_records += not self._unwritten.pop(0).in_part

    def _file(self, exchange: Exchange) -> None:
        key_id = exchange.recording.key_id
        self._filing.lock(key_id)
        # Asked again under the lock: from here to the commit no purge can run.
        self._refresh_keys()
        key = self._watched.keys.by_id(key_id)
        if key is None or key.retention_s is None or self._in_flight.part_is_gone(exchange):
            self._discard(exchange)
            return
        self._filing.file(key, exchange, self._in_flight)
        self._status.lost_bytes += exchange.recording.lost

    def _shut_down(self) -> None:
        self._tick()
        now_ms = time.time_ns() // 1_000_000
        with contextlib.suppress(Exception):
            self._drain()
            self._finished += self._in_flight.end_all(now_ms, Transport.PROXY_SHUTDOWN, SHUT_DOWN)
        try:
            self._step(at_once=True)
        except Exception as exc:
            self._failed(exc)
        clean = not (self._unwritten or self._finished or self._filing.waiting_done)
        self._filing.close()
        self._in_flight.close()
        if clean:
            self._leave()
        with contextlib.suppress(sqlite3.Error):
            self._index.close()
        self._watched.close()
        self._lock.release()

    def _leave(self) -> None:
        """Everything is stored: no trace of this writer but its records."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._index.forget_writer(self.name)
            self._index.checkpoint(wait_s=0.2, truncate=True)
            folder = self._layout.live / self.name
            (folder / "lock").unlink()
            folder.rmdir()


class WatchedKeys:
    """The keys in memory, read again when another process changed them; the writer's thread alone."""

    def __init__(self, layout: Layout) -> None:
        self._secret = layout.read_secret()
        # Made by the thread that opens the store, used by the writer's.
        self._connection = sqlite3.connect(
            f"{layout.keys.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self._version = -1
        self.keys = HashedKeys(self._secret, ())
        """An immutable snapshot; another thread may read it at any time."""
        self.refresh()

    def refresh(self) -> bool:
        """Read them again if they changed; True if they did. Two microseconds if not."""
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        if version == self._version:
            return False
        self.keys = HashedKeys(self._secret, read_keys(self._connection))
        self._version = version
        return True

    def is_on(self, key_id: str) -> bool:
        """The key is there and has a retention."""
        key = self.keys.by_id(key_id)
        return key is not None and key.retention_s is not None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Status:
    """What the proxy says of itself, and when it last said it."""

    def __init__(self, writer: str, counters: Counters) -> None:
        self.address: str | None = None
        """None until the proxy listens: there is nothing to say before."""
        self.lost_records = 0
        self.lost_bytes = 0
        self.error: str | None = None
        self.failing = False
        """Something failed in this very round."""
        self._writer = writer
        self._counters = counters
        self._started_ms = time.time_ns() // 1_000_000
        self._said_at = -HEARTBEAT_S
        self._said: ProxyStatus | None = None

    def publish(self, index: Index, now: float) -> None:
        """Write the row if it is time: a change is told within half a second, sameness every HEARTBEAT_S."""
        if self.address is None or now - self._said_at < CHANGED_STATUS_S:
            return
        status = self._now()
        if status == self._said and now - self._said_at < HEARTBEAT_S:
            return
        self._said_at = now
        self._said = status
        index.put_status(status, time.time_ns() // 1_000_000)

    def _now(self) -> ProxyStatus:
        counters = self._counters
        return ProxyStatus(
            writer=self._writer,
            pid=os.getpid(),
            address=self.address or "",
            started_ms=self._started_ms,
            heartbeat_ms=0,
            seen=counters.seen,
            recorded=counters.recorded,
            unmatched=counters.unmatched,
            lost_records=self.lost_records,
            lost_bytes=self.lost_bytes,
            last_unmatched_ms=counters.last_unmatched_ms,
            last_unmatched_host=counters.last_unmatched_host,
            last_unmatched_fingerprint=counters.last_unmatched_fingerprint,
            error=self.error,
        )
