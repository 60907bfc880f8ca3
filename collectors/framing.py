"""Bodies to events: the decoder of the content-encoding and the framing, picked by the media type.

Pure. A framing is a class with `feed(at_ms, data)` and `close()`, both giving events; FRAMINGS has
one row for each. `EventReader` is what others use: wire bytes in, events out.
"""

from collections.abc import Callable
from typing import Protocol

from collectors.aws_event_stream import PRELUDE, AwsEventStreamFraming, is_prelude
from collectors.encoding import Decoder
from collectors.event import Event
from collectors.json_stream import JsonSplitter
from collectors.protocol import (
    AWS_EVENT_STREAM,
    EVENT_STREAM,
    JSON,
    NDJSON,
    WEBSOCKET,
    framing_of,
)
from collectors.sse import SseParser
from collectors.websocket import WebSocketFraming


class Framing(Protocol):
    """Decoded bytes in, events out."""

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The events whose last byte is in `data`."""

    def close(self) -> list[Event]:
        """What the end of the stream cut."""

    @property
    def unterminated(self) -> bool:
        """The stream ended within an event."""

    @property
    def comments(self) -> int:
        """Keep-alives seen that are no events."""

    @property
    def invalid_utf8(self) -> bool:
        """Some bytes read as U+FFFD."""


class _Texts:
    """What the JSON framings share: bytes of a value to an event."""

    def __init__(self) -> None:
        self.unterminated = False
        self.comments = 0
        self.invalid_utf8 = False
        self._last_ms = 0

    def _event(self, at_ms: int, value: bytes) -> Event:
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            text = value.decode("utf-8", "replace")
        return Event(at_ms, None, text.removeprefix("\ufeff"))


class JsonArrayFraming(_Texts):
    """One JSON array whose items are events; or JSON values one after another."""

    def __init__(self) -> None:
        super().__init__()
        self._splitter = JsonSplitter()

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The items that end in `data`."""
        self._last_ms = at_ms
        return [self._event(at_ms, value) for value in self._splitter.feed(data)]

    def close(self) -> list[Event]:
        """The item that was cut, if any."""
        self.unterminated = not self._splitter.idle
        rest = self._splitter.close()
        return [self._event(self._last_ms, rest)] if rest else []


class NdjsonFraming(_Texts):
    """One JSON value a line; blank lines are keep-alives."""

    def __init__(self) -> None:
        super().__init__()
        self._line: list[bytes] = []

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The lines that end in `data`."""
        self._last_ms = at_ms
        head, newline, rest = data.rpartition(b"\n")
        if not newline:
            if data:
                self._line.append(data)
            return []
        self._line.append(head)
        lines = b"".join(self._line).split(b"\n")
        self._line = [rest] if rest else []
        events = []
        for line in lines:
            line = line.strip()
            if line:
                events.append(self._event(at_ms, line))
            else:
                self.comments += 1
        return events

    def close(self) -> list[Event]:
        """The last line, if nothing ended it."""
        rest = b"".join(self._line).strip()
        self._line = []
        self.unterminated = bool(rest)
        return [self._event(self._last_ms, rest)] if rest else []


class SniffedFraming:
    """The framing that the first bytes suggest, where no media type says."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: Framing | None = None
        self._last_ms = 0

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The events that end in `data`; none before the first byte that is not blank."""
        self._last_ms = at_ms
        if self._inner is None:
            self._head += data
            head = self._head.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not head:
                # Blanks tell nothing, and no framing minds losing all but the last of them.
                self._head = self._head[-8:]
                return []
            if head[0] == 0 and len(head) < PRELUDE:
                return []
            if is_prelude(head):
                self._inner = AwsEventStreamFraming()
            else:
                self._inner = JsonArrayFraming() if head[:1] in (b"[", b"{") else SseParser()
            data, self._head = self._head, b""
        return self._inner.feed(at_ms, data)

    def close(self) -> list[Event]:
        """What the end cut."""
        return self._inner.close() if self._inner is not None else []

    @property
    def unterminated(self) -> bool:
        """As the inner framing says."""
        return self._inner is not None and self._inner.unterminated

    @property
    def comments(self) -> int:
        """As the inner framing says."""
        return self._inner.comments if self._inner is not None else 0

    @property
    def invalid_utf8(self) -> bool:
        """As the inner framing says."""
        return self._inner is not None and self._inner.invalid_utf8


FRAMINGS: dict[str, Callable[[], Framing]] = {
    EVENT_STREAM: SseParser,
    AWS_EVENT_STREAM: AwsEventStreamFraming,
    JSON: JsonArrayFraming,
    WEBSOCKET: WebSocketFraming,
    **dict.fromkeys(NDJSON, NdjsonFraming),
}
"""By media type, or WEBSOCKET by the status 101; what is not in it is told by its first bytes."""

DECODED_LIMIT = 256 * 2**20
"""Bytes of a decoded stream that are read; the largest answer recorded is 9 MB."""


class EventReader:
    """The bytes of one response on the wire in, its events out."""

    def __init__(
        self,
        content_type: str | None,
        content_encoding: str | None = None,
        *,
        status: int | None = None,
        limit: int = DECODED_LIMIT,
    ) -> None:
        kind = framing_of(content_type, status)
        # A WebSocket's messages are not under the encoding that its handshake may speak of.
        self._decoder = Decoder(None if kind == WEBSOCKET else content_encoding, limit=limit)
        self._framing = FRAMINGS.get(kind, SniffedFraming)()
        self._last_ms = 0

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The events whose last byte is in `data`, which arrived at `at_ms` (ms since the request)."""
        self._last_ms = at_ms
        decoded = self._decoder.feed(data)
        return self._framing.feed(at_ms, decoded) if decoded else []

    def close(self) -> list[Event]:
        """What the end of the stream cut; the last call."""
        decoded = self._decoder.close()
        events = self._framing.feed(self._last_ms, decoded) if decoded else []
        return events + self._framing.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read as it was meant, one line each."""
        notes = []
        if self._decoder.note is not None:
            notes.append(self._decoder.note)
        if self._framing.invalid_utf8:
            notes.append("some bytes are not UTF-8 and show as \ufffd")
        if self._framing.unterminated:
            notes.append("the stream ends within an event")
        return tuple(notes)

    @property
    def comments(self) -> int:
        """Keep-alives seen that are no events."""
        return self._framing.comments

    @property
    def unterminated(self) -> bool:
        """The stream ended within an event."""
        return self._framing.unterminated
