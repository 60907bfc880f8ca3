"""Amazon's event stream (application/vnd.amazon.eventstream) to events; Bedrock's are Messages inside.

Pure. A message: total length, length of the headers, CRC of both (4 bytes each, big endian), the
headers, the payload, CRC of all. Source: smithy.io, "Amazon Event Stream Specification". A chunk
of InvokeModelWithResponseStream holds its JSON as base64 under `bytes`; that JSON is the event.
"""

import base64
import binascii
import zlib

from collectors.event import Event
from collectors.json_view import as_dict, compact, get_str, parse

PRELUDE = 12
MAX_MESSAGE = 25 * 2**20
"""The specification allows 24 MB of payload and 128 KB of headers; more is no message."""

_STRING = 7
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the header values that have no length of their own, by type."""


def is_prelude(data: bytes | bytearray, at: int = 0) -> bool:
    """Whether a message begins there; the checksum makes a chance hit one in four billion."""
    if len(data) - at < PRELUDE:
        return False
    total = int.from_bytes(data[at : at + 4])
    headers = int.from_bytes(data[at + 4 : at + 8])
    if not 16 <= total <= MAX_MESSAGE or headers > total - 16:
        return False
    return zlib.crc32(data[at : at + 8]) == int.from_bytes(data[at + 8 : at + 12])


def first_message(data: bytes) -> int | None:
    """Where the first message begins in bytes cut anywhere, or None."""
    at = data.find(b"\0")
    while at >= 0:
        if is_prelude(data, at):
            return at
        at = data.find(b"\0", at + 1)
    return None


class AwsEventStreamFraming:
    """Bytes in, events out; bytes that are no messages end it."""

    def __init__(self) -> None:
        self.unterminated = False
        self.comments = 0
        self.invalid_utf8 = False
        self._buffer = bytearray()
        self._broken = False

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The events whose last byte is in `data`."""
        events: list[Event] = []
        if self._broken:
            return events
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= PRELUDE:
            if not is_prelude(self._buffer, at):
                self._broken = True
                break
            total = int.from_bytes(self._buffer[at : at + 4])
            if len(self._buffer) - at < total:
                break
            message = bytes(self._buffer[at : at + total])
            at += total
            events.append(self._event(at_ms, message))
        del self._buffer[:at]
        return events

    def close(self) -> list[Event]:
        """Nothing: a message that was cut cannot be read."""
        self.unterminated = self._broken or bool(self._buffer)
        self._buffer.clear()
        return []

    def _event(self, at_ms: int, message: bytes) -> Event:
        split = PRELUDE + int.from_bytes(message[4:8])
        headers = _headers(message[PRELUDE:split])
        try:
            text = message[split:-4].decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            text = message[split:-4].decode("utf-8", "replace")
        if headers.get(":message-type") in ("exception", "error"):
            return Event(at_ms, "error", _exception(headers, text))
        return Event(at_ms, headers.get(":event-type"), _inner(text))


def _headers(data: bytes) -> dict[str, str]:
    """The headers that are strings; what does not fit ends the list."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name = data[at + 1 : name_end].decode("utf-8", "replace")
        if name_end >= len(data):
            break
        kind = data[name_end]
        at = name_end + 1
        size = _SIZES.get(kind)
        if size is None:
            size = int.from_bytes(data[at : at + 2])
            at += 2
        if kind == _STRING:
            headers[name] = data[at : at + size].decode("utf-8", "replace")
        at += size
    return headers


def _inner(text: str) -> str:
    """The JSON inside a chunk, else the payload as it is."""
    encoded = get_str(parse(text), "bytes")
    if encoded is None:
        return text
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return text


def _exception(headers: dict[str, str], text: str) -> str:
    """An error's payload, with the type that its header names."""
    kind = headers.get(":exception-type") or headers.get(":error-code") or "exception"
    said = as_dict(parse(text)) or {"message": headers.get(":error-message") or text}
    return compact({"type": kind, **said})
