"""Very many, very large, very odd: memory and descriptors stay bounded, bytes come back as they were."""

import hashlib
from pathlib import Path

import pytest

from store.local import LocalStore
from store.reader import LocalReader
from store.record import Headers, Key, RequestHead, ResponseHead, Transport
from tests.faults.length import reach
from tests.faults.processes import python
from tests.store.builders import done, now_ms, writing

STREAMS = """
import os, sys
from pathlib import Path
from store.local import LocalStore
from tests.store.builders import *
count = int(sys.argv[2])
store = LocalStore(Path(sys.argv[1])); key = store.add_key("one", SECRET, 86400)
writer = store.writer(lambda line: print("said", line)); writer.announce("127.0.0.1:1")
streams = [record(writer, key, response=(), end=False) for _ in range(count)]
most = 0
for turn in range(3):
    for number, each in enumerate(streams):
        each.response_chunk(turn, b'data: {"stream":%d,"turn":%d}\\n\\n' % (number, turn))
    until(lambda: not writer._handover, 600)
    most = max(most, len(os.listdir("/proc/self/fd")))
for each in streams:
    each.end(9, Transport.COMPLETE)
writer.close(600)
reader = store.reader()
for number, each in enumerate(streams):
    stored = reader.get(each.id)
    assert stored.response_body.data == b"".join(
        b'data: {"stream":%d,"turn":%d}\\n\\n' % (number, turn) for turn in range(3)), number
    assert stored.meta.lost_bytes == 0
print("descriptors", most)
print("parts", sum(1 for _ in Path(sys.argv[1]).glob("live/*/*.part")))
"""

BODIES = """
import hashlib, os, resource, sys
from pathlib import Path
from store.local import LocalStore
from tests.store.builders import *
size = int(sys.argv[2])
store = LocalStore(Path(sys.argv[1])); key = store.add_key("one", SECRET, 86400)
reader = store.reader()
writer = store.writer(print)
done(reader, record(writer, key, request=[os.urandom(9_000_000)], response=[os.urandom(9_000_000)]).id)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
digests = [hashlib.sha256(), hashlib.sha256()]
one = writer.begin(key, now_ms(), request_head(), "messages")
for digest, give in zip(digests, (one.request_chunk, one.response_chunk)):
    if give == one.response_chunk:
        one.request_end(1); one.response_head(2, response_head())
    for at_ms in range(size // 65536):
        piece = os.urandom(32768) * 2
        digest.update(piece)
        # As a network would: no faster than it is taken.
        until(lambda: writer.room > 250_000_000, 300)
        give(at_ms, piece)
one.end(99_999, Transport.COMPLETE)
until(lambda: reader.meta(one.id) and reader.meta(one.id).state is State.DONE, 300)
print("grown", peak() - before)
print(*(digest.hexdigest() for digest in digests))
print(one.id)
writer.close(300)
"""


def test_very_many_streams_at_once(root: Path) -> None:
    count = reach(300, 10_000)
    with python("-c", STREAMS, root, str(count)) as process:
        out, err = process.communicate(timeout=1_800)
    assert "" == err
    descriptors, parts = (int(line.split()[1]) for line in out.splitlines())
    # 64 parts, and what a store has open: two databases, locks, a segment.
    assert descriptors < 64 + 40
    assert 0 == parts


def test_very_large_bodies_cost_no_memory_of_their_size(root: Path) -> None:
    size = reach(32, 100) * 1024 * 1024
    with python("-c", BODIES, root, str(size)) as process:
        out, err = process.communicate(timeout=900)
    assert "" == err
    grown, digests, record_id = out.splitlines()
    # A body frame of 8 MB and its copies, not what passed: that is twice `size`.
    assert int(grown.split()[1]) < 40
    reader = LocalReader(root)
    stored = reader.get(record_id)
    assert stored is not None
    reader.close()
    assert [size, size, 0] == [
        stored.meta.request_bytes,
        stored.meta.response_bytes,
        stored.meta.lost_bytes,
    ]
    assert digests.split() == [
        hashlib.sha256(body.data).hexdigest()
        for body in (stored.request_body, stored.response_body)
    ]


ODD_HEADERS: dict[str, Headers] = {
    "a hundred of 64 KB": tuple((b"x-%d" % n, bytes([97 + n % 26]) * 65_536) for n in range(100)),
    "repeated": ((b"a", b"1"), (b"A", b"2"), (b"a", b"1"), (b"", b"")),
    "no utf-8": ((b"\xff\xfe", b"\x80\xc3\x28"), (b"x", bytes(range(256)))),
    "nul and breaks": ((b"a\0b", b"\0"), (b"b", b"1\r\n 2"), (b"c", b"\r"), (b"d", b"\n\t folded")),
}


@pytest.mark.check(18, 49)
@pytest.mark.parametrize("headers", ODD_HEADERS.values(), ids=ODD_HEADERS)
@pytest.mark.parametrize("end", ["ended", "left open"])
def test_headers_come_back_as_the_bytes_they_were(
    store: LocalStore, key: Key, reader: LocalReader, root: Path, headers: Headers, end: str
) -> None:
    request = RequestHead("POST", "https", "api.test", 443, "/v1/messages", "HTTP/1.1", headers)
    response = ResponseHead(200, "OK\r\n\0\xff", "HTTP/1.1", headers)
    with writing(store) as writer:
        one = writer.begin(key, now_ms(), request, "messages")
        one.request_end(0)
        one.response_head(1, response)
        if end == "ended":
            one.end(2, Transport.COMPLETE)
    stored = done(reader, one.id)
    assert (request, response) == (stored.request, stored.response)
    assert [one.id] == [row.id for row in reader.records()]
    assert 1 == store.rebuild()
    assert stored.request == done(reader, one.id).request


DEPTH = 200_000
ODD_BODIES = {
    "deep": b'{"model":"m","messages":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "deep and cut": b'{"model":' * DEPTH,
    "large numbers": b'{"model":"m","max_tokens":1e999999,"n":' + b"9" * 50_000 + b"}",
    "twice": b'{"model":"a","model":"b","model":null,"stream":1,"stream":"\\ud800"}',
    "half a character": b'{"model":"\\ud800","usage":{"input_tokens":-1e400}}\xff\xfe',
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
@pytest.mark.parametrize("answer", ["json", "event"])
def test_whatever_a_body_says_it_is_kept_and_its_row_can_be_read(
    store: LocalStore, key: Key, reader: LocalReader, body: bytes, answer: str
) -> None:
    framed = b"event: message_start\ndata: " + body + b"\n\n" if answer == "event" else body
    kind = b"text/event-stream" if answer == "event" else b"application/json"
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        one = writer.begin(
            key,
            now_ms(),
            RequestHead("POST", "https", "api.test", 443, "/v1/messages", "HTTP/1.1", ()),
            "messages",
        )
        one.request_chunk(0, body)
        one.request_end(1)
        one.response_head(2, ResponseHead(200, "OK", "HTTP/1.1", ((b"content-type", kind),)))
        one.response_chunk(3, framed)
        one.end(4, Transport.COMPLETE)
        stored = done(reader, one.id)
    assert (body, framed) == (stored.request_body.data, stored.response_body.data)
    assert [] == lines
    assert 1 == store.rebuild()
    assert [one.id] == [row.id for row in reader.records()]
