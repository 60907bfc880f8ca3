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
from collections import deque
from collections.abc import Callable
from pathlib import Path

from store.contract import Counters
from store.errors import StoreUnavailable
from store.filing import Filing
from store.handover import CALL_BYTES, QUEUE_BYTES, Call, Handover, LocalRecording
from store.ids import IdSource
from store.in_flight import Exchange, InFlight
from store.index import Index
from store.keys import HashedKeys, WatchedKeys
from store.layout import Layout, Lock, create_file, locked, make_folder
from store.parts import PartFiles
from store.record import Ask, Key, RequestHead, Transport
from store.seen import Senders
from store.status import Status

LOOK_S = 0.2
"""How often a busy one does; before it puts anything new where a purge may be, it looks each time."""

ROW_AFTER_MS = 100
"""A record in flight has a row from then on: shorter calls are not seen in flight, and cost less.
Their bytes are in their parts all the same."""

DRAIN_S = 0.05
"""How often the queue is emptied while there is traffic: what a killed process can lose."""

KEYS_S = 0.5
"""How often an idle writer looks for changed keys."""

RETRY_S = 1.0
KEEP_TRYING = 1_000
"""Finished records kept while the disk refuses them; beyond it the oldest are left to recovery."""

INDEX_PATIENCE_S = 0.5
"""How long the thread waits for another process's commit before it goes on to write parts."""

STALL_S = 10.0
"""A thread that has not come round for so long hangs in the disk: what it was given since is in
memory alone."""

TRIES = 5
"""How often a record is tried that fails for another reason than the disk: a bug of ours, which
must not look like a broken store for ever."""

SEEN_S = 0.5
"""How often it is told who passed unmatched."""

ANSWER_S = 1.0
"""How long an answer waits for the rows of what was kept."""

SHUT_DOWN_S = 5.0
"""How long a shutdown waits for a purge that holds up the last records."""

LOG_EVERY_S = 60.0
SHUT_DOWN = "The proxy was shut down."


_CARRYING = (Call.REQUEST, Call.RESPONSE)

_DISK = (OSError, sqlite3.Error, StoreUnavailable)
"""What comes of the disk, and goes with it."""


class LocalWriter:
    """The recording side of a local store (store.contract.Writer)."""

    def __init__(
        self, layout: Layout, log: Callable[[str], None], *, queue_bytes: int = QUEUE_BYTES
    ) -> None:
        self.counters = Counters()
        self.name = secrets.token_hex(8)
        self._layout = layout
        self._log = log
        self._ids = IdSource()
        self._handover = Handover(queue_bytes)
        self._senders = Senders()
        self._senders_at = -SEEN_S
        self._answers: deque[tuple[str, int]] = deque()
        self._answers_due = 0
        """How many of them came before everything that was last taken from the queue."""
        self._answer_by = 0.0
        self._closing = False
        folder = layout.live / self.name
        # Recovery runs under the same lock, and must not take a writer being born for a dead one.
        with locked(layout.schema_lock):
            make_folder(folder)
            os.close(create_file(folder / "lock"))
            self._lock = Lock(folder / "lock")
            self._lock.take()
        try:
            self._prepare(layout, folder)
        except BaseException:
            self._lock.release()
            raise
        self._thread = threading.Thread(target=self._run, name="flowtap-writer", daemon=True)
        self._thread.start()

    def _prepare(self, layout: Layout, folder: Path) -> None:
        """What is the thread's alone once it runs."""
        self._index = Index(layout, patience_s=INDEX_PATIENCE_S)
        self._in_flight = InFlight(PartFiles(folder))
        self._filing = Filing(layout, self._index, self.name, self._ids)
        self._finished: list[Exchange] = []
        self._unwritten: list[Exchange] = []
        self._retry_at = 0.0
        self._watched = WatchedKeys(layout)
        self._keys_at = 0.0
        self._status = Status(self.name, self.counters)
        self._logged_at = -LOG_EVERY_S
        self._round_at = time.monotonic()
        """When the last round began; the loop reads it."""

    # -- the loop's side -----------------------------------------------------------------

    @property
    def keys(self) -> HashedKeys:
        """The current snapshot of the keys."""
        return self._watched.keys

    @property
    def trouble(self) -> str | None:
        """Why a record begun now would not be kept whole, or None."""
        if self._closing or not self._thread.is_alive():
            return "The recorder is closed."
        if self._status.error is not None:
            return self._status.error
        if self._handover.full:
            return "The queue to the disk is full."
        waited_s = time.monotonic() - self._round_at
        if waited_s > STALL_S:
            return f"The disk has not answered for {waited_s:.0f} s."
        return None

    @property
    def room(self) -> int:
        """How many more bytes of bodies the queue would take now."""
        return self._handover.room

    def new_id(self, started_ms: int) -> str:
        """A record id of a record that may be begun later."""
        return self._ids.new(started_ms)

    def begin(
        self,
        key: Key,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
        record_id: str | None = None,
    ) -> LocalRecording:
        """Start a record."""
        self.counters.recorded += 1
        if record_id is None:
            record_id = self._ids.new(started_ms)
        return LocalRecording(self._handover, record_id, key.id, started_ms, request, protocol)

    def unmatched(self, credential: bytes | None, host: str, client: str | None) -> None:
        """Count a call of no key that is on by who sent it where; the counters are the caller's."""
        self._senders.count(self.keys, credential, host, client)

    def asks(self) -> list[Ask]:
        """What users have asked of proxies since the last call, each once."""
        return self._watched.asks.take()

    def answer(self, ask: Ask, records: int) -> None:
        """Say how many records were begun for it, once those that have ended can be read."""
        self._answers.append((ask.id, records))
        self._handover.wake()

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
            # While something is in flight the thread looks by the clock: being woken by each
            # chunk would have it ask for the interpreter just when the loop passes that chunk on.
            if self._busy() or self._handover.wait(KEYS_S):
                # Let a little gather: a short exchange then is one write and one row.
                time.sleep(DRAIN_S)
            self._tick()
        self._shut_down()

    def _busy(self) -> bool:
        waiting = bool(self._handover) or bool(self._finished) or self._filing.waiting
        return waiting or len(self._in_flight) > 0 or bool(self._answers)

    def _tick(self, *, at_once: bool = False) -> None:
        """One round. Whatever fails in a step of it, the other steps are taken and the thread
        goes on: a dead thread loses every later record."""
        now = self._round_at = time.monotonic()
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._look_for_keys(now),
            self._drain,
            self._write_parts,
            lambda: self._finish(now, at_once=at_once),
            lambda: self._commit(now, at_once=at_once),
            lambda: self._status.publish(self._index, now, at_once=at_once),
            lambda: self._tell_seen(now, at_once=at_once),
            lambda: self._answer(now, at_once=at_once),
        )
        for step in steps:
            try:
                step()
            except Exception as exc:
                self._failed(exc)

    def _failed(self, exc: BaseException) -> None:
        """Say why records are being lost: in the status row at once, in the log once a minute."""
        now = time.monotonic()
        trouble = self._status.trouble(exc, now)
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            self._log(f"the store fails: {trouble} (in {self._layout.root})")

    def _look_for_keys(self, now: float) -> None:
        if now - self._keys_at >= LOOK_S:
            self._keys_at = now
            self._refresh_keys()

    def _refresh_keys(self) -> None:
        if not self._watched.refresh():
            return
        for exchange in (*self._in_flight.all(), *self._finished, *self._unwritten):
            if not self._watched.is_on(exchange.recording.key_id):
                self._discard(exchange)
            elif self._in_flight.part_is_gone(exchange):
                # Off, purged, and on again.
                self._discard(exchange)

    def _discard(self, exchange: Exchange) -> None:
        """The key was switched off or removed while the record was in flight: nothing of it stays."""
        if exchange.discarded:
            return
        exchange.recording.discarded = True
        self._filing.note_gone(exchange.recording.id)
        with contextlib.suppress(OSError):
            self._in_flight.drop(exchange)
        self._log(f"record {exchange.recording.id} discarded: its key is off")

    def _held(self, key_id: str) -> bool:
        """Purges of the key are kept out until the next commit, and the keys in memory are those
        of now: who purges has changed them before."""
        if self._filing.holds(key_id):
            return True
        if not self._filing.hold(key_id):
            return False
        self._refresh_keys()
        return True

    def _drain(self) -> None:
        answers = len(self._answers)
        if answers and not self._answers_due:
            self._answer_by = time.monotonic() + ANSWER_S
        self._answers_due = answers
        calls = self._handover.take()
        sizes = [len(value) for call, _, _, value in calls if call in _CARRYING]
        self._handover.taken(CALL_BYTES * len(calls) + sum(sizes))
        self._finished += self._in_flight.take(calls)

    def _write_parts(self) -> None:
        kept = sum(each.waiting_bytes for each in (*self._finished, *self._unwritten))
        for exchange in self._in_flight.take_dirty():
            try:
                if not self._write_part(exchange):
                    kept += exchange.waiting_bytes
                    self._in_flight.put_back(exchange)
            except FileNotFoundError:
                # Purged from another process, which has changed the keys before; and the key may
                # be on again already. Who begins anew for it must see those of now.
                with contextlib.suppress(sqlite3.Error):
                    self._refresh_keys()
                self._discard(exchange)
            except Exception as exc:
                self._in_flight.give_up(exchange)
                self._count_lost(exchange)
                self._failed(exc)
        self._handover.kept = kept

    def _write_part(self, exchange: Exchange) -> bool:
        """False if a purge has the key's folder: it is tried again in the next round."""
        key_id = exchange.recording.key_id
        row_due = exchange.row_due and not _just_begun(exchange.recording.started_ms)
        # What is appended to a part that is there needs no lock: a purge takes the file away, and
        # what is written to it after that is nowhere (store.parts).
        if not exchange.in_part or row_due:
            if not self._held(key_id):
                return False
            if not self._watched.is_on(key_id):
                self._discard(exchange)
                return True
        self._in_flight.write_part(exchange)
        if row_due:
            self._filing.note_live(self._in_flight.row(exchange))
        elif exchange.row_due:
            self._in_flight.put_back(exchange)
        return True

    def _finish(self, now: float, *, at_once: bool) -> None:
        if self._unwritten and (at_once or now >= self._retry_at):
            self._finished = self._unwritten + self._finished
            self._unwritten = []
        finished, self._finished = self._finished, []
        ready: dict[str, list[Exchange]] = {}
        for exchange in finished:
            try:
                self._make_ready(exchange, ready)
            except Exception as exc:
                self._not_filed(exchange, exc, now)
        for key_id, exchanges in ready.items():
            key = self._watched.keys.by_id(key_id)
            if key is None or key.retention_s is None:
                # Off since a moment ago, when another key's folder was taken.
                for exchange in exchanges:
                    self._discard(exchange)
                continue
            failed = self._filing.file(key, exchanges, self._in_flight)
            for exchange in exchanges:
                if (why := failed.get(exchange.recording.id)) is not None:
                    self._not_filed(exchange, why, now)
                else:
                    self._in_flight.forget_copies(exchange)
                    self._count_lost(exchange)
        while len(self._unwritten) > KEEP_TRYING:
            self._status.lost_records += not self._unwritten.pop(0).in_part

    def _make_ready(self, exchange: Exchange, ready: dict[str, list[Exchange]]) -> None:
        """To be filed, unless its key is off; where a purge has the key's folder it is tried again in
        the next round."""
        key_id = exchange.recording.key_id
        if exchange.discarded:
            return
        if not self._held(key_id):
            self._finished.append(exchange)
        elif not self._watched.is_on(key_id) or self._in_flight.part_is_gone(exchange):
            self._discard(exchange)
        else:
            ready.setdefault(key_id, []).append(exchange)

    def _not_filed(self, exchange: Exchange, exc: Exception, now: float) -> None:
        self._failed(exc)
        self._retry_at = now + RETRY_S
        # What memory holds of it goes to its part, where recovery would find it.
        with contextlib.suppress(OSError):
            self._park(exchange)
        exchange.tries += not isinstance(exc, _DISK)
        if exchange.tries < TRIES:
            self._unwritten.append(exchange)
        else:
            self._status.lost_records += not exchange.parked
            self._in_flight.forget_copies(exchange)

    def _count_lost(self, exchange: Exchange) -> None:
        lost = exchange.lost_bytes
        self._status.lost_bytes += lost - exchange.counted
        exchange.counted = lost

    def _park(self, exchange: Exchange) -> None:
        if self._filing.holds(exchange.recording.key_id) and not exchange.discarded:
            self._in_flight.park(exchange)

    def _commit(self, now: float, *, at_once: bool) -> None:
        for key_id in self._filing.keys_of_live_rows():
            self._held(key_id)
        for record_id in self._filing.commit(now, at_once=at_once):
            with contextlib.suppress(OSError):
                self._in_flight.remove_part(record_id)
        if not (self._unwritten or self._filing.waiting_done):
            self._status.well(now)

    def _tell_seen(self, now: float, *, at_once: bool) -> None:
        if self._senders and (at_once or now - self._senders_at >= SEEN_S):
            self._senders_at = now
            self._senders.tell(self._index.put_seen)

    def _answer(self, now: float, *, at_once: bool) -> None:
        """Who asked looks for the records next, so their rows come first, if they come soon."""
        waiting = bool(self._finished) or self._filing.waiting
        if not self._answers_due or (waiting and not at_once and now < self._answer_by):
            return
        answers = [self._answers[each] for each in range(self._answers_due)]
        self._index.put_answers(self.name, answers, time.time_ns() // 1_000_000)
        for _ in answers:
            self._answers.popleft()
        self._answers_due = 0

    def _shut_down(self) -> None:
        self._tick()
        now_ms = time.time_ns() // 1_000_000
        self._finished += self._in_flight.end_all(now_ms, Transport.PROXY_SHUTDOWN, SHUT_DOWN)
        give_up = time.monotonic() + SHUT_DOWN_S
        self._tick(at_once=True)
        while self._finished and time.monotonic() < give_up:
            time.sleep(DRAIN_S)
            self._tick(at_once=True)
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
        with contextlib.suppress(sqlite3.Error, OSError, StoreUnavailable):
            self._index.forget_writer(self.name)
            self._index.checkpoint(wait_s=0.2, truncate=True)
            folder = self._layout.live / self.name
            # A part that is still there was given up here and waits for recovery, which finds
            # it by the lock.
            if not any(folder.glob("*.part")):
                (folder / "lock").unlink()
                folder.rmdir()


def _just_begun(started_ms: int) -> bool:
    """Not after a clock was set back: a row would wait for it."""
    return 0 <= time.time_ns() // 1_000_000 - started_ms < ROW_AFTER_MS
