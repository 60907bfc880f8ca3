"""Finished exchanges into segments, and their rows into the index; the writer's thread alone.

The order is the contract of durability: append, sync (shared by all that finished within
SYNC_S), commit the rows. From append to commit the key folder's lock is held shared, so
that a purge, which holds it exclusively, never meets frames that are on their way.
"""

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from store.codec import meta_values
from store.delta import Bases
from store.errors import StoreUnavailable
from store.frames import Kind
from store.ids import IdSource
from store.in_flight import Exchange, InFlight
from store.index import Index, Indexed, Row
from store.key_folder import share
from store.layout import FileView, Layout, Lock
from store.record import Ending, Key, RecordMeta, Transport
from store.segments import GATHERED_BYTES, SEAL_BYTES, Content, Copying, Place, SegmentWriter
from store.summary import Observed, summarize

SYNC_S = 0.2
"""Finished records share a sync: what a power cut can lose of them."""

SMALL_BYTES = 64 * 1024
"""Records whose bodies are no longer are appended together: each step that leaves the interpreter
is one more time that this thread and the proxy's loop wait for each other."""

INDEX_RETRY_S = 1.0
CHECKPOINT_S = 1.0


@dataclass(slots=True)
class _Filed:
    """A record that is in a segment, until its row is committed."""

    meta: RecordMeta
    place: Place
    in_part: bool
    """It has a part, which goes when the row is there."""
    values: dict[str, Any]
    """The column values of `meta`."""


class Filing:
    """The segments of one writer and the rows that are due."""

    def __init__(self, layout: Layout, index: Index, writer: str, ids: IdSource) -> None:
        self._layout = layout
        self._index = index
        self._writer = writer
        self._ids = ids
        self._segments: dict[str, SegmentWriter] = {}
        self._bases = Bases()
        self._sealed: list[Indexed] = []
        self._unsynced: set[str] = set()
        self._locks: dict[str, Lock] = {}
        self._sound: set[str] = set()
        """Of those the keys whose segment was there since: it cannot go while purges are kept out."""
        self._live: dict[str, Row] = {}
        self._done: list[_Filed] = []
        self._gone: list[str] = []
        self.lost_records = 0
        """Finished records that a failing disk took back."""
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

    def holds(self, key_id: str) -> bool:
        """Purges of a key are kept out at the moment."""
        return key_id in self._locks

    def hold(self, key_id: str) -> bool:
        """Keep purges of a key out until the next commit; False while one runs or waits to."""
        lock = share(self._layout, key_id)
        if lock is None:
            return False
        self._locks[key_id] = lock
        return True

    def keys_of_live_rows(self) -> set[str]:
        """The keys to be held for the rows in flight that are due."""
        return {row.meta.key_id for row in self._live.values()}

    def file(
        self, key: Key, exchanges: Sequence[Exchange], in_flight: InFlight
    ) -> dict[str, Exception]:
        """Append finished exchanges to their key's segment, whose lock is held; by their ids those
        that could not be, and why. Of these nothing has changed."""
        contents: dict[str, Content] = {}
        failed: dict[str, Exception] = {}
        for exchange in exchanges:
            try:
                contents[exchange.recording.id] = self._content(key, exchange, in_flight)
            except Exception as exc:
                failed[exchange.recording.id] = exc
        places = self._append_small(key, contents)
        for exchange in exchanges:
            record_id = exchange.recording.id
            if record_id in failed:
                continue
            content = contents[record_id]
            try:
                place = places.get(record_id) or self._segment(key).append(content)
            except Exception as exc:
                failed[record_id] = exc
                continue
            self._unsynced.add(key.id)
            self._live.pop(record_id, None)
            self._done.append(_Filed(content.meta, place, exchange.in_part, content.values or {}))
        return failed

    def _append_small(self, key: Key, contents: dict[str, Content]) -> dict[str, Place]:
        """Where the small ones lie that could be appended together; none where that failed, and
        each shall be tried alone."""
        places: dict[str, Place] = {}
        run: list[Content] = []
        size = 0
        with contextlib.suppress(Exception):
            for content in contents.values():
                if content.size <= SMALL_BYTES:
                    run.append(content)
                    size += content.size
                if size >= GATHERED_BYTES:
                    self._append_run(key, run, places)
                    run, size = [], 0
            self._append_run(key, run, places)
        return places

    def _append_run(self, key: Key, run: list[Content], places: dict[str, Place]) -> None:
        # One alone is appended like a large one.
        if len(run) > 1:
            for content, place in zip(run, self._segment(key).append_all(run), strict=True):
                places[content.meta.id] = place

    def _content(self, key: Key, exchange: Exchange, in_flight: InFlight) -> Content:
        recording = exchange.recording
        end = exchange.end or Ending(0, Transport.RECOVERED)
        request = in_flight.chunks(exchange, Kind.REQUEST)
        response = in_flight.chunks(exchange, Kind.RESPONSE)
        seen = Observed(
            id=recording.id,
            key_id=key.id,
            started_ms=recording.started_ms,
            ended_at_ms=end.at_ms,
            request=recording.request,
            protocol=recording.protocol,
            response=exchange.response,
            transport=end.transport,
            error=end.error,
            lost_bytes=exchange.lost_bytes,
        )
        meta = summarize(seen, request, response, in_flight.asked(exchange))
        values = meta_values(meta)
        return Content(
            meta, recording.request, exchange.response, request, response, end.wire, values
        )

    def _segment(self, key: Key) -> SegmentWriter:
        """The segment to append to, a new one where the last is full, old, purged or broken."""
        current = self._segments.get(key.id)
        if current is None:
            return self._new_segment(key.id)
        age_ms = time.time_ns() // 1_000_000 - current.created_ms
        if current.broken or current.size >= SEAL_BYTES or age_ms >= _seal_after_ms(key):
            self._sync(key.id)
        elif key.id in self._sound or not current.unlinked:
            self._sound.add(key.id)
            return current
        if self._segments[key.id] is current:
            self._seal(key.id)
        return self._new_segment(key.id)

    def _new_segment(self, key_id: str) -> SegmentWriter:
        segment = self._segments[key_id] = self._make_segment(key_id)
        return segment

    def _make_segment(self, key_id: str) -> SegmentWriter:
        now_ms = time.time_ns() // 1_000_000
        return SegmentWriter(
            self._layout.segments,
            key_id,
            self._writer,
            self._ids.new(now_ms),
            now_ms,
            self._bases,
        )

    def _seal(self, key_id: str) -> None:
        segment = self._segments.pop(key_id)
        if not segment.unlinked:
            self._sealed.append(self._indexed(segment))
        segment.close()

    def _indexed(self, segment: SegmentWriter) -> Indexed:
        return Indexed(segment.name, segment.key_id, self._writer, segment.size)

    def commit(self, now: float, *, at_once: bool = False) -> list[str]:
        """Commit the rows that are due, of keys that are held; returns the ids whose parts may go now.

        Rows that could not be committed stay and are tried again (sqlite3.Error, OSError,
        StoreUnavailable).
        """
        try:
            return self._commit(now, at_once)
        finally:
            if not self._done:
                # Finished records hold purges off until their rows are there, others until now.
                self._release()

    def _commit(self, now: float, at_once: bool) -> list[str]:
        if now < self._not_before and not at_once:
            return []
        done: list[_Filed] = []
        segments: list[Indexed] = []
        if self._done and (at_once or now - self._last_sync >= SYNC_S):
            self._last_sync = now
            for key_id in list(self._unsynced):
                self._sync(key_id)
            done = self._done
            segments = [*self._sealed]
            segments += [
                self._indexed(each) for each in self._segments.values() if not each.unlinked
            ]
        live = [row for row in self._live.values() if self.holds(row.meta.key_id)]
        if not (done or live or self._gone):
            return []
        rows = [Row(filed.meta, self._writer, filed.place, filed.values) for filed in done]
        try:
            self._index.put([*rows, *live], segments, self._gone)
        except (sqlite3.Error, OSError, StoreUnavailable):
            self._not_before = now + INDEX_RETRY_S
            raise
        for row in live:
            del self._live[row.meta.id]
        self._gone.clear()
        if done:
            self._done = []
            self._sealed.clear()
        if now - self._last_checkpoint >= CHECKPOINT_S:
            self._last_checkpoint = now
            self._index.checkpoint()
        return [filed.meta.id for filed in done if filed.in_part]

    def _sync(self, key_id: str) -> None:
        """What was appended for a key is on the disk; if not (OSError), it was moved to where it may still get."""
        segment = self._segments.get(key_id)
        if segment is not None and key_id in self._unsynced:
            try:
                segment.sync()
            except OSError:
                self._move_unsynced(segment)
                raise
        self._unsynced.discard(key_id)

    def _move_unsynced(self, old: SegmentWriter) -> None:
        """A sync failed, so this file is not written to again: what it did not keep for certain
        goes from the page cache into a new one, and the next commit tries that."""
        new = self._make_segment(old.key_id)
        places: dict[str, Place | None] = {}
        try:
            with FileView(self._layout.segment(old.name)) as buffer:
                copying = Copying(buffer, new)
                for filed in self._done:
                    if filed.place.segment == old.name:
                        places[filed.meta.id] = copying.copy(filed.place)
        except BaseException:
            new.close()
            with contextlib.suppress(OSError):
                self._layout.segment(new.name).unlink()
            raise
        starts = [filed.place.start for filed in self._done if filed.meta.id in places]
        if starts:
            old.cut_back(min(starts))
        self._seal(old.key_id)
        self._segments[old.key_id] = new
        kept = []
        for filed in self._done:
            place = places.get(filed.meta.id, filed.place)
            if place is None:
                self.lost_records += 1
            else:
                filed.place = place
                kept.append(filed)
        self._done = kept

    def _release(self) -> None:
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()
        self._sound.clear()

    def close(self) -> None:
        """Let every descriptor and lock go; records whose rows are still due are left to recovery."""
        with contextlib.suppress(OSError):
            for key_id in list(self._unsynced):
                self._sync(key_id)
        self._release()
        for segment in self._segments.values():
            segment.close()
        self._segments.clear()


def _seal_after_ms(key: Key) -> float:
    """The age at which a segment is sealed: a sixteenth of the retention, at most an hour, so
    that most of what expires is whole files."""
    return min(3_600.0, (key.retention_s or 0) / 16) * 1000
