"""Messages of a WebSocket: their type from a bounded look, as events, and turns that only warm up."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.event import Event
from collectors.framing import EventReader
from collectors.protocol import LlmProtocol
from collectors.registry import fold
from collectors.websocket import TYPE_SCAN, WebSocketFraming, is_warm_up, joined, message_type

LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (b'{"type":"response.create","model":"m"}', "response.create"),
        (b' {\n  "type" : "response.create"\n}', "response.create"),
        (b'{"sequence_number":4,"type":"error"}', "error"),
        (b'{"input":"' + LONG.encode() + b'","type":"response.create"}', "response.create"),
        (b'{"type":"response.create","input":"' + LONG.encode() + b'"}', "response.create"),
        (b'{"input":[{"type":"message"}],"type":"response.create"}', "response.create"),
        (b'{"a":"\\"type\\":\\"error\\"","type":"response.created"}', "response.created"),
        # Too far from either end: not looked for.
        (
            b'{"a":"' + LONG.encode() + b'","type":"t","b":"' + LONG.encode() + b'"}',
            None,
        ),
        (b'{"response":{"type":"error"}}', None),
        (b'{"type":null}', None),
        (b'{"type":""}', None),
        (b'{"type":7,"model":"m"}', None),
        (b'["type","error"]', None),
        (b'"type"', None),
        (b'\xff\xfe{"type":"error"}', None),
        (b"{", None),
        (b"", None),
    ],
)
def test_the_type_of_a_message(message: bytes, kind: str | None) -> None:
    """The outermost "type" and no other, wherever near an end it stands."""
    assert kind == message_type(message)


@given(
    before=st.dictionaries(st.text(max_size=6), st.recursive(st.text(max_size=6), st.lists)),
    kind=st.text(min_size=1, max_size=20),
    after=st.dictionaries(st.text(max_size=6), st.recursive(st.text(max_size=6), st.lists)),
    indent=st.one_of(st.none(), st.just(1)),
)
def test_the_type_is_what_a_parser_finds(
    before: dict[str, Any], kind: str, after: dict[str, Any], indent: int | None
) -> None:
    """Of a message that fits into what is looked at."""
    before.pop("type", None)
    after.pop("type", None)
    text = json.dumps({**before, "type": kind, **after}, indent=indent).encode()
    found = message_type(text)
    assert found == kind or (len(text) > TYPE_SCAN and found is None)


@given(st.binary(max_size=60))
def test_noise_never_raises(noise: bytes) -> None:
    message_type(noise)
    is_warm_up(noise + b'"generate"')
    message_type(b'{"type":' + noise)
    assert 1 == len(WebSocketFraming().feed(0, noise))


def test_each_chunk_is_an_event() -> None:
    """At its own time, named by its type; what is no JSON keeps its text and has no name."""
    reader = EventReader("text/event-stream", "gzip", status=101)
    events = [
        *reader.feed(3, b'{"type":"response.created","response":{}}'),
        *reader.feed(5, b""),
        *reader.feed(7, b"data: {\n\n"),
        *reader.feed(8, b"\xff{}"),
        *reader.close(),
    ]
    assert [
        Event(3, "response.created", '{"type":"response.created","response":{}}'),
        Event(7, None, "data: {\n\n"),
        Event(8, None, "\ufffd{}"),
    ] == events
    assert ("some bytes are not UTF-8 and show as \ufffd",) == reader.notes
    assert not reader.unterminated


def test_a_turn_folds_like_a_stream() -> None:
    """The same events that Server-Sent Events would carry, the same response."""
    messages = [
        b'{"type":"response.created","response":{"id":"resp_1","model":"m","output":[]}}',
        b'{"type":"response.output_item.added","output_index":0,"item":{"type":"message"}}',
        b'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hel"}',
        b'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"lo"}',
        b'{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[]}}',
    ]
    socket = EventReader(None, status=101)
    told = [event for at, one in enumerate(messages) for event in socket.feed(at, one)]
    stream = EventReader("text/event-stream")
    sse = b"".join(b"data: " + one + b"\n\n" for one in messages)
    outcome = fold(LlmProtocol.RESPONSES, told)
    assert outcome == fold(LlmProtocol.RESPONSES, stream.feed(0, sse))
    assert outcome.result is not None
    assert "Hello" == outcome.result["output"][0]["content"][0]["text"]
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)


@pytest.mark.parametrize(
    ("message", "warms_up"),
    [
        (b'{"type":"response.create","generate":false}', True),
        (b'{"type":"response.create","prompt_cache_options":{"prewarm":true}}', True),
        (b'{"type":"response.create","generate":true}', False),
        (b'{"type":"response.create","prompt_cache_options":{"prewarm":false}}', False),
        (b'{"type":"response.create","metadata":{"generate":false}}', False),
        (b'{"type":"response.create","input":"\\"generate\\": false"}', False),
        (b'{"type":"response.create","prompt_cache_options":"prewarm","a":"prewarm"}', False),
        (b'{"generate":false', False),
        (b'["generate"]', False),
        (b"", False),
    ],
)
def test_a_warm_up(message: bytes, warms_up: bool) -> None:
    assert warms_up is is_warm_up(message)


def test_messages_to_be_read_begin_a_line_each() -> None:
    assert b'{"a":1}\n{"b":2}' == joined([b'{"a":1}', b'{"b":2}'])
    assert b'{"a":1}' == joined([b'{"a":1}'])
