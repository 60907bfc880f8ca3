"""From wire bytes to events: framing by media type, decoding before it."""

import gzip
import json

import pytest

from collectors.event import Event
from collectors.framing import EventReader

SSE = b"event: a\ndata: x\n\n: c\n\ndata: y\n\n"


def read(content_type: str | None, *chunks: bytes, encoding: str | None = None) -> list[str]:
    reader = EventReader(content_type, encoding)
    events: list[Event] = []
    for chunk in chunks:
        events += reader.feed(0, chunk)
    return [event.data for event in events + reader.close()]


ARRAY = b'[{"a": 1}\n,\r\n{"b": 2}\n]\n'
LINES = b'{"a":1}\n\n{"b":2}\r\n{"c":3}'


@pytest.mark.check(22)
@pytest.mark.parametrize(
    ("content_type", "body", "events"),
    [
        ("text/event-stream; charset=utf-8", SSE, ["x", "y"]),
        ("application/x-ndjson", LINES, ['{"a":1}', '{"b":2}', '{"c":3}']),
        ("application/stream+json", LINES, ['{"a":1}', '{"b":2}', '{"c":3}']),
        ("application/json; charset=UTF-8", ARRAY, ['{"a": 1}', '{"b": 2}']),
        ("application/json", b'{"error":\n{}}', ['{"error":\n{}}']),
        (None, SSE, ["x", "y"]),
        (None, ARRAY, ['{"a": 1}', '{"b": 2}']),
        (None, LINES, ['{"a":1}', '{"b":2}', '{"c":3}']),
        ("text/plain", b"\r\n\r\n" + SSE, ["x", "y"]),
        (None, b"\xef\xbb\xbf" + SSE, ["x", "y"]),
        (None, b" \n", []),
        (None, b"", []),
        ("text/event-stream", b'{"error": {"message": "no"}}', ['{"error": {"message": "no"}}']),
    ],
)
def test_framings(content_type: str | None, body: bytes, events: list[str]) -> None:
    """Whole, byte by byte, and cut at every byte."""
    assert events == read(content_type, body)
    assert events == read(content_type, *(body[i : i + 1] for i in range(len(body))))
    for cut in range(len(body)):
        assert events == read(content_type, body[:cut], body[cut:])


def test_encoded_streams_are_decoded_first() -> None:
    body = gzip.compress(SSE)
    assert ["x", "y"] == read(
        "text/event-stream", *(body[i : i + 1] for i in range(len(body))), encoding="gzip"
    )


@pytest.mark.check(25)
def test_arrival_in_every_framing() -> None:
    """at_ms is that of the event's last byte."""
    for content_type, first, second in (
        ("text/event-stream", b"data: x\n", b"\n"),
        ("application/x-ndjson", b'{"a":', b"1}\n"),
        ("application/json", b'[{"a":', b"1}"),
    ):
        reader = EventReader(content_type)
        assert [] == reader.feed(5, first)
        assert [9] == [event.at_ms for event in reader.feed(9, second)]


def test_bad_bytes_in_a_json_framing_are_noted() -> None:
    reader = EventReader("application/x-ndjson")
    assert ['{"a":"\ufffd"}'] == [event.data for event in reader.feed(0, b'{"a":"\xff"}\n')]
    assert ("some bytes are not UTF-8 and show as \ufffd",) == reader.notes


def test_what_could_not_be_read_is_noted() -> None:
    reader = EventReader("text/event-stream", "gzip")
    reader.feed(0, gzip.compress(b": k\ndata: \xff\n\ndata: cut")[:-8])
    reader.close()
    assert (
        "the gzip stream ends early",
        "some bytes are not UTF-8 and show as \ufffd",
        "the stream ends within an event",
    ) == reader.notes
    assert (1, True) == (reader.comments, reader.unterminated)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-ndjson", b'{"a":1}\n{"cut":'),
        ("application/json", b'[{"a":1},{"cut":'),
        (None, b'{"a":1}{"cut":'),
    ],
)
def test_a_cut_value_is_given_and_said(content_type: str | None, body: bytes) -> None:
    reader = EventReader(content_type)
    assert ['{"a":1}'] == [event.data for event in reader.feed(0, body)]
    assert ['{"cut":'] == [event.data for event in reader.close()]
    assert reader.unterminated


def test_a_decoded_stream_is_bounded() -> None:
    line = json.dumps({"x": "y" * 1000}).encode() + b"\n"
    reader = EventReader("application/x-ndjson", "gzip", limit=10_000)
    events = reader.feed(0, gzip.compress(line * 1000)) + reader.close()
    assert 10 >= len(events)
    assert ("decoded to more than 10000 bytes, the rest is not shown",) == reader.notes[:1]
