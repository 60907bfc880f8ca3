"""What a record of a WebSocket's messages needs to be read: whether a turn only warms up. Pure.

What its messages are, and whether the record is a whole session, stands in store.folded.
"""

from collectors.websocket import is_warm_up
from store.folded import is_session as is_session
from store.folded import is_turn
from store.folded import request_bytes as request_bytes
from store.folded import response_bytes as response_bytes
from store.record import Record

WARM_UP = "warm-up"
"""How such a turn is called on screen."""


def warms_up(record: Record) -> bool:
    """The client asked for no answer, only to be prepared for the next turn."""
    if not is_turn(record):
        return False
    create = next((message for _, message in record.request_body.chunks()), b"")
    return is_warm_up(create)
