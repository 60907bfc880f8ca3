"""mitmproxy's modes: one exchange gives one and the same record, whichever way it came. docs/modes.md tells how."""

import base64
import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest

from store.location import open_reader
from store.record import Headers, State, Transport, Verdict
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    Call,
    Client,
    done,
    post,
    records,
    wait_for,
)
from tests.e2e.modes import (
    API,
    CORPORATE_LOGIN,
    LOGIN,
    MODEL,
    MODEL_PORT,
    NOBODY,
    ONE,
    ROUTES,
    THREE,
    TWO,
    Played,
    Rigs,
    Route,
    asking,
    connected,
    told,
)
from tests.e2e.moves_http1 import (
    ASKED,
    BEGUN,
    FIRST,
    LAST,
    PREFIX,
    QUESTION,
    REPLY,
    SSE,
    STREAM,
)
from tests.e2e.ways import Door, connect, connect_as, socks5, socks5_as, socks5_to, straight
from tests.e2e.websocket import HOST as SOCKET_HOST
from tests.e2e.websocket import SocketClient, accept


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    """Three proxies on one store, in fifteen listeners of four modes; all tests here share them."""
    with Rigs(tmp_path_factory.mktemp("modes")) as rigs:
        yield rigs


def request_headers(route: Route, sent: Headers) -> Headers:
    """What is recorded of the headers a client sent: those; but in reverse mode mitmproxy writes the
    API's name into Host before anybody sees it, unless it is told to keep the client's."""
    if route.mode.startswith("reverse") and route.rig != "keeping":
        port = "" if route.port in (80, 443) else f":{route.port}"
        name = f"{route.host}{port}".encode()
        return tuple((k, name if k.lower() == b"host" else v) for k, v in sent)
    return sent


@pytest.mark.check(12, 15, 16, 18, 26, 29, 31, 32)
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_the_same_record_by_every_way(rigs: Rigs, route: Route) -> None:
    """Host, port and path are the real API's, the body and its pieces are as they passed."""
    played = Played(rigs, route)
    response_headers: Headers = ((b"content-type", b"text/event-stream"),)
    if route.version == ONE:
        response_headers += ((b"transfer-encoding", b"chunked"),)
    assert {
        "asked": ("POST", route.scheme, route.host, route.port, played.path),
        "versions": (route.version, route.version),
        "request headers": request_headers(route, played.sent),
        "response headers": response_headers,
        "request": (ASKED, [len(PREFIX), len(ASKED) - len(PREFIX)]),
        "response": (STREAM, [len(FIRST), len(LAST)]),
        "counted": (len(ASKED), len(STREAM), 0),
        "ended": (State.DONE, 200, Transport.COMPLETE, Verdict.COMPLETE, None),
        "kind": ("messages", "claude-test-1", "text/event-stream", True),
        "tokens": (None, None),
    } == told(played.record)


def test_every_mode_that_runs_here_has_its_routes() -> None:
    """Each version of HTTP that a mode carries, and each of a mode's own options."""
    found = {(route.rig, route.mode.partition("-")[0], route.version) for route in ROUTES}
    assert {("as-is", mode, version) for mode in ("regular", "reverse", "socks5", "upstream")
            for version in (ONE, TWO)} <= found  # fmt: skip
    assert ("as-is", "reverse", THREE) in found


@pytest.mark.check(12, 16)
def test_all_modes_at_once(rigs: Rigs) -> None:
    """Every listener of the three proxies has a stream in flight at the same time, on one store."""
    released = threading.Event()

    def hold(call: Call) -> None:
        call.read_body()
        call.start(headers=SSE)
        call.chunk(FIRST)
        assert released.wait(DEADLINE_S)
        call.chunk(LAST)
        call.finish()

    rigs.h1.script = rigs.plain.script = hold
    routes = [route for route in ROUTES if route.version == ONE]
    with contextlib.ExitStack() as stack:
        # Whatever fails, the upstream's scripts may end.
        stack.callback(released.set)
        clients = []
        for route in routes:
            proxy = rigs.proxies[route.rig]
            client = stack.enter_context(connected(proxy, route))
            path = f"/v1/messages?at-once={route}"
            client.send(asking(proxy, route, path, ASKED, len(ASKED)))
            clients.append(client)
        for client in clients:
            client.read_until(FIRST)
        wait_for(
            lambda: (
                len([r for r in records(rigs.store, "at-once") if r.response is not None])
                == len(routes)
            ),
            "all of them in flight",
        )
        assert {State.LIVE} == {record.meta.state for record in records(rigs.store, "at-once")}
        released.set()
        for client in clients:
            client.read_until(LAST + b"\r\n0\r\n\r\n")
    found = done(rigs.store, "at-once", len(routes))
    assert len(routes) == len({record.meta.path for record in found}) == len(found)
    assert {(ASKED, STREAM, Verdict.COMPLETE)} == {
        (record.request_body.data, record.response_body.data, record.meta.verdict)
        for record in found
    }


def test_where_proxies_listen(rigs: Rigs) -> None:
    """Their status rows tell each listener and what it is; clients are only ever sent to a proxy."""
    reader = open_reader(str(rigs.store))
    try:
        found = {proxy.pid: proxy.address for proxy in reader.proxies()}
    finally:
        reader.close()
    for proxy in rigs.proxies.values():
        specs = {
            name: word for name, word in zip(proxy.ports, modes_of(proxy.command), strict=True)
        }
        expected = [
            f"127.0.0.1:{port}"
            if specs[name].startswith(("regular", "upstream"))
            else f"{specs[name].rpartition('@')[0]}@127.0.0.1:{port}"
            for name, port in proxy.ports.items()
        ]
        assert ",".join(expected) == found[proxy.pid]


def modes_of(command: list[str]) -> list[str]:
    """The values of `--mode`."""
    return [word for at, word in enumerate(command) if command[at - 1] == "--mode"]


SOCKET_ROUTES = [
    Route("as-is", "regular", ONE, connect),
    Route("as-is", "reverse", ONE, tls=False),
    Route("keeping", "reverse", ONE, tls=False),
    Route("as-is", "socks5", ONE, socks5),
    Route("as-is", "upstream", ONE, connect),
]


@pytest.mark.check(14)
@pytest.mark.parametrize("route", SOCKET_ROUTES, ids=str)
def test_a_websocket_by_every_way(rigs: Rigs, route: Route) -> None:
    """As Codex opens it; in reverse mode it is the API's whatever Host says."""

    def answer(call: Call) -> None:
        server = accept(call)
        assert QUESTION == server.hear()
        server.say(BEGUN)
        server.say(REPLY)
        server.hear()

    rigs.h1.script = answer
    proxy = rigs.proxies[route.rig]
    path = f"/v1/responses?route={route}&"
    door = Door(route.way, route.tls, proxy.ports[route.mode])
    with SocketClient(proxy, API, door=door) as client:
        socket = client.handshake(path, KEY, [])
        socket.say(QUESTION)
        assert [BEGUN, REPLY] == socket.hear_all(2)
        socket.close()
        socket.hear()
    (record,) = done(rigs.store, path)
    host = API if route.mode == "reverse" else SOCKET_HOST
    assert ("https", host, 443) == (record.meta.scheme, record.meta.host, record.meta.port)
    assert (QUESTION, BEGUN + REPLY) == (record.request_body.data, record.response_body.data)
    assert (101, Verdict.COMPLETE) == (record.meta.status, record.meta.verdict)


# -- socks5 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", [None, "user:wrong", "", "nobody:"])
def test_socks5_lets_nobody_in_without_the_password(rigs: Rigs, login: str | None) -> None:
    """`--proxyauth`; there is no exchange, so there is no record."""
    proxy = rigs.proxies["login"]
    way = socks5 if login is None else socks5_as(login)
    with Client(proxy, API, door=Door(way, port=proxy.ports["socks5"])) as client:
        assert 407 == client.connect_status


def test_socks5_to_nobody(rigs: Rigs) -> None:
    """Refused inside of SOCKS, before there is any request."""
    proxy = rigs.proxies["as-is"]
    with Client(proxy, NOBODY, door=Door(socks5, port=proxy.ports["socks5"])) as client:
        assert 502 == client.connect_status


def test_socks5_to_an_address(rigs: Rigs) -> None:
    """The client resolved the name itself; the record has the name it asks for."""
    proxy = rigs.proxies["as-is"]
    rigs.h1.script = lambda call: call.answer(call.read_body())
    door = Door(socks5_to("127.0.0.1", rigs.h1.port), port=proxy.ports["socks5"])
    with Client(proxy, API, door=door) as client:
        client.send(post("/v1/messages?by-address", b"{}", host=API))
        client.read_until(b"\r\n\r\n{}")
    (record,) = done(rigs.store, "by-address")
    assert (API, 443) == (record.meta.host, record.meta.port)


CURL = shutil.which("curl")


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
@pytest.mark.parametrize("rig", ["as-is", "login"])
def test_curl_through_socks5(rigs: Rigs, rig: str, tls: bool) -> None:
    """`--socks5-hostname`: the proxy looks the name up, and it is the name that is recorded."""
    proxy = rigs.proxies[rig]
    rigs.h1.script = rigs.plain.script = lambda call: call.answer(call.read_body())
    path = f"/v1/messages?curl={rig}-{tls}"
    host, port = (API, 443) if tls else (MODEL, MODEL_PORT)
    command = [
        str(CURL), "--silent", "--show-error", "--max-time", "30", "--noproxy", "",
        "--socks5-hostname", f"127.0.0.1:{proxy.ports['socks5']}",
        "--cacert", str(proxy.ca_file), "--http1.1",
        "--header", f"x-api-key: {KEY}", "--data-binary", "hello",
        f"{'https' if tls else 'http'}://{host}:{port}{path}",
    ]  # fmt: skip
    if rig == "login":
        command[1:1] = ["--proxy-user", LOGIN]
    answer = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    assert (b"hello", b"", 0) == (answer.stdout, answer.stderr, answer.returncode)
    (record,) = done(rigs.store, path)
    assert (host, port, b"hello") == (record.meta.host, record.meta.port, record.request_body.data)


# -- passwords in reverse mode --------------------------------------------------------------------


def test_proxyauth_in_reverse_mode_takes_the_place_of_the_key(rigs: Rigs) -> None:
    """mitmproxy asks for it in Authorization, where the key is; the refusal is recorded."""
    proxy = rigs.proxies["login"]
    door = Door(straight, tls=False, port=proxy.ports["reverse"])
    with Client(proxy, API, door=door) as client:
        client.send(post("/v1/messages?unasked", b"{}", host="127.0.0.1"))
        client.read_until(b"HTTP/1.1 401 ")
    (record,) = done(rigs.store, "unasked")
    assert (401, Verdict.FAILED) == (record.meta.status, record.meta.verdict)


def test_upstream_auth_in_reverse_mode_replaces_the_key(rigs: Rigs) -> None:
    """The API gets the company's password; the record has neither password, and the client's key."""
    proxy = rigs.proxies["login"]
    rigs.h1.script = lambda call: call.answer(call.read_body())
    own = base64.b64encode(LOGIN.encode()).decode()
    request = post(
        "/v1/messages?replaced",
        b"{}",
        host="127.0.0.1",
        headers=[("Authorization", f"Basic {own}")],
    )
    door = Door(straight, tls=False, port=proxy.ports["reverse"])
    with Client(proxy, API, door=door) as client:
        client.send(request)
        client.read_until(b"\r\n\r\n{}")
    (record,) = done(rigs.store, "replaced")
    (call,) = [call for call in rigs.h1.calls if "replaced" in call.path]
    encoded = base64.b64encode(CORPORATE_LOGIN.encode()).decode()
    assert f"Basic {encoded}" == call.header("authorization")
    names = [name.lower() for name, _ in record.request.headers]
    assert b"authorization" not in names
    assert b"x-api-key" in names


# -- a company's proxy ----------------------------------------------------------------------------


def test_the_companys_proxy_gets_its_password_and_the_record_does_not(rigs: Rigs) -> None:
    """`upstream_auth` is said to the company's proxy alone; a listener's own password to nobody."""
    Played(rigs, Route("login", "upstream", ONE, connect_as(LOGIN)), "passwords")
    # Plain HTTP is asked for without a tunnel, with both passwords in its own headers.
    proxy = rigs.proxies["login"]
    rigs.plain.script = lambda call: call.answer(call.read_body())
    own = base64.b64encode(LOGIN.encode())
    request = post(
        "/v1/messages?plain-login",
        b"{}",
        host=f"{MODEL}:{MODEL_PORT}",
        headers=[("Proxy-Authorization", f"Basic {own.decode()}")],
    ).replace(b"POST ", f"POST http://{MODEL}:{MODEL_PORT}".encode(), 1)
    door = Door(straight, tls=False, port=proxy.ports["upstream"])
    with Client(proxy, MODEL, door=door) as client:
        client.send(request)
        client.read_until(b"\r\n\r\n{}")
    done(rigs.store, "plain-login")
    encoded = base64.b64encode(CORPORATE_LOGIN.encode())
    connects: list[bytes] = []
    plain: list[bytes] = []
    for head in rigs.guarded.heads:
        (connects if head.startswith(b"CONNECT") else plain).append(head)
    for heads in (connects, plain):
        assert heads
        assert all(b"Basic " + encoded in head for head in heads)
    seen = [call.head for call in (*rigs.h1.calls, *rigs.plain.calls)]
    assert not any(own in head for head in (*seen, *connects, *plain))
    for secret in (encoded, own):
        assert all(
            secret not in value
            for record in records(rigs.store)
            for _, value in record.request.headers
        )
