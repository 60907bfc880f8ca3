"""A record as a reader takes it: messages of a socket apart, a stream as its events, and what they come to.

Pure. A record's bodies stay as they were on the wire; everything here is made anew each time.
"""

from collectors.encoding import decode_body
from collectors.event import Event
from collectors.framing import EventReader
from collectors.outcome import Outcome
from collectors.protocol import (
    SESSIONS,
    SWITCHING_PROTOCOLS,
    LlmProtocol,
    asks_for_websocket,
    is_streamed,
    sniff,
)
from collectors.registry import fold, fold_body
from collectors.websocket import joined, session_events
from store.record import Body, Headers, Record, header


def text_header(headers: Headers, name: bytes) -> str | None:
    """The first value of a header as text, or None."""
    value = header(headers, name)
    return None if value is None else value.decode("latin-1")


def protocol_of(record: Record) -> LlmProtocol | None:
    """The protocol its row names, None where that is none or one of a newer version."""
    named = record.meta.protocol
    return LlmProtocol(named) if named is not None and named in LlmProtocol else None


def is_turn(record: Record) -> bool:
    """Whether the record is one of a WebSocket's; known before there is an answer."""
    return asks_for_websocket(record.request.headers)


def is_session(record: Record) -> bool:
    """Whether it is a session on a WebSocket, whose events are both sides' messages."""
    answered = record.response is not None and record.response.status == SWITCHING_PROTOCOLS
    return answered and record.meta.protocol in SESSIONS


def request_bytes(record: Record) -> bytes:
    """The request's body to be read: of several messages each begins a line."""
    return _messages(record.request_body) if is_turn(record) else record.request_body.data


def response_bytes(record: Record) -> bytes:
    """The response's, likewise."""
    turn = record.response is not None and record.response.status == SWITCHING_PROTOCOLS
    return _messages(record.response_body) if turn else record.response_body.data


def _messages(body: Body) -> bytes:
    return body.data if len(body.arrivals) < 2 else joined([data for _, data in body.chunks()])


def events_of(record: Record) -> list[Event] | None:
    """The events of a streamed response in their order, or None if it was not streamed; of a session
    both sides' messages."""
    if record.response is None:
        return None
    if is_session(record):
        return session_events(record.request_body.chunks(), record.response_body.chunks())
    headers = record.response.headers
    content_type = text_header(headers, b"content-type")
    status = record.response.status
    if not is_streamed(content_type, record.request.path, status):
        return None
    reader = EventReader(content_type, text_header(headers, b"content-encoding"), status=status)
    events: list[Event] = []
    for at_ms, data in record.response_body.chunks():
        events += reader.feed(at_ms, data)
    return events + reader.close()


def outcome_of(
    record: Record, events: list[Event] | None, protocol: LlmProtocol | None = None
) -> Outcome | None:
    """The fold of the response: of its events, or of its body; None where there is nothing to fold."""
    if record.response is None:
        return None
    if protocol is None:
        protocol = protocol_of(record)
    if events is not None:
        protocol = protocol or sniff(events)
        if protocol is None:
            return None
        return fold(protocol, (event for event in events if not event.from_client))
    headers = record.response.headers
    decoded, _ = decode_body(record.response_body.data, text_header(headers, b"content-encoding"))
    return fold_body(protocol, decoded)
