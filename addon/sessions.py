"""What every record of a WebSocket begins with and is told, and sockets that are one record each.

A session (collectors.protocol.SESSIONS) is one exchange from its handshake to its close: the
request's body is what the client said, the response's what the server said, a chunk a message.
The key is asked anew whenever the keys have changed. Switched off, the store discards the record;
switched on, one begins with the next message, and says at its end that its beginning is missing.
Off and on again may be too quick for the keys in memory to show it, so the record is asked as well.
"""

import time

from addon.admission import Admission
from addon.exchange import error_line
from addon.meter import Meter
from collectors.protocol import LlmProtocol
from store.contract import KeyRing, Recording, Writer
from store.record import RequestHead, ResponseHead, Transport, Wire


class Recorded:
    """One record of messages. What passes is metered apart from what is kept of it."""

    __slots__ = ("_asked", "_client", "_headed", "_server", "_started_ns", "_unseen", "recording")

    def __init__(self, recording: Recording, started_ns: int) -> None:
        self.recording = recording
        self._started_ns = started_ns
        self._client, self._server = Meter(), Meter()
        self._asked = False
        self._headed = False
        self._unseen = False

    def client(self, data: bytes) -> None:
        """The client said it. The first message asks: it has the model, if any has."""
        self._client.add(data)
        at_ms = self._now()
        if data:
            self.recording.request_chunk(at_ms, data)
        self.asked()

    def asked(self) -> None:
        """Nothing that comes is needed to know what was asked."""
        if not self._asked:
            self._asked = True
            self.recording.request_end(self._now())

    def head(self, head: ResponseHead | None) -> None:
        """The response began; the first time counts."""
        if head is not None and not self._headed:
            self._headed = True
            self.recording.response_head(self._now(), head)

    def server(self, data: bytes) -> None:
        """The server said it."""
        self._server.add(data)
        if data:
            self.recording.response_chunk(self._now(), data)

    def answer(self, head: ResponseHead | None, body: bytes | None) -> None:
        """An answer that is no socket, if there was one; None: its body passed unseen."""
        self.asked()
        self.head(head)
        self._unseen = body is None
        self.server(body or b"")

    def end(self, transport: Transport, text: str | None) -> None:
        """It is over."""
        self.recording.end(
            self._now(), transport, None if text is None else error_line(text), self._wire()
        )

    def _wire(self) -> Wire | None:
        """All that has passed; None if that is not known for sure."""
        request, response = self._client.passed(), self._server.passed()
        if self._unseen or request is None or response is None:
            return None
        return Wire(request, response)

    def _now(self) -> int:
        """Milliseconds since it began."""
        return (time.monotonic_ns() - self._started_ns) // 1_000_000


class Handshake:
    """How a socket came to be, which is the same for each of its records."""

    __slots__ = (
        "found",
        "protocol",
        "request",
        "response",
        "started_ms",
        "started_ns",
        "unmatched",
    )

    def __init__(self, request: RequestHead, found: list[bytes], protocol: LlmProtocol) -> None:
        self.request = request
        self.found = found
        """Its credentials, which are those of all that follows."""
        self.protocol = protocol
        self.response: ResponseHead | None = None
        self.started_ns = time.monotonic_ns()
        self.started_ms = time.time_ns() // 1_000_000
        self.unmatched = False
        """It has been counted as of no key that is on: once a socket."""

    def key_id(self, keys: KeyRing) -> str | None:
        """The key that is on and decides over it now."""
        key = keys.match(self.found, self.request.headers)
        return None if key is None or key.retention_s is None else key.id

    def begin(
        self, admission: Admission, writer: Writer, *, at_handshake: bool = False
    ) -> Recorded | None:
        """A record that begins now, or with the handshake; None: of no key that is on."""
        unmatched = writer.counters.unmatched
        recording = admission.begin(
            writer,
            self.found,
            self.request,
            self.protocol.value,
            self.started_ms if at_handshake else time.time_ns() // 1_000_000,
            count=not self.unmatched,
        )
        self.unmatched |= writer.counters.unmatched > unmatched
        if recording is None:
            return None
        return Recorded(recording, self.started_ns if at_handshake else time.monotonic_ns())


class Session:
    """One socket that is one record."""

    __slots__ = (
        "_admission",
        "_broken",
        "_handshake",
        "_key_id",
        "_keys",
        "_missing",
        "_record",
        "_why",
        "_writer",
    )

    def __init__(self, handshake: Handshake, admission: Admission) -> None:
        self._handshake = handshake
        self._admission = admission
        self._record: Recorded | None = None
        self._writer: Writer | None = None
        self._keys: KeyRing | None = None
        """Those that were asked last, and of which writer."""
        self._key_id: str | None = None
        """Whom they named."""
        self._why = "the store was out of reach"
        """Why there is no record of the session until now."""
        self._missing = ""
        """What the record says of its missing beginning."""
        self._broken = False
        """Something of ours raised: no record begins any more."""

    def opens(self, writer: Writer | None) -> None:
        """The handshake begins."""
        if writer is not None:
            self._asked(writer)
            self._record = self._handshake.begin(self._admission, writer, at_handshake=True)

    def answered(self) -> None:
        """The upstream has answered it."""
        if self._record is not None:
            self._record.head(self._handshake.response)

    def opened(self) -> None:
        """With a socket."""

    def refused(
        self, body: bytes | None, transport: Transport, text: str | None, _: Writer | None
    ) -> None:
        """The answer was no socket, but this."""
        if self._record is not None:
            self._record.answer(self._handshake.response, body)
        self.end(transport, text)

    def needs(self, _: bytes) -> bool:
        """Whether a message of the client's may not pass unrecorded: none may."""
        return True

    def lost(self, writer: Writer | None) -> str | None:
        """Why what comes would not be recorded, though the store is well; None: it will, or need not."""
        if not self._broken or writer is None or self._handshake.key_id(writer.keys) is None:
            return None
        return "the recording of this session failed"

    def message(self, data: bytes, *, from_client: bool, writer: Writer | None) -> None:
        """A message passes."""
        if writer is not None and not (
            writer is self._writer and writer.keys is self._keys and not self._discarded
        ):
            self._follow(writer)
        if self._record is None:
            return
        if from_client:
            self._record.client(data)
        else:
            self._record.server(data)

    def closed(self, code: int, transport: Transport, text: str) -> None:
        """The socket was closed, with that code."""
        if code in GOODBYES:
            self.end(Transport.COMPLETE, None)
        else:
            self.end(transport, text)

    def end(self, transport: Transport, text: str | None) -> None:
        """The session is over, or its record is."""
        record, self._record = self._record, None
        if record is not None:
            told = " ".join(part for part in (self._missing, text) if part)
            record.end(transport, told or None)

    def gone(self, transport: Transport, text: str, _: Writer | None) -> None:
        """Nobody said goodbye."""
        self.end(transport, text)

    def pause(self, transport: Transport, text: str) -> None:
        """The recorder stops; if it runs again, so does the session, in another record."""
        self.end(transport, text)
        self._writer = self._keys = None
        self._why = "the proxy's recorder was not running"

    def fail(self, text: str) -> None:
        """Something of ours raised: what is recorded is a prefix."""
        self._broken = True
        self.end(Transport.RECORDER_FAILED, text)

    @property
    def _discarded(self) -> bool:
        """The store keeps nothing of the record any more."""
        return self._record is not None and self._record.recording.discarded

    def _asked(self, writer: Writer) -> str | None:
        """Ask whose session it is."""
        self._writer, self._keys = writer, writer.keys
        self._key_id = self._handshake.key_id(writer.keys)
        return self._key_id

    def _follow(self, writer: Writer) -> None:
        """The keys have changed, or the store is back: go on, or begin anew from here."""
        known, before = self._writer is not None, self._key_id
        now = self._asked(writer)
        if self._discarded:
            self._record = before = None
        elif known and now == before:
            return
        if self._broken:
            return
        if known:
            self._why = "the key was off" if before is None else "another key had it"
        # Of a key that is off now the store discards it; what else there was is the memory ring's.
        self.end(
            Transport.COMPLETE, "The key was switched; the session went on without this record."
        )
        self._record = self._handshake.begin(self._admission, writer)
        if self._record is not None:
            seconds = (time.monotonic_ns() - self._handshake.started_ns) / 1e9
            self._missing = f"The first {seconds:.1f} s of the session are missing: {self._why}."
            self._record.head(self._handshake.response)


GOODBYES = frozenset({1000, 1001, 1005})
"""Codes of a socket that was closed in order: done, going away, and a goodbye without a code, which
is what browsers say unless told otherwise (RFC 6455, 7.4.1)."""
