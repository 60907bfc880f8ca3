"""What is read of a flow, and who is held to have ended it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.connection import ConnectionState
from mitmproxy.flow import Error
from mitmproxy.http import Headers, HTTPFlow
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test.tflow import tflow
from mitmproxy.test.tutils import tresp

from addon.exchange import (
    ERROR_CAP,
    answer_lost,
    ending,
    error_line,
    error_told,
    request_head,
    response_head,
)
from store.record import Transport

OPEN, CLOSED = ConnectionState.OPEN, ConnectionState.CLOSED
FIELDS = ((b"Host", b"api.anthropic.com"), (b"X-B", b"2"), (b"x-b", b"\xff"), (b"X-A", b""))


def flow_to(
    host_header: bytes | None, *, authority: bytes = b"", scheme: bytes = b"https"
) -> HTTPFlow:
    """A request whose connection goes to 127.0.0.1:4711, whatever it asks for."""
    flow = tflow()
    flow.request.data.host, flow.request.data.port = "127.0.0.1", 4711
    flow.request.data.scheme = scheme
    flow.request.data.authority = authority
    flow.request.headers = Headers([] if host_header is None else [(b"Host", host_header)])
    return flow


@pytest.mark.check(12, 18, 19)
def test_headers_verbatim() -> None:
    """Order, case, repeats, empty values and bytes that are no text survive."""
    flow = tflow(resp=True)
    flow.request.headers = Headers(FIELDS)
    assert flow.response is not None
    flow.response.headers = Headers(FIELDS)
    assert FIELDS == request_head(flow).headers
    assert FIELDS == response_head(flow.response).headers


@pytest.mark.check(31)
def test_request_line_verbatim() -> None:
    """Method in its own case, path with query and with bytes outside ASCII."""
    flow = tflow()
    flow.request.data.method = b"Post"
    flow.request.data.path = b"/v1/m?a=%20&b=\xe9"
    head = request_head(flow)
    assert ("Post", "/v1/m?a=%20&b=\xe9") == (head.method, head.path)
    assert "HTTP/1.1" == head.http_version


def test_response_line() -> None:
    """Status and reason; HTTP/2 has an empty one."""
    flow = tflow(resp=True)
    assert flow.response is not None
    flow.response.data.http_version = b"HTTP/2.0"
    flow.response.data.reason = b""
    flow.response.data.status_code = 529
    head = response_head(flow.response)
    assert (529, "", "HTTP/2.0") == (head.status, head.reason, head.http_version)


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        (flow_to(b"api.openai.com"), ("api.openai.com", 443)),
        (flow_to(b"api.openai.com:8443"), ("api.openai.com", 8443)),
        (flow_to(b"localhost", scheme=b"http"), ("localhost", 80)),
        (flow_to(b"[::1]:9000"), ("::1", 9000)),
        (flow_to(None, authority=b"api.openai.com"), ("api.openai.com", 443)),
        (flow_to(b"b.test", authority=b"a.test:1"), ("a.test", 1)),
        (flow_to(None), ("127.0.0.1", 4711)),
        (flow_to(b"not a host"), ("127.0.0.1", 4711)),
        (flow_to(b"\x1b]0;x\x07"), ("127.0.0.1", 4711)),
        (flow_to(b"a.test:99999999"), ("127.0.0.1", 4711)),
    ],
)
def test_the_host_the_client_asked_for(flow: HTTPFlow, expected: tuple[str, int]) -> None:
    """`:authority`, else `Host`, else where the connection goes."""
    head = request_head(flow)
    assert expected == (head.host, head.port)


@pytest.mark.parametrize(
    ("mode", "host_header", "expected"),
    [
        ("reverse:https://api.openai.com", b"api.openai.com", ("api.openai.com", 443)),
        # keep_host_header: the client knows us by our own address.
        ("reverse:https://api.openai.com", b"127.0.0.1:8081", ("api.openai.com", 443)),
        ("reverse:https://api.openai.com", b"localhost:8081", ("api.openai.com", 443)),
        ("reverse:https://api.openai.com", b"proxy.lan:8081", ("api.openai.com", 443)),
        ("reverse:https://api.openai.com:8443@8081", None, ("api.openai.com", 8443)),
        ("reverse:http3://api.openai.com", b"127.0.0.1:8081", ("api.openai.com", 443)),
        ("reverse:http://localhost:11434", b"127.0.0.1:8081", ("localhost", 11434)),
        ("reverse:http://127.0.0.1:11434", b"localhost:8081", ("127.0.0.1", 11434)),
        # The name may be known to the client alone, as when a hosts file leads it here.
        ("reverse:https://192.0.2.1", b"api.openai.com", ("api.openai.com", 443)),
        ("reverse:https://[2001:db8::1]", b"api.openai.com", ("api.openai.com", 443)),
        ("reverse:https://192.0.2.1", b"127.0.0.1:8081", ("192.0.2.1", 443)),
        ("reverse:https://192.0.2.1", b"[::1]:8081", ("192.0.2.1", 443)),
        ("socks5", b"api.openai.com", ("api.openai.com", 443)),
        ("upstream:http://proxy.lan:3128", b"api.openai.com", ("api.openai.com", 443)),
        ("transparent", b"api.openai.com:8443", ("api.openai.com", 8443)),
    ],
)
def test_the_host_by_mode(mode: str, host_header: bytes | None, expected: tuple[str, int]) -> None:
    """In reverse mode the API that it stands for, whatever the client calls us."""
    flow = flow_to(host_header)
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    head = request_head(flow)
    assert expected == (head.host, head.port)


ENDINGS: list[tuple[str, str, str, str, Transport]] = [
    # message, client's ALPN, server's ALPN, who was closed, expected
    ("Client disconnected.", "", "", "both", Transport.CLIENT_CLOSED),
    ("HTTP/1 protocol error: peer closed connection without sending complete message body "
     "(received 100 bytes, expected 1000)", "", "", "client", Transport.CLIENT_CLOSED),
    ("HTTP/1 protocol error: peer closed connection without sending complete message body "
     "(incomplete chunked read)", "", "", "server", Transport.UPSTREAM_CLOSED),
    ("server closed connection", "", "", "server", Transport.UPSTREAM_CLOSED),
    ("peer closed connection", "h2", "h2", "client", Transport.CLIENT_CLOSED),
    ("peer closed connection", "h2", "h2", "server", Transport.UPSTREAM_CLOSED),
    ("stream reset by client (CANCEL)", "h2", "h2", "", Transport.CLIENT_CLOSED),
    ("stream reset by client (INTERNAL_ERROR)", "h2", "h2", "", Transport.UPSTREAM_ERROR),
    ("stream reset by client (INTERNAL_ERROR)", "h2", "", "", Transport.CLIENT_CLOSED),
    ("stream reset by client (CANCEL)", "", "h2", "", Transport.UPSTREAM_ERROR),
    ("HTTP/2 connection closed: <ConnectionTerminated error_code:0>", "h2", "h2", "server",
     Transport.UPSTREAM_CLOSED),
    ("[Errno 111] Connect call failed ('127.0.0.1', 1)", "", "", "server",
     Transport.UPSTREAM_ERROR),
    ("Certificate verify failed: self-signed certificate", "", "", "server",
     Transport.UPSTREAM_ERROR),
    ("Cannot parse HTTP response: 'x'", "", "", "server", Transport.UPSTREAM_ERROR),
    ("Received both a Transfer-Encoding and a Content-Length header from server", "", "", "",
     Transport.UPSTREAM_ERROR),
    ("stream closed by client (H3_REQUEST_CANCELLED)", "h3", "h3", "", Transport.CLIENT_CLOSED),
    ("stream closed by client (H3_INTERNAL_ERROR)", "h3", "h3", "", Transport.UPSTREAM_ERROR),
    ("stream closed by client (H3_NO_ERROR)", "h3", "", "", Transport.CLIENT_CLOSED),
    ("H3_NO_ERROR", "h3", "h3", "client", Transport.CLIENT_CLOSED),
    ("H3_NO_ERROR", "h3", "h3", "server", Transport.UPSTREAM_CLOSED),
    ("restarting", "h3", "h3", "server", Transport.UPSTREAM_CLOSED),
    ("CRYPTO_ERROR", "h3", "", "server", Transport.UPSTREAM_ERROR),
    (Error.KILLED_MESSAGE, "", "", "", Transport.KILLED),
    ("Response body exceeds mitmproxy's body_size_limit.", "", "", "", Transport.KILLED),
]  # fmt: skip


@pytest.mark.check(41)
@pytest.mark.parametrize(("message", "client", "server", "closed", "expected"), ENDINGS)
def test_ending(message: str, client: str, server: str, closed: str, expected: Transport) -> None:
    """Each message of mitmproxy's, with the state it leaves the connections in."""
    flow = tflow(err=True)
    flow.error = Error(message)
    flow.client_conn.alpn = client.encode() or None
    flow.server_conn.alpn = server.encode() or None
    flow.client_conn.state = CLOSED if closed in ("client", "both") else OPEN
    flow.server_conn.state = CLOSED if closed in ("server", "both") else OPEN
    assert expected is ending(flow)


@pytest.mark.parametrize(
    ("status", "lost"), [(100, True), (103, True), (199, True), (101, False), (200, False)]
)
def test_an_informational_response_is_no_answer(status: int, lost: bool) -> None:
    """But for 101, with which something else begins."""
    told = answer_lost(tresp(status_code=status))
    assert lost == (told is not None)
    assert not lost or str(status) in str(told)


TOLD: list[tuple[str, str, str, Transport, str]] = [
    # message, client's ALPN, server's ALPN, who ended it, what is said
    ("Client disconnected.", "", "", Transport.CLIENT_CLOSED, "Client disconnected."),
    ("stream reset by client (CANCEL)", "h2", "h2", Transport.CLIENT_CLOSED,
     "stream reset by client (CANCEL)"),
    ("stream reset by client (INTERNAL_ERROR)", "h2", "h2", Transport.UPSTREAM_ERROR,
     "stream reset by upstream (INTERNAL_ERROR)"),
    ("stream closed by client (H3_REQUEST_CANCELLED)", "h3", "h3", Transport.CLIENT_CLOSED,
     "stream closed by client (H3_REQUEST_CANCELLED)"),
    ("stream closed by client (H3_INTERNAL_ERROR)", "h3", "h3", Transport.UPSTREAM_ERROR,
     "stream closed by upstream (H3_INTERNAL_ERROR)"),
    ("NO_ERROR", "h3", "h3", Transport.CLIENT_CLOSED, "HTTP/3 connection closed: NO_ERROR"),
    ("restarting", "h3", "h3", Transport.UPSTREAM_CLOSED, "HTTP/3 connection closed: restarting"),
    ("server closed connection", "h3", "", Transport.UPSTREAM_CLOSED, "server closed connection"),
    ("Connection killed.", "h3", "h3", Transport.KILLED, "Connection killed."),
]  # fmt: skip


@pytest.mark.parametrize(("message", "client", "server", "transport", "expected"), TOLD)
def test_what_is_said_of_it(
    message: str, client: str, server: str, transport: Transport, expected: str
) -> None:
    """mitmproxy's own words, with whoever did it named right."""
    flow = tflow(err=True)
    flow.error = Error(message)
    flow.client_conn.alpn = client.encode() or None
    flow.server_conn.alpn = server.encode() or None
    assert expected == error_told(flow, transport)


def test_a_request_mitmproxy_refused() -> None:
    """Its message reads like an upstream's; it never went there."""
    flow = tflow(err=True)
    flow.client_conn.state = OPEN
    assert Transport.KILLED is ending(flow, refused=True)


@pytest.mark.check(42)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("  a\r\n\tb  c ", "a b c"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
        ("", ""),
    ],
)
def test_error_line(text: str, expected: str) -> None:
    """One line of at most 500 characters."""
    assert expected == error_line(text)


@pytest.mark.check(42)
@given(st.text(max_size=1200))
def test_error_line_of_anything(text: str) -> None:
    """Whatever an upstream put into it."""
    line = error_line(text)
    assert len(line) <= ERROR_CAP
    assert [line] == (line.splitlines() or [""])
