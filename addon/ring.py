"""The memory ring: what passed of keys that are off or unknown, so that it can still be kept when
something has just gone wrong. Pure: times come as arguments, and nothing in here can reach a disk.

It is bounded in bytes of memory, whatever is held. The oldest that have ended go first, then the
oldest in flight. What has gone is gone whole: a prefix is never kept as if it were an exchange.
"""

from collections import OrderedDict, deque
from typing import Any

from store.contract import Recording
from store.record import RequestHead, ResponseHead, Transport, Wire

EXCHANGE_BYTES = 1_800
"""What an exchange costs beside its heads and bodies, as measured: its objects, its places here."""

CALL_BYTES = 150
"""What a chunk, a head or an end costs beside its bytes: three objects and a place in a list."""

FIELD_BYTES = 138
"""The same of a header field."""

OVERRUN = "The memory ring ran full while this was kept; the call went on."

_FINISHED, _OPEN, _WANTED = range(3)

type _Call = tuple[Any, ...]
"""(a method of Recording, its arguments)"""


class Held:
    """One exchange in the ring, told like any recording (store.contract.Recording).

    Once it is kept, it passes on what it holds to a recording of the store, and then, if it has
    not ended, whatever it is told.
    """

    __slots__ = (
        "_calls",
        "_onward",
        "_ring",
        "_told_ms",
        "counted",
        "ended",
        "ended_ms",
        "fingerprint",
        "id",
        "place",
        "protocol",
        "recording",
        "request",
        "size",
        "started_ms",
    )

    def __init__(
        self,
        ring: "Ring",
        record_id: str,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
        fingerprint: str | None,
        counted: bool,
    ) -> None:
        self.id = record_id
        self.started_ms = started_ms
        self.request = request
        self.protocol = protocol
        self.fingerprint = fingerprint
        """Of the credential it came with."""
        self.counted = counted
        """As unmatched."""
        self.ended = False
        self.ended_ms: int | None = None
        """When; None while it is in flight."""
        self.recording: Recording | None = None
        """Where it goes, once it is being kept."""
        self.size = EXCHANGE_BYTES + _head_bytes(request.headers) + len(request.path)
        """Bytes of memory it is held to cost."""
        self.place = _OPEN
        self._ring: Ring | None = ring
        self._calls: deque[_Call] = deque()
        self._told_ms = 0
        """When the last of what has been told came."""
        self._onward = False
        """All that it held has been told: what comes is told at once."""

    def request_chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the request body, as on the wire."""
        self._tell(len(data), ("request_chunk", at_ms, data))

    def request_end(self, at_ms: int) -> None:
        """The request body is whole."""
        self._tell(0, ("request_end", at_ms))

    def response_head(self, at_ms: int, head: ResponseHead) -> None:
        """The response began."""
        self._tell(_head_bytes(head.headers), ("response_head", at_ms, head))

    def response_chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the response body, as on the wire."""
        self._tell(len(data), ("response_chunk", at_ms, data))

    def end(
        self, at_ms: int, transport: Transport, error: str | None = None, wire: Wire | None = None
    ) -> None:
        """The exchange is over; the first call counts."""
        self._tell(0, ("end", at_ms, transport, error, wire))
        if not self.ended:
            self.ended = True
            self.ended_ms = self.started_ms + at_ms
            if self._ring is not None:
                self._ring.end(self)

    @property
    def discarded(self) -> bool:
        """Of what is kept of it; what the ring lets go of comes back no more."""
        return self.recording is not None and self.recording.discarded

    @property
    def gone(self) -> bool:
        """The ring has let go of it, or it has been kept: nothing is held any more."""
        return self._ring is None

    @property
    def next_bytes(self) -> int:
        """What the next of what it holds weighs; 0 if it holds nothing yet."""
        return _weight(self._calls[0]) if self._calls else 0

    def keep(self, recording: Recording) -> None:
        """It is being kept: what it holds is for that recording, to be told by `tell_next`."""
        self.recording = recording
        self._pass_on()

    def tell_next(self) -> None:
        """Tell its recording the next of what it holds. After the last it is out of the ring, and
        what it is told from then on is told at once."""
        call = self._calls.popleft()
        self._told_ms = call[1]
        if self._ring is not None:
            self._ring.grow(self, -_weight(call))
        if self.recording is not None:
            getattr(self.recording, call[0])(*call[1:])
        self._pass_on()

    def _pass_on(self) -> None:
        if self._ring is not None and not self._calls:
            self._ring.remove(self)
            self._ring = None
            self._onward = True

    def let_go(self) -> None:
        """Nothing is held any more. Of one that was being kept the record ends here and says so."""
        self._cut(OVERRUN)

    def give_up(self, text: str) -> None:
        """Keeping it failed: as let_go, which the ring is told of."""
        if self._ring is not None:
            self._ring.remove(self)
        self._cut(text)

    def _cut(self, text: str) -> None:
        self._ring = None
        self._calls.clear()
        recording, self.recording = self.recording, None
        if recording is not None:
            recording.end(self._told_ms, Transport.RECORDER_FAILED, text)

    def _tell(self, size: int, call: _Call) -> None:
        if self.ended:
            return
        if self._onward and self.recording is not None:
            getattr(self.recording, call[0])(*call[1:])
        elif self._ring is not None:
            self._calls.append(call)
            self._ring.grow(self, size + CALL_BYTES)


class Ring:
    """What one proxy holds. A new exchange may push out older ones; nothing ever waits."""

    def __init__(self, limit: int) -> None:
        """`limit` in bytes of memory."""
        self._limit = limit
        self.bytes = 0
        """Held now."""
        self._all: OrderedDict[str, Held] = OrderedDict()
        # Each in the order in which they came there: the oldest first.
        self._places: tuple[OrderedDict[str, Held], ...] = (
            OrderedDict(),
            OrderedDict(),
            OrderedDict(),
        )

    def __len__(self) -> int:
        return len(self._all)

    @property
    def limit(self) -> int:
        """Bytes of memory it may cost; what is beyond a lower one goes at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._shrink()

    @property
    def since_ms(self) -> int | None:
        """When the oldest began; None: nothing is held."""
        return next(iter(self._all.values())).started_ms if self._all else None

    def hold(
        self,
        record_id: str,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
        fingerprint: str | None,
        *,
        counted: bool = True,
    ) -> Held:
        """Hold an exchange from its begin on; `record_id` is the one it is kept under, if it is."""
        held = Held(self, record_id, started_ms, request, protocol, fingerprint, counted)
        self._all[record_id] = self._places[_OPEN][record_id] = held
        self.bytes += held.size
        self._shrink()
        return held

    def want(self, since_ms: int, fingerprint: str | None = None) -> list[Held]:
        """Those that are to be kept, by id: that had not ended before `since_ms`, and of that
        credential, if any is named. Each is given once; until it is told it stays held, and goes
        only where there is no other to go."""
        found = [held for held in self._places[_OPEN].values()]
        for held in reversed(self._places[_FINISHED].values()):
            if held.ended_ms is not None and held.ended_ms < since_ms:
                break
            found.append(held)
        if fingerprint is not None:
            found = [held for held in found if held.fingerprint == fingerprint]
        found.sort(key=lambda held: held.id)
        for held in found:
            self._move(held, _WANTED)
        return found

    def clear(self) -> None:
        """Let go of all."""
        for held in list(self._all.values()):
            self.remove(held)
            held.let_go()

    # -- what Held says ------------------------------------------------------------------------

    def grow(self, held: Held, size: int) -> None:
        """It costs so much more."""
        held.size += size
        self.bytes += size
        if self.bytes > self._limit:
            self._shrink()

    def end(self, held: Held) -> None:
        """It is in flight no more."""
        if held.place == _OPEN:
            self._move(held, _FINISHED)

    def remove(self, held: Held) -> None:
        """It costs nothing any more."""
        del self._all[held.id], self._places[held.place][held.id]
        self.bytes -= held.size

    def _move(self, held: Held, place: int) -> None:
        del self._places[held.place][held.id]
        held.place = place
        self._places[place][held.id] = held

    def _shrink(self) -> None:
        finished, flying, wanted = self._places
        while self.bytes > self._limit:
            if finished or flying:
                held = next(iter((finished or flying).values()))
            elif wanted:
                # The last in turn: the first has been told in part.
                held = next(reversed(wanted.values()))
            else:
                return
            self.remove(held)
            held.let_go()


def _head_bytes(headers: tuple[tuple[bytes, bytes], ...]) -> int:
    return sum(len(name) + len(value) + FIELD_BYTES for name, value in headers)


def _weight(call: _Call) -> int:
    """What a call costs while it is held."""
    name, _, *rest = call
    if name in ("request_chunk", "response_chunk"):
        return CALL_BYTES + len(rest[0])
    return CALL_BYTES + (_head_bytes(rest[0].headers) if name == "response_head" else 0)
