"""Server-sent events: the design's table, each row whole, cut at every byte, and with something after."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.event import Event
from collectors.sse import SseParser

AFTER = b"event: after\ndata: later\n\n"

ROWS: list[tuple[str, bytes, list[tuple[str | None, str]]]] = [
    # (name, bytes, [(event name, data)])
    ("two events", b"event: a\ndata: x\n\nevent: b\ndata: y\n\n", [("a", "x"), ("b", "y")]),
    ("no space after the colon", b'event:a\ndata:{"x":1}\n\n', [("a", '{"x":1}')]),
    ("two spaces: one is data", b"data:  x\n\n", [(None, " x")]),
    ("a tab is data", b"data:\tx\n\n", [(None, "\tx")]),
    ("CRLF", b"event: a\r\ndata: x\r\n\r\n", [("a", "x")]),
    ("CR only", b"event: a\rdata: x\r\rdata: y\r\r", [("a", "x"), (None, "y")]),
    ("mixed ends", b"event: a\rdata: x\r\n\ndata: y\n\r\n", [("a", "x"), (None, "y")]),
    ("a CR, then a LF", b"data: x\rdata: y\n\ndata: z\n\n", [(None, "x\ny"), (None, "z")]),
    ("UTF-8 of 2, 3 and 4 bytes", "data: é€😀\n\n".encode(), [(None, "é€😀")]),
    ("invalid UTF-8", b"data: a\xff\xfeb\n\n", [(None, "a\ufffd\ufffdb")]),
    ("byte order mark", b"\xef\xbb\xbfdata: x\n\n", [(None, "x")]),
    ("only the first byte order mark", b"\xef\xbb\xbfdata: \xef\xbb\xbfx\n\n", [(None, "\ufeffx")]),
    ("comment", b": keepalive\n\ndata: x\n\n", [(None, "x")]),
    ("comment within", b"data: x\n: OPENROUTER PROCESSING\ndata: y\n\n", [(None, "x\ny")]),
    ("several data lines", b"data: x\ndata:\ndata: y\n\n", [(None, "x\n\ny")]),
    ("empty data", b"data:\n\ndata: \n\ndata\n\n", [(None, ""), (None, ""), (None, "")]),
    ("a name without data is reset", b"event: e\n\ndata: x\n\n", [(None, "x")]),
    ("the name after the data", b"data: x\nevent: e\n\n", [("e", "x")]),
    ("an empty name is none", b"event:\ndata: x\n\n", [(None, "x")]),
    ("the last name counts", b"event: a\nevent: b\ndata: x\n\n", [("b", "x")]),
    ("retry has no effect", b"retry: 3000\ndata: x\n\n", [(None, "x")]),
    ("unknown field", b"foo: bar\nbaz\ndata: x\n\n", [(None, "x")]),
    (
        "NUL and U+2028 are data",
        "data: a\0b\u2028c\u0085d\n\n".encode(),
        [(None, "a\0b\u2028c\u0085d")],
    ),
    ("blank lines only", b"\n\n\n", []),
    (
        "an error line",
        b'data: x\n\nerror: {"code":500}\n\n',
        [(None, "x"), ("error", '{"code":500}')],
    ),
    ("an error line within", b'data: x\nerror:{"a":1}\n\n', [(None, "x"), ("error", '{"a":1}')]),
    (
        "JSON of several lines after the events",
        b'data: x\r\n\r\n{\r\n  "error": {\r\n    "code": 429\r\n  }\r\n}\r\n\r\n',
        [(None, "x"), (None, '{\n  "error": {\n    "code": 429\n  }\n}')],
    ),
    (
        "JSON on one line between events",
        b'data: x\n\n{"error":{"code":1}}\n\ndata: y\n\n',
        [(None, "x"), (None, '{"error":{"code":1}}'), (None, "y")],
    ),
    (
        "JSON in an array, then framing again",
        b'[{"error": 1}\n]\ndata: y\n\n',
        [(None, '{"error": 1}'), (None, "y")],
    ),
    (
        "JSON that the framing cuts",
        b'{"a":\ndata: y\n\n',
        [(None, '{"a":'), (None, "y")],
    ),
    (
        "a JSON body",
        b'{"type": "error", "error": {"message": "no"}}\n',
        [(None, '{"type": "error", "error": {"message": "no"}}')],
    ),
]


def parsed(*chunks: bytes) -> list[tuple[str | None, str]]:
    parser = SseParser()
    events: list[Event] = []
    for chunk in chunks:
        events += parser.feed(0, chunk)
    return [(event.name, event.data) for event in events + parser.close()]


@pytest.mark.check(25, 26)
@pytest.mark.parametrize(
    ("data", "events"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_table(data: bytes, events: list[tuple[str | None, str]]) -> None:
    """Each row whole, byte by byte, cut in two at every byte, and with another event after it."""
    assert events == parsed(data)
    assert events == parsed(*(data[i : i + 1] for i in range(len(data))))
    for cut in range(len(data)):
        assert events == parsed(data[:cut], data[cut:])
    assert [*events, ("after", "later")] == parsed(data, AFTER)


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: x", [(None, "x")]),
        (b"data: x\n", [(None, "x")]),
        (b"event: a\ndata: x\r", [("a", "x")]),
        (b'data: {"cut', [(None, '{"cut')]),
        (b'{"bare": [1,', [(None, '{"bare": [1,')]),
    ],
)
def test_an_event_that_the_end_cuts_is_given_and_said(
    data: bytes, events: list[tuple[str | None, str]]
) -> None:
    """What there is of a last event comes out at the end, marked unterminated."""
    parser = SseParser()
    given_before = parser.feed(0, data)
    assert [] == given_before
    assert not parser.unterminated
    assert events == [(event.name, event.data) for event in parser.close()]
    assert parser.unterminated


def test_a_whole_stream_is_not_unterminated() -> None:
    parser = SseParser()
    parser.feed(0, b"data: x\n\n: bye\n\n")
    assert [] == parser.close()
    assert not parser.unterminated


@pytest.mark.check(25)
def test_arrival_is_that_of_the_last_byte() -> None:
    """at_ms is when the event's last byte came, however long its first had been there."""
    parser = SseParser()
    assert [] == parser.feed(10, b"data: x\n")
    assert [Event(25, None, "x")] == parser.feed(25, b"\ndata: y")
    assert [Event(40, None, "y", "7")] == parser.feed(40, b"\nid: 7\n\ndata: z")
    assert [Event(40, None, "z")] == parser.close()


@pytest.mark.check(25)
def test_ids_are_kept_where_they_were_given() -> None:
    parser = SseParser()
    events = parser.feed(0, b"id: 1\ndata: x\n\ndata: y\n\nid\ndata: z\n\nid: a\0b\ndata: w\n\n")
    assert ["1", None, "", None] == [event.id for event in events]


def test_what_is_counted_and_flagged() -> None:
    """Keep-alives, the retry field and bad bytes are known afterwards."""
    parser = SseParser()
    parser.feed(0, b": one\n\n:\nretry: 1500\nretry: soon\ndata: \xff\n\n")
    assert 2 == parser.comments
    assert 1500 == parser.retry_ms
    assert parser.invalid_utf8


def test_a_long_line_is_not_read_again_for_every_piece() -> None:
    """16 MB in one line, in 64 000 pieces: quadratic, this would take hours."""
    parser = SseParser()
    parser.feed(0, b"data: ")
    for _ in range(64_000):
        parser.feed(0, b"x" * 256)
    (event,) = parser.feed(0, b"\n\n")
    assert 64_000 * 256 == len(event.data)


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"", b"", b"data: x", b"event: e", b": c", b"data", b'{"a":', b"}", b"[1]"]
        ),
        st.binary(max_size=12),
    ),
    max_size=12,
)


@given(lines=LINES, end=st.sampled_from([b"\n", b"\r\n", b"\r"]), data=st.data())
def test_any_cut_of_any_bytes_gives_the_same_events(
    lines: list[bytes], end: bytes, data: st.DataObject
) -> None:
    """Whatever the bytes, how they are cut does not show."""
    stream = end.join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parsed(stream) == parsed(*chunks)
