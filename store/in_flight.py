"""Exchanges in flight on the writer's side: what is not on the disk yet, and the parts that hold the rest.

Used by the writer's thread alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from store.codec import end_json, pack_json, request_json, response_json
from store.frames import Kind, pack_all
from store.handover import Call, LocalRecording, Queued
from store.parts import PartChunks, PartFiles
from store.record import Ending, RecordMeta, ResponseHead, Transport, id_bytes
from store.summary import Asked, asked, begun

_CHUNKS = (Kind.REQUEST, Kind.RESPONSE)
_KIND_OF = {Call.REQUEST: Kind.REQUEST, Call.RESPONSE: Kind.RESPONSE}

COPY_BYTES = 128 * 1024
"""What of an exchange's bodies stays in memory beside its part: most end below it, and then the
part need not be read again."""

COPIES_BYTES = 64 * 1024 * 1024
"""The same for all exchanges together: ten thousand streams must not cost a gigabyte."""


@dataclass(slots=True)
class Exchange:
    """One exchange, from its begin until its row is committed."""

    recording: LocalRecording
    pending: list[tuple[Kind, int, bytes]] = field(default_factory=list)
    """(kind, at_ms, payload) of frames that are not in the part yet."""
    in_part: bool = False
    response: ResponseHead | None = None
    request_ended: bool = False
    end: Ending | None = None
    row_due: bool = True
    """Something its row in flight shows has changed."""
    stopped: bool = False
    """The disk refused something of its bodies: nothing after it is kept either."""
    dropped: int = 0
    """Bytes of its bodies that were not kept for that."""
    counted: int = 0
    """How many of its lost bytes the status has been told of."""
    parked: bool = False
    """It has ended, and its part says so."""
    asked: Asked | None = None
    """What its request was seen to ask."""
    tries: int = 0
    """How often it could not be stored for another reason than the disk."""
    discarded: bool = False
    """Its key is off: nothing more is done for it."""
    copies: list[tuple[Kind, int, bytes]] | None = field(default_factory=list)
    """The chunks that are in the part, in their order; None once they were too much to keep."""
    copied: int = 0
    """Bytes of them."""

    @property
    def lost_bytes(self) -> int:
        """Bytes of its bodies that passed and are not kept."""
        return self.recording.lost + self.dropped

    @property
    def waiting_bytes(self) -> int:
        """Bytes of its bodies that memory holds."""
        return sum(len(data) for kind, _, data in self.pending if kind in _CHUNKS)

    def take(self, call: Call, at_ms: int, value: Any) -> None:
        """Take in one call of the loop's."""
        kind = _KIND_OF.get(call)
        if kind is not None:
            if self.stopped:
                # It was in the queue already when the disk refused what came before it.
                self.dropped += len(value)
            else:
                self.pending.append((kind, at_ms, value))
        elif call == Call.REQUEST_END:
            self.request_ended = self.row_due = True
            self.pending.append((Kind.REQUEST_END, at_ms, b""))
        elif call == Call.HEAD:
            self.response = value
            self.row_due = True
            # Its JSON is made when it goes into a part; most short exchanges have none.
            self.pending.append((Kind.RESPONSE_HEAD, at_ms, b""))
        elif call == Call.END:
            self.end = value


class InFlight:
    """The exchanges of one writer that have not ended, and their parts."""

    def __init__(self, parts: PartFiles) -> None:
        self._parts = parts
        self._open: dict[str, Exchange] = {}
        self._dirty: dict[str, Exchange] = {}
        self._copied = 0

    def __len__(self) -> int:
        return len(self._open)

    def take(self, calls: Iterable[Queued]) -> list[Exchange]:
        """Sort the loop's calls to their exchanges; returns those that ended, in their order."""
        ended = []
        told: LocalRecording | None = None
        exchange: Exchange | None = None
        for call, recording, at_ms, value in calls:
            # Most calls are of the same exchange as the one before.
            if recording is not told:
                told = recording
                if call is Call.BEGIN:
                    exchange = self._open[recording.id] = Exchange(recording)
                else:
                    # None: discarded while the loop was still telling of it.
                    exchange = self._open.get(recording.id)
                if exchange is not None:
                    self._dirty[recording.id] = exchange
            if exchange is None or call is Call.BEGIN:
                continue
            exchange.take(call, at_ms, value)
            if exchange.end is not None:
                del self._open[recording.id]
                del self._dirty[recording.id]
                ended.append(exchange)
                exchange = None
        return ended

    def take_dirty(self) -> list[Exchange]:
        """Those with something that is not in their part; each is given once."""
        dirty, self._dirty = self._dirty, {}
        return list(dirty.values())

    def put_back(self, exchange: Exchange) -> None:
        """It could not be written now: it is dirty again."""
        if exchange.recording.id in self._open:
            self._dirty[exchange.recording.id] = exchange

    def drop(self, exchange: Exchange) -> None:
        """Forget an exchange and its part: its key is off. Calls still to come are ignored."""
        self._open.pop(exchange.recording.id, None)
        self._dirty.pop(exchange.recording.id, None)
        exchange.discarded = True
        exchange.recording.ended = True
        exchange.pending.clear()
        self.forget_copies(exchange)
        self._parts.remove(exchange.recording.id)

    def all(self) -> list[Exchange]:
        """Every exchange that has not ended."""
        return list(self._open.values())

    def end_all(self, now_ms: int, transport: Transport, error: str) -> list[Exchange]:
        """End every exchange as of now."""
        ended = self.all()
        for exchange in ended:
            exchange.recording.ended = True
            at_ms = max(0, now_ms - exchange.recording.started_ms)
            exchange.end = Ending(at_ms, transport, error)
        self._open.clear()
        self._dirty.clear()
        return ended

    def write_part(self, exchange: Exchange) -> None:
        """Put what is pending into the part; FileNotFoundError if that was purged, OSError if the disk refuses."""
        recording = exchange.recording
        pieces = exchange.pending
        if exchange.in_part and not pieces:
            return
        if not exchange.in_part:
            pieces = [(Kind.BEGIN, 0, pack_json(_begin_json(recording))), *pieces]
        head = exchange.response
        if head is not None:
            pieces = [
                (
                    kind,
                    at_ms,
                    pack_json(response_json(head)) if kind is Kind.RESPONSE_HEAD else data,
                )
                for kind, at_ms, data in pieces
            ]
        frames = pack_all(id_bytes(recording.id), pieces)
        if exchange.in_part:
            self._parts.append(recording.id, frames, looked=True)
        else:
            self._parts.create(recording.id, frames)
            exchange.in_part = True
        self._copy_pending(exchange)
        exchange.pending.clear()

    def _copy_pending(self, exchange: Exchange) -> None:
        if exchange.copies is None:
            return
        size = exchange.waiting_bytes
        if exchange.copied + size > COPY_BYTES or self._copied + size > COPIES_BYTES:
            self.forget_copies(exchange)
            return
        exchange.copies += [piece for piece in exchange.pending if piece[0] in _CHUNKS]
        exchange.copied += size
        self._copied += size

    def forget_copies(self, exchange: Exchange) -> None:
        """Its chunks are read from its part from now on, or are needed no more."""
        self._copied -= exchange.copied
        exchange.copies, exchange.copied = None, 0

    def park(self, exchange: Exchange) -> None:
        """Put a finished exchange that no segment would take into its part, with its end; OSError as above."""
        if exchange.end is None or exchange.parked:
            return
        end = pack_json(end_json(exchange.end, exchange.lost_bytes))
        exchange.pending.append((Kind.END, exchange.end.at_ms, end))
        try:
            self.write_part(exchange)
        except OSError:
            exchange.pending.pop()
            raise
        exchange.parked = True

    def give_up(self, exchange: Exchange) -> None:
        """The disk refuses: drop the pending chunks rather than pile them up, and all that come after."""
        exchange.dropped += exchange.waiting_bytes
        exchange.pending = [piece for piece in exchange.pending if piece[0] not in _CHUNKS]
        exchange.stopped = True
        exchange.recording.stop()

    def part_is_gone(self, exchange: Exchange) -> bool:
        """A purge from another process took the part away."""
        return exchange.in_part and self._parts.gone(exchange.recording.id)

    def remove_part(self, record_id: str) -> None:
        """The record is stored."""
        self._parts.remove(record_id)

    def chunks(self, exchange: Exchange, kind: Kind) -> Iterable[tuple[int, bytes]]:
        """The chunks of an exchange so far, in order, to be iterated any number of times."""
        pending = [(at_ms, data) for each, at_ms, data in exchange.pending if each == kind]
        if exchange.copies is not None:
            return [
                (at_ms, data) for each, at_ms, data in exchange.copies if each == kind
            ] + pending
        part = PartChunks(self._parts.path(exchange.recording.id), kind) if exchange.in_part else ()
        return _Chained(part, pending)

    def row(self, exchange: Exchange) -> RecordMeta:
        """The row in flight; the model is in it once the request is whole."""
        exchange.row_due = False
        recording = exchange.recording
        return begun(
            recording.id,
            recording.key_id,
            recording.started_ms,
            recording.request,
            recording.protocol,
            exchange.response,
            self.asked(exchange) if exchange.request_ended else None,
        )

    def asked(self, exchange: Exchange) -> Asked:
        """What its request asked; looked at once it is whole, and then only counted."""
        chunks = self.chunks(exchange, Kind.REQUEST)
        if exchange.asked is None or not exchange.request_ended:
            recording = exchange.recording
            exchange.asked = asked(recording.request, recording.protocol, chunks)
        return Asked(exchange.asked.model, sum(len(data) for _, data in chunks))

    def close(self) -> None:
        """Let the parts' descriptors go."""
        self._parts.close()


class _Chained:
    """Chunks of a part, then those still in memory."""

    def __init__(self, part: Iterable[tuple[int, bytes]], pending: list[tuple[int, bytes]]) -> None:
        self._part = part
        self._pending = pending

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        yield from self._part
        yield from self._pending


def _begin_json(recording: LocalRecording) -> dict[str, Any]:
    return {
        "id": recording.id,
        "key": recording.key_id,
        "started_ms": recording.started_ms,
        "protocol": recording.protocol,
        "request": request_json(recording.request),
    }
