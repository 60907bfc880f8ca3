"""Responses over a WebSocket, message by message: what a message is, and messages as events.

Pure. A recorded turn's bodies are the messages' own bytes, one after another with nothing between
them; each message is one chunk, so the chunk boundaries that are kept with a body are the
message boundaries. A reader knows such a body by the response's status, 101: nothing else that
is recorded has it. Text and binary messages are not told apart; the API has text only.

What runs for every message on the proxy's loop (`message_type`) looks at a bounded stretch.
"""

import re

from collectors.event import Event
from collectors.json_ends import string_from_end, string_from_start
from collectors.json_view import as_dict, get_dict, parse_bytes

TYPE_SCAN = 1024
"""Bytes looked at from either end for the type of a message that does not begin with it."""

_TYPE_FIRST = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"type"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,128})"')


def message_type(message: bytes) -> str | None:
    """The "type" of a message, or None if it is not an object or has it nowhere near its ends.

    Everybody puts it first, which costs half a microsecond; else both ends are looked at.
    """
    match = _TYPE_FIRST.match(message)
    if match is not None:
        return match[1].decode("utf-8", "replace")
    if message[:64].lstrip()[:1] != b"{":
        return None
    found = string_from_start(message[:TYPE_SCAN], "type")
    return found if found is not None else string_from_end(message[-TYPE_SCAN:], "type")


class WebSocketFraming:
    """Each chunk is a message, and each message an event named by its type."""

    unterminated = False
    """mitmproxy hands over whole messages only; one that was cut was never there."""
    comments = 0

    def __init__(self) -> None:
        self.invalid_utf8 = False

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The one message; what is no JSON, or binary, is an event without a name."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            text = data.decode("utf-8", "replace")
        return [Event(at_ms, message_type(data), text)]

    def close(self) -> list[Event]:
        """Nothing: a message is there or is not."""
        return []


def is_warm_up(message: bytes) -> bool:
    """Whether a `response.create` asks for no answer, only to prepare for the next turn.

    `"generate": false`, or `prompt_cache_options.prewarm`, which implies it (OpenAI's reference of
    the client events). For readers: it parses the message if one of the words is in it.
    """
    if b'"generate"' not in message and b'"prewarm"' not in message:
        return False
    create = as_dict(parse_bytes(message))
    if create is None:
        return False
    options = get_dict(create, "prompt_cache_options")
    return create.get("generate") is False or options.get("prewarm") is True


def joined(messages: list[bytes]) -> bytes:
    """Messages as text to be read: each begins a line."""
    return b"\n".join(messages)
