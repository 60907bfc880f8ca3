"""What is not a POST over TLS through CONNECT: plain HTTP, WebSockets. Other modes: test_modes.py."""

import socket
from pathlib import Path

import pytest

from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    done,
    new_store,
    post,
    records,
    running,
)


def echo(call: Call) -> None:
    call.answer(call.read_body())


@pytest.mark.check(12, 31)
def test_plain_http(tmp_path: Path) -> None:
    """A local model: absolute-form to the proxy, origin-form to the upstream and in the record."""
    store = new_store(tmp_path / "store")
    with (
        Upstream(echo, tls=False) as upstream,
        Proxy(store, tmp_path / "confdir", upstream) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S) as client,
    ):
        request = post("/v1/chat/completions?a=b", b"hi", host="models.test:11434")
        client.sendall(request.replace(b" /v1", b" http://models.test:11434/v1", 1))
        answer = b""
        while b"\r\n\r\nhi" not in answer:
            data = client.recv(65536)
            assert data
            answer += data
        (record,) = done(store)
        assert 0 == proxy.stop()
    assert ["/v1/chat/completions?a=b"] == [call.path for call in upstream.calls]
    head = record.request
    assert ("http", "models.test", 11434) == (head.scheme, head.host, head.port)
    assert "/v1/chat/completions?a=b" == head.path
    assert b"hi" == record.response_body.data


def frame(payload: bytes, *, masked: bool) -> bytes:
    """A short text frame; a mask of zeros leaves the payload readable."""
    mask_bit, mask = (0x80, b"\0\0\0\0") if masked else (0, b"")
    return bytes([0x81, mask_bit | len(payload)]) + mask + payload


def unmasked(data: bytes) -> bytes:
    """The payload of one short masked frame; mitmproxy masks anew on its way up."""
    mask, payload = data[2:6], data[6:]
    return bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def test_a_websocket_passes(tmp_path: Path) -> None:
    """Nobody asks for a response on it: it is not recorded, and not harmed."""

    def script(call: Call) -> None:
        call.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        for n in range(3):
            assert b"ping-%d" % n == unmasked(call.read_some())
            call.send(frame(b"pong-%d" % n, masked=False))
        call.wait_closed()

    with running(tmp_path, script) as (proxy, _):
        with Client(proxy, "api.openai.com") as client:
            client.send(
                b"GET /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n"
            )
            client.read_until(b"\r\n\r\n")
            for n in range(3):
                client.send(frame(b"ping-%d" % n, masked=True))
                client.read_until(b"pong-%d" % n)
        assert 0 == proxy.stop()
        assert [] == records(proxy.store)
        assert "recording failed" not in proxy.log
