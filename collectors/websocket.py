"""What passes over a WebSocket, message by message: what a message is, and messages as events.

Pure. The bodies of a recorded turn or session are the messages' own bytes, one after another with
nothing between them; each message is one chunk, so the chunk boundaries that are kept with a body
are the message boundaries. A reader knows such a body by the response's status, 101: nothing else
that is recorded has it. Text and binary messages are not told apart; all these APIs speak JSON,
and Gemini's server puts it into binary ones.

What runs for every message on the proxy's loop (`message_type`) looks at a bounded stretch.
"""

import re
from collections.abc import Iterable
from operator import itemgetter

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


_LIVE_FIRST = re.compile(rb'\s*\{\s*"([a-z][A-Za-z_]{1,63})"\s*:')


_LIVE = frozenset(
    {"setup", "clientcontent", "realtimeinput", "toolresponse", "contextupdate"}
    | {"setupcomplete", "servercontent", "toolcall", "toolcallcancellation", "usagemetadata"}
    | {"goaway", "sessionresumptionupdate", "voiceactivity", "voiceactivitydetectionsignal"}
)
"""The fields that say what a message of Gemini's Live API is, one to a message; in lower case and
without `_`, since clients write them both ways."""


def message_name(message: bytes) -> str | None:
    """What a message is called on screen: its type, or of Gemini's, which have none, its field."""
    kind = message_type(message)
    if kind is None and (match := _LIVE_FIRST.match(message[:TYPE_SCAN])) is not None:
        name = match[1].decode()
        return name if name.replace("_", "").lower() in _LIVE else None
    return kind


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
        return [Event(at_ms, message_name(data), text)]

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


def session_events(
    client: Iterable[tuple[int, bytes]], server: Iterable[tuple[int, bytes]]
) -> list[Event]:
    """Both sides of a session in the order of their times, (at_ms, message) each in its own order.

    Of one and the same millisecond the client's come first: what answers comes later.
    """
    framing = WebSocketFraming()
    sides = ((client, True), (server, False))
    said = [
        (at_ms, not from_client, message)
        for messages, from_client in sides
        for at_ms, message in messages
    ]
    said.sort(key=itemgetter(0, 1))
    events: list[Event] = []
    for at_ms, from_server, message in said:
        for event in framing.feed(at_ms, message):
            event.from_client = not from_server
            events.append(event)
    return events


def joined(messages: list[bytes]) -> bytes:
    """Messages as text to be read: each begins a line."""
    return b"\n".join(messages)
