"""What passes is what is stored, one record each, through a real mitmdump. HTTP/1.1, keys, taps."""

import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.location import open_reader
from store.record import Record, Transport
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    OFF_KEY,
    UNKNOWN_KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    body_of,
    done,
    on_disk,
    post,
    records,
    running,
    sse,
    wait_for,
)

HOST = "api.anthropic.com"
EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"model":"m"}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """One proxy for the tests of this file; each replaces the script and has its own path."""
    with running(tmp_path_factory.mktemp("capture"), sse()) as pair:
        yield pair


def one(proxy: Proxy, case: str) -> Record:
    """The one record of that case, done; a second one is a failure."""
    (record,) = done(proxy.store, case)
    return record


@pytest.mark.check(12, 18, 19, 23, 27, 28, 30, 31, 32, 49)
def test_a_whole_answer(rig: tuple[Proxy, Upstream]) -> None:
    """Both heads in order and case, both bodies, and the facts of the row."""
    proxy, upstream = rig

    def script(call: Call) -> None:
        call.read_body()
        call.send(
            b"HTTP/1.1 200 Fine\r\nContent-Type: application/json\r\nX-Twice: 1\r\nx-twice: 2\r\n"
            b"Set-Cookie: a=b\r\nContent-Length: 15\r\n\r\n" + b'{"model":"m-1"}'
        )

    upstream.script = script
    body = b'{"model": "m-1", "messages": []}'
    with Client(proxy, HOST) as client:
        client.send(post("/v1/messages?case=whole", body, headers=[("X-A", "1"), ("x-a", "2")]))
        got = client.read_until(b'{"model":"m-1"}')
    record = one(proxy, "case=whole")
    assert record.response is not None
    assert body == record.request_body.data == upstream.calls[-1].body
    assert b'{"model":"m-1"}' == record.response_body.data == body_of(got)
    assert (
        (b"Host", b"api.anthropic.com"),
        (b"X-Api-Key", KEY.encode()),
        (b"Content-Type", b"application/json"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Content-Length", b"32"),
    ) == record.request.headers
    assert (
        (b"Content-Type", b"application/json"),
        (b"X-Twice", b"1"),
        (b"x-twice", b"2"),
        (b"Set-Cookie", b"a=b"),
        (b"Content-Length", b"15"),
    ) == record.response.headers
    assert "Fine" == record.response.reason
    meta = record.meta
    assert ("POST", "https", HOST, 443) == (meta.method, meta.scheme, meta.host, meta.port)
    assert "/v1/messages?case=whole" == meta.path == record.request.path
    assert (200, "messages", "application/json") == (meta.status, meta.protocol, meta.content_type)
    assert (32, 15, 0) == (meta.request_bytes, meta.response_bytes, meta.lost_bytes)
    assert (Transport.COMPLETE, None) == (meta.transport, meta.error)


@pytest.mark.check(12, 16, 17)
def test_a_stream_passes_while_it_comes(rig: tuple[Proxy, Upstream]) -> None:
    """The client has each event before the next one exists; chunks are stored as they came."""
    proxy, upstream = rig
    gates = [threading.Event() for _ in EVENTS]
    upstream.script = sse(*EVENTS, pause=lambda n: wait_gate(gates[n]))
    with Client(proxy, HOST) as client:
        client.send(post("/v1/messages?case=stream", b'{"stream":true}'))
        for gate, event in zip(gates, EVENTS, strict=True):
            assert event not in client.received
            gate.set()
            client.read_until(event)
        got = client.read_until(b"\r\n0\r\n\r\n")
    record = one(proxy, "case=stream")
    assert b"".join(EVENTS) == body_of(got) == record.response_body.data
    assert list(EVENTS) == [data for _, data in record.response_body.chunks()]
    times = [at_ms for at_ms, _ in record.response_body.arrivals]
    assert sorted(times) == times
    assert record.meta.streamed


def wait_gate(gate: threading.Event) -> None:
    assert gate.wait(DEADLINE_S)


@pytest.mark.check(15)
def test_an_upload_passes_while_it_comes(rig: tuple[Proxy, Upstream]) -> None:
    """The upstream has chunk 1 before chunk 2 exists, and all of it is stored."""
    proxy, upstream = rig
    arrived = threading.Event()

    def script(call: Call) -> None:
        call.body = call.read_some()
        arrived.set()
        call.read_body()
        call.answer(b"{}")

    upstream.script = script
    with Client(proxy, HOST) as client:
        client.send(post("/v1/messages?case=upload", b"first,", length=12))
        wait_gate(arrived)
        client.send(b"second")
        client.read_until(b"{}")
    assert b"first,second" == upstream.calls[-1].body
    record = one(proxy, "case=upload")
    assert b"first,second" == record.request_body.data


@pytest.mark.check(27, 28)
def test_gzip_is_stored_as_sent(rig: tuple[Proxy, Upstream]) -> None:
    """The wire's bytes, not the decoded ones, on both sides."""
    proxy, upstream = rig
    packed = gzip.compress(b"".join(EVENTS), mtime=0)

    def script(call: Call) -> None:
        call.read_body()
        call.start(headers=[("content-type", "text/event-stream"), ("content-encoding", "gzip")])
        call.chunk(packed[:20])
        call.chunk(packed[20:])
        call.finish()

    upstream.script = script
    with Client(proxy, HOST) as client:
        client.send(post("/v1/messages?case=gzip", gzip.compress(b"{}", mtime=0)))
        got = client.read_until(b"\r\n0\r\n\r\n")
    record = one(proxy, "case=gzip")
    assert packed == body_of(got) == record.response_body.data
    assert gzip.compress(b"{}", mtime=0) == record.request_body.data


@pytest.mark.check(23, 29)
@pytest.mark.parametrize("status", [204, 200])
def test_an_empty_answer(rig: tuple[Proxy, Upstream], status: int) -> None:
    """No body at all, and a body of no bytes: a response with an empty body."""
    proxy, upstream = rig

    def script(call: Call) -> None:
        call.read_body()
        call.send(
            b"HTTP/1.1 204 Test\r\n\r\n"
            if status == 204
            else b"HTTP/1.1 200 Test\r\ncontent-length: 0\r\n\r\n"
        )

    upstream.script = script
    with Client(proxy, HOST) as client:
        client.send(post(f"/v1/messages?case=empty-{status}", b"{}"))
        client.read_until(b"\r\n\r\n")
    record = one(proxy, f"case=empty-{status}")
    assert record.response is not None
    assert status == record.meta.status
    assert b"" == record.response_body.data
    assert Transport.COMPLETE is record.meta.transport


@pytest.mark.check(12, 32)
def test_large_bodies(rig: tuple[Proxy, Upstream]) -> None:
    """A few megabytes each way, byte for byte."""
    proxy, upstream = rig
    up, down = bytes(range(256)) * 8000, bytes(range(255, -1, -1)) * 12000

    def script(call: Call) -> None:
        call.read_body()
        call.answer(down)

    upstream.script = script
    with proxy.httpx() as client:
        response = client.post(
            f"https://{HOST}/v1/messages?case=large", content=up, headers={"x-api-key": KEY}
        )
    assert down == response.content
    assert up == upstream.calls[-1].body
    record = one(proxy, "case=large")
    assert up == record.request_body.data
    assert down == record.response_body.data
    assert (len(up), len(down)) == (record.meta.request_bytes, record.meta.response_bytes)


@pytest.mark.check(12)
def test_one_connection_many_calls(rig: tuple[Proxy, Upstream]) -> None:
    """Keep-alive: a record for each, in order, none for what is no model call."""
    proxy, upstream = rig

    def script(call: Call) -> None:
        call.answer(call.read_body()[::-1])

    upstream.script = script
    with Client(proxy, HOST) as client:
        for n in range(3):
            client.send(post(f"/v1/messages?case=many&n={n}", b"call-%d" % n))
            client.read_until(b"%d-llac" % n)
            client.send(post("/v1/messages/count_tokens?case=many", b"count-%d" % n))
            client.read_until(b"%d-tnuoc" % n)
    found = done(proxy.store, "case=many", 3)
    assert [b"call-0", b"call-1", b"call-2"] == [r.request_body.data for r in found]
    assert [b"0-llac", b"1-llac", b"2-llac"] == [r.response_body.data for r in found]


@pytest.mark.check(12, 45)
def test_two_streams_at_once(rig: tuple[Proxy, Upstream]) -> None:
    """Two clients, interleaved event by event: each record has its own bytes only."""
    proxy, upstream = rig
    barrier = threading.Barrier(2, timeout=DEADLINE_S)

    def script(call: Call) -> None:
        name = call.read_body()
        call.start(headers=[("content-type", "text/event-stream")])
        for n in range(20):
            barrier.wait()
            call.chunk(b"data: %s %d\n\n" % (name, n))
        call.finish()

    upstream.script = script

    def call(name: bytes) -> bytes:
        with Client(proxy, HOST) as client:
            client.send(post("/v1/messages?case=two", name))
            return body_of(client.read_until(b"\r\n0\r\n\r\n"))

    with ThreadPoolExecutor(2) as pool:
        got = dict(zip((b"one", b"two"), pool.map(call, (b"one", b"two")), strict=True))
    found = done(proxy.store, "case=two", 2)
    assert 2 == len(found)
    for record in found:
        name = record.request_body.data
        expected = b"".join(b"data: %s %d\n\n" % (name, n) for n in range(20))
        assert expected == got[name] == record.response_body.data


@pytest.mark.check(1, 2, 4, 13, 14)
def test_what_is_off_leaves_no_trace(rig: tuple[Proxy, Upstream]) -> None:
    """A key that is off, one nobody knows, a call that is no model call: not a byte on disk, in
    any file of the store, and the traffic as ever."""
    proxy, upstream = rig

    def script(call: Call) -> None:
        call.answer(b"answer-canary " + call.read_body())

    upstream.script = script
    with proxy.httpx() as client:
        for key, path in (
            (OFF_KEY, "/v1/messages?path-canary"),
            (UNKNOWN_KEY, "/v1/messages?path-canary"),
            (KEY, "/v1/messages/count_tokens?path-canary"),
            (KEY, "/api/event_logging/batch?path-canary"),
        ):
            response = client.post(
                f"https://{HOST}{path}",
                content=b"body-canary",
                headers={"x-api-key": key, "x-note": "header-canary"},
            )
            assert b"answer-canary body-canary" == response.content
        # One that is on, so that what came before it has been written by now.
        client.post(f"https://{HOST}/v1/messages?case=after", headers={"x-api-key": KEY})
    one(proxy, "case=after")
    assert [] == records(proxy.store, "path-canary")
    for canary in (b"path-canary", b"body-canary", b"header-canary"):
        assert [] == on_disk(proxy.store, canary)
    for key in (OFF_KEY, UNKNOWN_KEY):
        assert [] == on_disk(proxy.store, key.encode())


@pytest.mark.check(7)
def test_counts_reach_the_status(rig: tuple[Proxy, Upstream]) -> None:
    """Seen, recorded, unmatched, and the last unmatched one's host and fingerprint."""
    proxy, upstream = rig
    upstream.script = lambda call: call.answer(call.read_body())
    reader = open_reader(str(proxy.store))
    try:
        with proxy.httpx() as client:
            for key in (KEY, UNKNOWN_KEY):
                client.post(f"https://{HOST}/v1/messages?case=counts", headers={"x-api-key": key})

        def settled() -> bool:
            (status,) = reader.proxies()
            return status.last_unmatched_host == HOST and status.recorded >= 1

        wait_for(settled, "the proxy's status")
        (status,) = reader.proxies()
        assert status.alive
        assert f"127.0.0.1:{proxy.port}" == status.address
        assert status.seen == status.recorded + status.unmatched
        assert status.last_unmatched_fingerprint == "sk-ant-t…nger"
        assert (0, 0) == (status.lost_records, status.lost_bytes)
    finally:
        reader.close()


def test_the_start_says_what_it_does(rig: tuple[Proxy, Upstream]) -> None:
    """How many keys, where to, and that the timeout was raised; the connection log is quiet."""
    proxy, _ = rig
    assert f"flowtap: recording 1 key to {proxy.store}" in proxy.log
    assert "flowtap: tcp_timeout raised to 3600 s" in proxy.log
    assert "all interfaces" not in proxy.log
    assert "client connect" not in proxy.log
    assert "Error" not in proxy.log


def test_a_client_without_our_ca_is_told_of(rig: tuple[Proxy, Upstream]) -> None:
    """The only sign of it: the host is named, with what to look at."""
    proxy, _ = rig
    with socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S) as raw:
        raw.sendall(b"CONNECT api.openai.com:443 HTTP/1.1\r\n\r\n")
        assert b" 200 " in raw.recv(65536)
        context = ssl.create_default_context(cafile=None)
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="api.openai.com")
    proxy.wait_log("flowtap: a client broke off TLS for api.openai.com")


@pytest.mark.check(15)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_mitmproxy_streams_by_itself(tmp_path: Path, chunked: bool) -> None:
    """`stream_large_bodies` streams also where we are told not to: with a length it goes through our
    tap; without one it begins where no hook is, and the record says that the body is not there."""

    def echo(call: Call) -> None:
        call.answer(call.read_body())

    pieces = [bytes(5_000)] * 4
    args = ("--set", "flowtap_stream_requests=no", "--set", "stream_large_bodies=1k")
    with running(tmp_path, echo, args) as (proxy, _), proxy.httpx() as client:
        answer = client.post(
            f"https://{HOST}/v1/messages",
            content=iter(pieces) if chunked else b"".join(pieces),
            headers={"x-api-key": KEY},
        )
        assert b"".join(pieces) == answer.content
        record = one(proxy, "/v1/messages")
        assert answer.content == record.response_body.data
        if chunked:
            assert (b"", None) == (record.request_body.data, record.wire)
            assert "passed unrecorded" in (record.meta.error or "")
        else:
            assert (answer.content, None) == (record.request_body.data, record.meta.error)
            assert record.wire is not None
