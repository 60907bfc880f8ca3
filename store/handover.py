"""From the proxy's loop to the writer's thread: a bounded queue and the recordings that feed it.

On the loop nothing is parsed, compressed, locked or written: a call is an append to a deque.
What does not fit is counted on the recording, never waited for.
"""

import threading
from collections import deque
from enum import IntEnum
from typing import Any

from store.record import Ending, RequestHead, ResponseHead, Transport, Wire

QUEUE_BYTES = 256 * 1024 * 1024
"""Beyond this the disk is not keeping up, and bodies are cut rather than memory filled."""

CALL_BYTES = 128
"""What a queued call weighs beside its bytes, so that a million empty chunks are bounded too."""


class Call(IntEnum):
    """What the loop tells the thread."""

    BEGIN = 0
    REQUEST = 1
    REQUEST_END = 2
    HEAD = 3
    RESPONSE = 4
    END = 5


_REQUEST, _RESPONSE = Call.REQUEST, Call.RESPONSE

type Queued = tuple[Call, "LocalRecording", int, Any]
"""(what, of which recording, at_ms, its argument)"""


class Handover:
    """The queue: one thread puts in, another takes out."""

    def __init__(self, limit: int = QUEUE_BYTES) -> None:
        self._limit = limit
        self._queue: deque[Queued] = deque()
        # Each is written by one thread alone, so neither needs a lock.
        self._put = 0
        self._taken = 0
        self.kept = 0
        """Bytes taken out that are still in memory, for the disk or a purge is slow; set by the thread."""
        self._arrived = threading.Event()
        self._asleep = False
        """The thread waits for something to arrive; else nothing needs to wake it."""

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self._put - self._taken + self.kept + size < self._limit

    @property
    def room(self) -> int:
        """How many more bytes fit."""
        return max(0, self._limit - (self._put - self._taken + self.kept))

    @property
    def full(self) -> bool:
        """Of the room less than a sixteenth is left: the next body may not fit."""
        return self.room < self._limit // 16

    def put(self, call: Queued, size: int = 0) -> None:
        """Append a call that carries `size` bytes; heads and ends are taken however full it is."""
        self._put += size + CALL_BYTES
        self._queue.append(call)
        if self._asleep:
            self._arrived.set()

    def take(self) -> list[Queued]:
        """Everything there is now."""
        queue = self._queue
        # By count: what is appended meanwhile waits for the next time, and nothing is lost in a swap.
        return [queue.popleft() for _ in range(len(queue))]

    def taken(self, size: int) -> None:
        """Calls weighing `size` have left the queue: there is room again, but for `kept`."""
        self._taken += size

    def wait(self, timeout_s: float) -> bool:
        """Until something arrives, or `timeout_s`; True if something did."""
        # Told before the queue is looked at: what is put after that look sets the event.
        self._asleep = True
        arrived = bool(self._queue) or self._arrived.wait(timeout_s)
        self._asleep = False
        self._arrived.clear()
        return arrived

    def wake(self) -> None:
        """End a wait now."""
        self._arrived.set()

    def __len__(self) -> int:
        return len(self._queue)


class LocalRecording:
    """One exchange being recorded, the loop's side of it (store.contract.Recording)."""

    __slots__ = (
        "_full",
        "_handover",
        "discarded",
        "ended",
        "id",
        "key_id",
        "lost",
        "protocol",
        "request",
        "started_ms",
    )

    def __init__(
        self,
        handover: Handover,
        record_id: str,
        key_id: str,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
    ) -> None:
        self._handover = handover
        self.id = record_id
        self.key_id = key_id
        self.started_ms = started_ms
        self.request = request
        self.protocol = protocol
        self.ended = False
        self.discarded = False
        """Its key was switched off; the thread's to say."""
        self.lost = 0
        """Bytes that passed and did not fit into the queue; the loop's to count."""
        self._full = False
        handover.put((Call.BEGIN, self, 0, None))

    def request_chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the request body, as on the wire."""
        self._chunk(_REQUEST, at_ms, data)

    def request_end(self, at_ms: int) -> None:
        """The request body is whole."""
        if not self.ended:
            self._handover.put((Call.REQUEST_END, self, at_ms, None))

    def response_head(self, at_ms: int, head: ResponseHead) -> None:
        """The response began."""
        if not self.ended:
            self._handover.put((Call.HEAD, self, at_ms, head))

    def response_chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the response body, as on the wire."""
        self._chunk(_RESPONSE, at_ms, data)

    def end(
        self, at_ms: int, transport: Transport, error: str | None = None, wire: Wire | None = None
    ) -> None:
        """The exchange is over, and `wire` is what passed; the first call counts."""
        if not self.ended:
            self.ended = True
            end = Ending(at_ms, transport, error, wire)
            self._handover.put((Call.END, self, at_ms, end))

    def stop(self) -> None:
        """Something of a body could not be kept: nor is anything after it, so that what is kept
        is a prefix and never a body with a hole."""
        self._full = True

    def _chunk(self, call: Call, at_ms: int, data: bytes) -> None:
        # The loop does this for each event that passes: `has_room` and `put` without calling them.
        if self.ended:
            return
        size = len(data)
        handover = self._handover
        put = handover._put + size
        if self._full or put - handover._taken + handover.kept >= handover._limit:
            self._full = True
            self.lost += size
            return
        handover._put = put + CALL_BYTES
        handover._queue.append((call, self, at_ms, data))
        if handover._asleep:
            handover.wake()
