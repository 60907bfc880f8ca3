"""Finished exchanges into segments, and their rows into the index; the writer's thread alone.

The order is the contract of durability: append, sync (shared by all that finished within
SYNC_S), commit the rows. From append to commit the key folder's lock is held shared, so
that a purge, which holds it exclusively, never meets frames that are on their way.
"""

import sqlite3
import time

from store.errors import StoreUnavailable
from store.frames import Kind
from store.ids import IdSource
from store.in_flight import Exchange, InFlight
from store.index import Index, Row
from store.layout import Layout, Lock, make_folder
from store.record import Key, RecordMeta, Transport
from store.segments import SEAL_BYTES, Content, SegmentWriter
from store.summary import Observed, summarize

SYNC_S = 0.2
"""Finished records share a sync: what a power cut can lose of them."""

INDEX_RETRY_S = 1.0
CHECKPOINT_S = 1.0
LOCK_WAIT_S = 2.0


class Filing:
    """The segments of one writer and the rows that are due."""

    def __init__(self, layout: Layout, index: Index, writer: str, ids: IdSource) -> None:
        self._layout = layout
        self._index = index
        self._writer = writer
        self._ids = ids
        self._segments: dict[str, SegmentWriter] = {}
        self._sealed: list[tuple[str, int]] = []
        self._unsynced: set[str] = set()
        self._locks: dict[str, Lock] = {}
        self._live: dict[str, Row] = {}
        self._done: list[tuple[Row, bool]] = []
        self._gone: list[str] = []
        self._last_sync = 0.0
        self._not_before = 0.0
        self._last_checkpoint = 0.0

    @property
    def waiting(self) -> bool:
        """Rows are waiting to be committed."""
        return bool(self._done or self._live or self._gone)

    @property
    def waiting_done(self) -> bool:
        """Rows of finished records are among them."""
        return bool(self._done)

    def note_live(self, meta: RecordMeta) -> None:
        """The row of a record in flight is new or has changed."""
        self._live[meta.id] = Row(meta, self._writer)

    def note_gone(self, record_id: str) -> None:
        """A record in flight was discarded."""
        self._live.pop(record_id, None)
        self._gone.append(record_id)

    def lock(self, key_id: str) -> None:
        """Keep purges of a key out until the next commit; StoreUnavailable while one runs."""
        if key_id in self._locks:
            return
        folder = self._layout.key_folder(key_id)
        make_folder(folder)
        lock = Lock(folder)
        if not lock.take(shared=True, timeout_s=LOCK_WAIT_S):
            raise StoreUnavailable(f"{folder} is being purged")
        self._locks[key_id] = lock

    def file(self, key: Key, exchange: Exchange, in_flight: InFlight) -> None:
        """Append a finished exchange to its key's segment, whose lock is held; OSError changes nothing."""
        recording = exchange.recording
        at_ms, transport, error = exchange.end or (0, Transport.RECOVERED, None)
        request = in_flight.chunks(exchange, Kind.REQUEST)
        response = in_flight.chunks(exchange, Kind.RESPONSE)
        seen = Observed(
            id=recording.id,
            key_id=key.id,
            started_ms=recording.started_ms,
            ended_at_ms=at_ms,
            request=recording.request,
            protocol=recording.protocol,
            response=exchange.response,
            transport=transport,
            error=error,
            lost_bytes=recording.lost,
        )
        meta = summarize(seen, request, response)
        content = Content(meta, recording.request, exchange.response, request, response)
        place = self._segment(key).append(content)
        self._unsynced.add(key.id)
        self._live.pop(recording.id, None)
        self._done.append((Row(meta, self._writer, place), exchange.in_part))

    def _segment(self, key: Key) -> SegmentWriter:
        now_ms = time.time_ns() // 1_000_000
        current = self._segments.get(key.id)
        if current is not None:
            aged = now_ms - current.created_ms >= _seal_after_ms(key)
            if not (current.unlinked or current.size >= SEAL_BYTES or aged):
                return current
            self._seal(key.id, current)
        current = SegmentWriter(
            self._layout.segments, key.id, self._writer, self._ids.new(now_ms), now_ms
        )
        self._segments[key.id] = current
        self._index.add_segment(current.name, key.id, self._writer)
        return current

    def _seal(self, key_id: str, segment: SegmentWriter) -> None:
        if key_id in self._unsynced:
            segment.sync()
        if not segment.unlinked:
            self._sealed.append((segment.name, segment.size))
        segment.close()
        del self._segments[key_id]

    def commit(self, now: float, *, at_once: bool = False) -> list[str]:
        """Commit the rows that are due; returns the ids whose parts may go now.

        Rows that could not be committed stay and are tried again (sqlite3.Error, OSError).
        """
        if not self._done:
            # Only discarded ones were held up by the locks.
            self._release()
        if now < self._not_before and not at_once:
            return []
        due = bool(self._done) and (at_once or now - self._last_sync >= SYNC_S)
        if not (due or self._live or self._gone):
            return []
        done = self._done if due else []
        sizes: list[tuple[str, int]] = []
        if due:
            self._sync()
            sizes = [*self._sealed, *((each.name, each.size) for each in self._segments.values())]
        try:
            rows = [row for row, _ in done]
            self._index.put([*rows, *self._live.values()], sizes, self._gone)
        except sqlite3.Error:
            self._not_before = now + INDEX_RETRY_S
            raise
        self._live.clear()
        self._gone.clear()
        stored = [row.meta.id for row, in_part in done if in_part]
        if due:
            self._last_sync = now
            self._done = []
            self._sealed.clear()
            self._release()
        if now - self._last_checkpoint >= CHECKPOINT_S:
            self._last_checkpoint = now
            self._index.checkpoint()
        return stored

    def _sync(self) -> None:
        for key_id in list(self._unsynced):
            segment = self._segments.get(key_id)
            if segment is not None:
                segment.sync()
            self._unsynced.discard(key_id)

    def _release(self) -> None:
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()

    def close(self) -> None:
        """Let every descriptor and lock go."""
        self._release()
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()


def _seal_after_ms(key: Key) -> float:
    """The age at which a segment is sealed: a sixteenth of the retention, at most an hour, so
    that most of what expires is whole files."""
    return min(3_600.0, (key.retention_s or 0) / 16) * 1000
