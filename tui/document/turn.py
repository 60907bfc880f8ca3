"""What a record of a WebSocket's messages needs to be read: a line each; whether a turn only warms
up, or the record is a whole session. Pure."""

from collectors.protocol import SESSIONS, SWITCHING_PROTOCOLS, asks_for_websocket
from collectors.websocket import is_warm_up, joined
from store.record import Body, Record

WARM_UP = "warm-up"
"""How such a turn is called on screen."""


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


def warms_up(record: Record) -> bool:
    """The client asked for no answer, only to be prepared for the next turn."""
    if not is_turn(record):
        return False
    create = next((message for _, message in record.request_body.chunks()), b"")
    return is_warm_up(create)


def _messages(body: Body) -> bytes:
    return body.data if len(body.arrivals) < 2 else joined([data for _, data in body.chunks()])
