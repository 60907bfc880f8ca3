"""The recording side: a bounded queue that the proxy's loop appends to, and one thread that empties it.

On the loop nothing is parsed, compressed, locked or written; a call is an append to a deque.
The thread appends chunks to parts every DRAIN_S, moves a finished record into its key's
segment, syncs at most every SYNC_S, then commits the rows, then unlinks the parts: in that
order, so a row never points at nothing.

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from store.codec import pack_json, request_json, response_json
from store.contract import Counters
from store.errors import StoreError
from store.frames import Kind, pack
from store.ids import IdSource, id_bytes
from store.index import Index, Row
from store.keys import HashedKeys, read_keys
from store.layout import Layout, Lock, create_file, locked, make_folder
from store.parts import MappedChunks, PartFiles
from store.record import (
    Key,
    ProxyStatus,
    RequestHead,
    ResponseHead,
    Transport,
)
from store.segments import SEAL_BYTES, Content, SegmentWriter
from store.summary import Observed, begun, summarize

DRAIN_S = 0.05
"""How often the queue is emptied while there is traffic: what a killed process can lose."""

SYNC_S = 0.2
"""Finished records share a sync: what a power cut can lose of them."""

KEYS_S = 0.5
"""How often an idle writer looks for changed keys; a busy one does at every drain."""

HEARTBEAT_S = 2.0
QUEUE_BYTES = 256 * 1024 * 1024
"""Beyond this the disk is not keeping up, and bodies are cut rather than memory filled."""

OP_BYTES = 128
"""What a queued call weighs beside its bytes, so that a million empty chunks are bounded too."""

KEEP_TRYING = 1_000
"""Finished records held in memory while the disk refuses them; beyond it the oldest are lost."""

RETRY_S = 1.0
LOG_EVERY_S = 60.0

_BEGIN, _REQUEST, _REQUEST_END, _HEAD, _RESPONSE, _END = range(6)


class LocalRecording:
    """One exchange on the loop's side (store.contract.Recording)."""

    __slots__ = (
        "_full",
        "_writer",
        "ended",
        "id",
        "key_id",
        "lost",
        "open",
        "protocol",
        "request",
        "started_ms",
    )

    def __init__(
        self,
        writer: "LocalWriter",
        record_id: str,
        key_id: str,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
    ) -> None:
        self._writer = writer
        self.id = record_id
        self.key_id = key_id
        self.started_ms = started_ms
        self.request = request
        self.protocol = protocol
        self.ended = False
        self.lost = 0
        self._full = False
        self.open: _Open | None = None
        """The thread's side of it."""

    def request_chunk(self, at_ms: int, data: bytes) -> None:
        self._chunk(_REQUEST, at_ms, data)

    def request_end(self, at_ms: int) -> None:
        if not self.ended:
            self._writer.push((_REQUEST_END, self, at_ms, None), 0)

    def response_head(self, at_ms: int, head: ResponseHead) -> None:
        if not self.ended:
            self._writer.push((_HEAD, self, at_ms, head), 0)

    def response_chunk(self, at_ms: int, data: bytes) -> None:
        self._chunk(_RESPONSE, at_ms, data)

    def end(self, at_ms: int, transport: Transport, error: str | None = None) -> None:
        if not self.ended:
            self.ended = True
            self._writer.ended(self, at_ms, transport, error)

    def _chunk(self, op: int, at_ms: int, data: bytes) -> None:
        if self.ended:
            return
        # Once a chunk is lost the rest of the record is: what is kept is a prefix, never a body with a hole.
        if self._full or not self._writer.has_room(len(data)):
            self._full = True
            self.lost += len(data)
            return
        self._writer.push((op, self, at_ms, data), len(data))


@dataclass(slots=True)
class _Open:
    """One exchange on the thread's side."""

    recording: LocalRecording
    pending: list[tuple[Kind, int, bytes]] = field(default_factory=list)
    """Frames not in the part yet."""
    in_part: bool = False
    row_due: bool = False
    """Something the row in flight shows has changed."""
    response: ResponseHead | None = None
    request_ended: bool = False
    end: tuple[int, Transport, str | None] | None = None


class LocalWriter:
    """The recording side of a local store (store.contract.Writer)."""

    def __init__(self, layout: Layout, log: Callable[[str], None]) -> None:
        self.counters = Counters()
        self._layout = layout
        self._log = log
        self._index = Index(layout)
        self._keys_path = layout.keys
        self._secret = layout.read_secret()
        self._ids = IdSource()
        self.name = secrets.token_hex(8)
        folder = layout.live / self.name
        # Recovery runs under the same lock, and must not take a writer being born for a dead one.
        with locked(layout.schema_lock):
            make_folder(folder)
            os.close(create_file(folder / "lock"))
            self._lock = Lock(folder / "lock")
            self._lock.take()
        self._parts = PartFiles(folder)

        self._queue: deque[tuple[int, LocalRecording, int, Any]] = deque()
        # Each has one thread that writes it, so neither needs a lock.
        self._pushed = 0
        self._taken = 0
        self._wake = threading.Event()
        self._closing = False

        self._open: dict[str, _Open] = {}
        self._dirty: dict[str, _Open] = {}
        self._finished: list[_Open] = []
        self._unwritten: list[_Open] = []
        self._live_rows: dict[str, Row] = {}
        self._done_rows: list[tuple[Row, bool]] = []
        self._gone: list[str] = []
        self._segments: dict[str, SegmentWriter] = {}
        self._sealed: list[tuple[str, int]] = []
        self._unsynced: set[str] = set()
        self._folder_locks: dict[str, Lock] = {}
        self._last_sync = 0.0
        self._retry_at = 0.0
        self._wait_index_until = 0.0
        self._last_heartbeat = 0.0
        self._last_keys = 0.0
        self._last_checkpoint = 0.0
        self._last_log = -LOG_EVERY_S
        self._lost_records = 0
        self._lost_bytes = 0
        self._error: str | None = None
        self._failing = False
        self._status_shown: tuple[object, ...] = ()
        self._address: str | None = None
        self._started_ms = time.time_ns() // 1_000_000

        self._keys_connection = sqlite3.connect(
            f"file:{layout.keys}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._keys_version = -1
        self._keys = HashedKeys(self._secret, ())
        self._read_keys()
        self._thread = threading.Thread(target=self._run, name="flowtap-writer", daemon=True)
        self._thread.start()

    # -- the loop's side ---------------------------------------------------------------

    @property
    def keys(self) -> HashedKeys:
        """The current snapshot of the keys."""
        return self._keys

    def begin(
        self, key: Key, started_ms: int, request: RequestHead, protocol: str | None
    ) -> LocalRecording:
        """Start a record."""
        recording = LocalRecording(
            self, self._ids.new(started_ms), key.id, started_ms, request, protocol
        )
        self.counters.recorded += 1
        self.push((_BEGIN, recording, 0, None), 0)
        return recording

    def announce(self, address: str) -> None:
        """Say where the proxy listens; the status row appears with it."""
        self._address = address
        self._wake.set()

    def has_room(self, size: int) -> bool:
        """Whether the queue takes `size` more bytes."""
        return self._pushed - self._taken + size < QUEUE_BYTES

    def push(self, op: tuple[int, LocalRecording, int, Any], size: int) -> None:
        """Hand one call over to the thread."""
        self._pushed += size + OP_BYTES
        self._queue.append(op)
        if not self._wake.is_set():
            self._wake.set()

    def ended(
        self, recording: LocalRecording, at_ms: int, transport: Transport, error: str | None
    ) -> None:
        """The last call of a recording; taken however full the queue is."""
        self.push((_END, recording, at_ms, (transport, error)), 0)

    def close(self, timeout_s: float = 10.0) -> None:
        """End what still lives as PROXY_SHUTDOWN, write everything, stop; idempotent."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                self._log("the store did not finish in time; the next start recovers what is left")

    # -- the thread's side -------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            busy = self._queue or self._finished or self._done_rows or self._live_rows
            if busy:
                time.sleep(DRAIN_S)
            else:
                self._wake.wait(KEYS_S)
            self._wake.clear()
            self._tick()
        self._shut_down()

    def _tick(self) -> None:
        # The thread must outlive whatever the disk does: a dead writer loses every later record.
        try:
            self._step()
        except Exception as exc:
            self._failed(exc)

    def _step(self) -> None:
        now = time.monotonic()
        self._failing = False
        if self._queue or self._open or now - self._last_keys >= KEYS_S:
            self._last_keys = now
            self._refresh_keys()
        self._drain()
        self._write_parts()
        self._finish()
        self._commit(now)
        if not (self._failing or self._unwritten or self._done_rows):
            self._error = None
        self._heartbeat(now)

    def _failed(self, exc: BaseException) -> None:
        """Say why records are being lost: in the status row at once, in the log once a minute."""
        self._failing = True
        self._error = f"{type(exc).__name__}: {' '.join(str(exc).split())}"[:500]
        now = time.monotonic()
        if now - self._last_log >= LOG_EVERY_S:
            self._last_log = now
            self._log(f"the store fails: {self._error} (in {self._layout.root})")

    # keys

    def _read_keys(self) -> None:
        self._keys_version = self._version_of_keys()
        self._keys = HashedKeys(self._secret, read_keys(self._keys_connection))

    def _version_of_keys(self) -> int:
        return int(self._keys_connection.execute("PRAGMA data_version").fetchone()[0])

    def _refresh_keys(self) -> None:
        if self._version_of_keys() == self._keys_version:
            return
        self._read_keys()
        for record_id, state in list(self._open.items()):
            if not self._is_on(state.recording.key_id):
                del self._open[record_id]
                self._discard(state)

    def _is_on(self, key_id: str) -> bool:
        key = self._keys.by_id(key_id)
        return key is not None and key.retention_s is not None

    def _discard(self, state: _Open) -> None:
        """The key was switched off or removed while the record was in flight: nothing of it stays."""
        recording = state.recording
        recording.ended = True
        state.pending.clear()
        self._live_rows.pop(recording.id, None)
        self._gone.append(recording.id)
        self._parts.remove(recording.id)
        self._log(f"record {recording.id} discarded: its key is off")

    # queue to parts

    def _drain(self) -> None:
        queue = self._queue
        taken = 0
        for _ in range(len(queue)):
            op, recording, at_ms, value = queue.popleft()
            taken += OP_BYTES
            if op == _BEGIN:
                recording.open = _Open(recording)
                self._open[recording.id] = self._dirty[recording.id] = recording.open
                continue
            state = recording.open
            if op in (_REQUEST, _RESPONSE):
                taken += len(value)
            if state is None or recording.id not in self._open:
                continue
            self._dirty[recording.id] = state
            if op == _RESPONSE:
                state.pending.append((Kind.RESPONSE, at_ms, value))
            elif op == _REQUEST:
                state.pending.append((Kind.REQUEST, at_ms, value))
            elif op == _HEAD:
                state.response = value
                state.pending.append((Kind.RESPONSE_HEAD, at_ms, pack_json(response_json(value))))
            elif op == _REQUEST_END:
                state.request_ended = True
                state.pending.append((Kind.REQUEST_END, at_ms, b""))
            else:
                state.end = (at_ms, *value)
                del self._open[recording.id], self._dirty[recording.id]
                self._finished.append(state)
        self._taken += taken

    def _write_parts(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for record_id, state in dirty.items():
            try:
                self._write_part(state)
                self._note_live(state)
            except FileNotFoundError:
                # Purged from another process, which knew before us that the key is off.
                self._open.pop(record_id, None)
                self._discard(state)
            except OSError as exc:
                self._drop_pending(state)
                self._failed(exc)

    def _write_part(self, state: _Open) -> None:
        recording = state.recording
        pieces = []
        if not state.in_part:
            pieces.append((Kind.BEGIN, 0, pack_json(_begin_json(recording))))
        pieces += state.pending
        raw_id = id_bytes(recording.id)
        frames = b"".join(pack(kind, raw_id, data, aux=at_ms) for kind, at_ms, data in pieces)
        if state.in_part:
            self._parts.append(recording.id, frames)
        else:
            self._parts.create(recording.id, frames)
            state.in_part = True
        state.row_due |= any(kind not in (Kind.REQUEST, Kind.RESPONSE) for kind, _, _ in pieces)
        state.pending.clear()

    def _note_live(self, state: _Open) -> None:
        """Make the row in flight anew where a head or the request's end told something."""
        if not state.row_due:
            return
        state.row_due = False
        recording = state.recording
        meta = begun(
            recording.id,
            recording.key_id,
            recording.started_ms,
            recording.request,
            recording.protocol,
            state.response,
            self._chunks(state, Kind.REQUEST) if state.request_ended else (),
        )
        self._live_rows[recording.id] = Row(meta, self.name)

    def _drop_pending(self, state: _Open) -> None:
        """The disk refuses a part: give up these chunks rather than pile them up."""
        lost = sum(
            len(data) for kind, _, data in state.pending if kind in (Kind.REQUEST, Kind.RESPONSE)
        )
        state.pending = [
            piece for piece in state.pending if piece[0] not in (Kind.REQUEST, Kind.RESPONSE)
        ]
        state.recording.lost += lost
        state.recording._full = True
        self._lost_bytes += lost

    def _chunks(self, state: _Open, kind: Kind) -> Iterable[tuple[int, bytes]]:
        """The chunks of a record so far, in order, to be iterated any number of times."""
        return _Chunks(
            MappedChunks(self._parts.path(state.recording.id), kind) if state.in_part else (),
            [(at_ms, data) for each, at_ms, data in state.pending if each == kind],
        )

    # parts to segments

    def _finish(self) -> None:
        if self._unwritten and time.monotonic() >= self._retry_at:
            self._finished = self._unwritten + self._finished
            self._unwritten = []
        finished, self._finished = self._finished, []
        for state in finished:
            try:
                self._store(state)
            except Exception as exc:
                self._unwritten.append(state)
                self._retry_at = time.monotonic() + RETRY_S
                self._failed(exc)
                self._park(state)
        while len(self._unwritten) > KEEP_TRYING:
            # Their parts stay where they are, for recovery; what had none is lost.
            state = self._unwritten.pop(0)
            self._lost_records += not state.in_part

    def _park(self, state: _Open) -> None:
        """The segment refused a finished record: put what memory holds of it into its part, with the end."""
        if state.end is None or not state.pending:
            return
        at_ms, transport, error = state.end
        end = (Kind.END, at_ms, pack_json({"transport": str(transport), "error": error}))
        state.pending.append(end)
        try:
            self._write_part(state)
        except OSError:
            state.pending.remove(end)

    def _store(self, state: _Open) -> None:
        recording = state.recording
        key_id = recording.key_id
        self._lock_folder(key_id)
        # Asked again under the lock: from here to the commit no purge can run.
        self._refresh_keys()
        key = self._keys.by_id(key_id)
        if key is None or key.retention_s is None:
            self._discard(state)
            return
        if state.in_part and not self._parts.path(recording.id).exists():
            self._discard(state)
            return
        at_ms, transport, error = state.end or (0, Transport.RECOVERED, None)
        request = self._chunks(state, Kind.REQUEST)
        response = self._chunks(state, Kind.RESPONSE)
        meta = summarize(
            Observed(
                id=recording.id,
                key_id=key_id,
                started_ms=recording.started_ms,
                ended_at_ms=at_ms,
                request=recording.request,
                protocol=recording.protocol,
                response=state.response,
                transport=transport,
                error=error,
                lost_bytes=recording.lost,
            ),
            request,
            response,
        )
        segment = self._segment(key)
        place = segment.append(Content(meta, recording.request, state.response, request, response))
        self._unsynced.add(key_id)
        self._live_rows.pop(recording.id, None)
        self._done_rows.append((Row(meta, self.name, place), state.in_part))
        self._lost_bytes += recording.lost

    def _lock_folder(self, key_id: str) -> None:
        lock = self._folder_locks.get(key_id)
        if lock is None:
            folder = self._layout.key_folder(key_id)
            make_folder(folder)
            lock = Lock(folder)
            if not lock.take(shared=True, timeout_s=2.0):
                raise StoreError(f"{folder} is being purged")
            self._folder_locks[key_id] = lock

    def _segment(self, key: Key) -> SegmentWriter:
        now_ms = time.time_ns() // 1_000_000
        current = self._segments.get(key.id)
        if current is not None and (
            current.unlinked
            or current.size >= SEAL_BYTES
            or now_ms - current.created_ms >= _seal_after_ms(key)
        ):
            if key.id in self._unsynced:
                current.sync()
            if not current.unlinked:
                self._sealed.append((current.name, current.size))
            current.close()
            del self._segments[key.id]
            current = None
        if current is None:
            current = SegmentWriter(
                self._layout.segments, key.id, self.name, self._ids.new(now_ms), now_ms
            )
            self._segments[key.id] = current
            self._index.add_segment(current.name, key.id, self.name)
        return current

    # segments to rows

    def _commit(self, now: float) -> None:
        if now < self._wait_index_until:
            return
        if not self._done_rows:
            # Only discarded ones were held up by the lock.
            self._release_folders()
        due = self._done_rows and (now - self._last_sync >= SYNC_S or self._closing)
        if not (due or self._live_rows or self._gone):
            return
        done = self._done_rows if due else []
        if due:
            self._sync()
        rows = [row for row, _ in done]
        # A record that ended since its row in flight was made needs no row in flight.
        rows += self._live_rows.values()
        try:
            self._index.put(rows, self._indexed_sizes() if due else (), self._gone)
        except sqlite3.Error:
            # The rows stay where they are and are tried again; their frames are on the disk.
            self._wait_index_until = now + RETRY_S
            raise
        self._live_rows.clear()
        self._gone.clear()
        if due:
            self._last_sync = now
            for row, in_part in done:
                if in_part:
                    self._parts.remove(row.meta.id)
            self._done_rows.clear()
            self._sealed.clear()
            self._release_folders()
        if now - self._last_checkpoint >= 1.0:
            self._last_checkpoint = now
            self._index.checkpoint()

    def _indexed_sizes(self) -> list[tuple[str, int]]:
        return [*self._sealed, *((each.name, each.size) for each in self._segments.values())]

    def _sync(self) -> None:
        for key_id in list(self._unsynced):
            segment = self._segments.get(key_id)
            if segment is not None:
                segment.sync()
            self._unsynced.discard(key_id)

    def _release_folders(self) -> None:
        for lock in self._folder_locks.values():
            lock.release()
        self._folder_locks.clear()

    # status

    def _heartbeat(self, now: float) -> None:
        if self._address is None:
            return
        counters = self.counters
        shown = (
            counters.seen,
            counters.recorded,
            counters.unmatched,
            counters.last_unmatched_ms,
            self._lost_records,
            self._lost_bytes,
            self._error,
            self._address,
        )
        # A change is told within half a second, sameness every HEARTBEAT_S.
        since = now - self._last_heartbeat
        if since < (0.5 if shown != self._status_shown else HEARTBEAT_S):
            return
        self._last_heartbeat = now
        self._index.put_status(
            ProxyStatus(
                writer=self.name,
                pid=os.getpid(),
                address=self._address,
                started_ms=self._started_ms,
                heartbeat_ms=time.time_ns() // 1_000_000,
                seen=counters.seen,
                recorded=counters.recorded,
                unmatched=counters.unmatched,
                lost_records=self._lost_records,
                lost_bytes=self._lost_bytes,
                last_unmatched_ms=counters.last_unmatched_ms,
                last_unmatched_host=counters.last_unmatched_host,
                last_unmatched_fingerprint=counters.last_unmatched_fingerprint,
                error=self._error,
            )
        )
        self._status_shown = shown

    # the end

    def _shut_down(self) -> None:
        self._tick()
        with contextlib.suppress(Exception):
            self._drain()
            now_ms = time.time_ns() // 1_000_000
            for state in list(self._open.values()):
                state.recording.ended = True
                state.end = (
                    max(0, now_ms - state.recording.started_ms),
                    Transport.PROXY_SHUTDOWN,
                    "The proxy was shut down.",
                )
                self._finished.append(state)
            self._open.clear()
        self._retry_at = 0.0
        self._wait_index_until = 0.0
        self._tick()
        clean = not (self._unwritten or self._done_rows or self._finished)
        self._release_folders()
        for segment in self._segments.values():
            segment.close()
        self._parts.close()
        if clean:
            with contextlib.suppress(Exception):
                self._index.forget_writer(self.name)
                self._index.checkpoint(wait_s=0.2, truncate=True)
                folder = self._layout.live / self.name
                (folder / "lock").unlink()
                folder.rmdir()
        with contextlib.suppress(Exception):
            self._index.close()
        self._keys_connection.close()
        self._lock.release()


class _Chunks:
    """Chunks of a part and those still in memory, one after the other, any number of times."""

    def __init__(
        self, mapped: Iterable[tuple[int, bytes]], pending: list[tuple[int, bytes]]
    ) -> None:
        self._mapped = mapped
        self._pending = pending

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        yield from self._mapped
        yield from self._pending


def _seal_after_ms(key: Key) -> float:
    """A segment's age at which it is sealed: a sixteenth of the retention, at most an hour, so
    that most of what expires is whole files."""
    return min(3_600.0, (key.retention_s or 0) / 16) * 1000


def _begin_json(recording: LocalRecording) -> dict[str, Any]:
    return {
        "id": recording.id,
        "key": recording.key_id,
        "started_ms": recording.started_ms,
        "protocol": recording.protocol,
        "request": request_json(recording.request),
    }
