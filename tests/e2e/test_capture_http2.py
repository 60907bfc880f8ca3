"""HTTP/2 on both legs: names, cookies, the streams of one connection. How they end: state_table.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.record import Transport
from tests.e2e.harness import Client, Proxy, Upstream, done, new_store, post
from tests.e2e.http2 import H2Client, H2Upstream, Stream

HOST = "api.openai.com"
FIRST = b'data: {"object":"chat.completion.chunk"}\n\n'
LAST = b"data: [DONE]\n\n"


def whole(stream: Stream) -> None:
    """Two events with an empty DATA frame between."""
    stream.start()
    stream.chunk(FIRST)
    stream.chunk(b"")
    stream.chunk(LAST)
    stream.finish()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, H2Upstream]]:
    """One proxy and one upstream for this file."""
    folder = tmp_path_factory.mktemp("http2")
    store = new_store(folder / "store")
    with H2Upstream(whole) as upstream, Proxy(store, folder / "confdir", upstream) as proxy:
        yield proxy, upstream


@pytest.mark.check(12, 18, 31)
def test_a_whole_answer(rig: tuple[Proxy, H2Upstream]) -> None:
    """No Host header: the authority is the host. Names stay lower case, cookies stay two."""
    proxy, upstream = rig
    upstream.streams = whole
    with H2Client(proxy, HOST) as client:
        stream = client.post("/v1/chat/completions?case=whole", b'{"model":"m"}')
        assert "end" == client.read_stream(stream)
        assert FIRST + LAST == client.bodies[stream]
    assert b'{"model":"m"}' == upstream.seen[-1].body
    (record,) = done(proxy.store, "case=whole")
    assert ("https", HOST, 443) == (record.request.scheme, record.request.host, record.request.port)
    assert "HTTP/2.0" == record.request.http_version
    assert ((b"cookie", b"a=1"), (b"cookie", b"b=2")) == record.request.headers[-2:]
    assert b'{"model":"m"}' == record.request_body.data
    assert [FIRST, LAST] == [data for _, data in record.response_body.chunks()]
    assert Transport.COMPLETE is record.meta.transport


@pytest.mark.check(12)
def test_streams_of_one_connection(rig: tuple[Proxy, H2Upstream]) -> None:
    """Four at once; each record has its own bytes."""
    proxy, upstream = rig

    def script(stream: Stream) -> None:
        stream.start()
        stream.chunk(b"data: " + stream.body + b"\n\n")
        stream.finish()

    upstream.streams = script
    with H2Client(proxy, HOST) as client:
        streams = [
            client.post("/v1/chat/completions?case=several", b"body-%d" % n) for n in range(4)
        ]
        assert ["end"] * 4 == [client.read_stream(stream) for stream in streams]
    found = done(proxy.store, "case=several", 4)
    assert {b"body-%d" % n: b"data: body-%d\n\n" % n for n in range(4)} == {
        record.request_body.data: record.response_body.data for record in found
    }


def test_http2_can_be_switched_off(tmp_path: Path) -> None:
    """`--set http2=false`, which docs/modes.md names against GOAWAY: both sides offer HTTP/2 and speak
    HTTP/1.1."""
    store = new_store(tmp_path / "store")
    both = ("h2", "http/1.1")
    with Upstream(lambda call: call.answer(call.read_body()), alpn=both) as upstream:
        options = ["--set", "http2=false"]
        with (
            Proxy(store, tmp_path / "confdir", upstream, options) as proxy,
            Client(proxy, HOST, alpn=both) as client,
        ):
            assert "http/1.1" == client.alpn
            client.send(post("/v1/chat/completions", b"hi", host=HOST))
            client.read_until(b"\r\n\r\nhi")
            (record,) = done(store)
    assert "HTTP/1.1" == record.request.http_version
