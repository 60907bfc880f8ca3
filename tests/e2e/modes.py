"""Proxies in mitmproxy's modes, several at once, and one exchange that is played through each of them alike."""

import contextlib
import json
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import trustme

from store.record import Record
from tests.e2e.corporate import Corporate
from tests.e2e.harness import (
    DEADLINE_S,
    REDIRECT,
    Call,
    Client,
    Proxy,
    Upstream,
    done,
    new_store,
    post,
    sse,
)
from tests.e2e.http2 import H2Client, H2Upstream, Stream
from tests.e2e.http3 import H3Client, H3Stream, H3Upstream
from tests.e2e.moves_http1 import ASKED, FIRST, LAST, PREFIX, SSE
from tests.e2e.upstream import Gone
from tests.e2e.ways import Door, Way, connect, connect_as, socks5, socks5_as, straight

HOSTS_SCRIPT = Path(__file__).with_name("hosts.py")

API = "api.anthropic.com"
API_H2 = "api.openai.com"
MODEL = "models.test"
"""A local model, without TLS."""
NOBODY = "refused.test"
MODEL_PORT = 11434

LOGIN = "user:proxy-password-0000"
"""What the listening side asks for, where it asks."""
CORPORATE_LOGIN = "staff:corporate-password-0000"


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class ModesProxy(Proxy):
    """A mitmdump with our addon that listens in several modes, and asks `hosts` where names lead."""

    def __init__(
        self,
        folder: Path,
        upstream: Upstream,
        hosts: Mapping[str, int],
        modes: Mapping[str, str],
        args: Sequence[str] = (),
    ) -> None:
        """`modes`: mitmproxy's specifications, without `@port`, by names of one's own."""
        super().__init__(folder.parent / "store", folder, upstream, args)
        self.ports = {name: free_port() for name in modes}
        self.command = [
            str(HOSTS_SCRIPT) if word == str(REDIRECT) else word for word in self.command
        ]
        for name, spec in modes.items():
            self.command += ["--mode", f"{spec}@{self.ports[name]}"]
        self._environment["FLOWTAP_TEST_HOSTS"] = json.dumps(hosts)


class Rigs:
    """All upstreams, and three proxies on one store: as they come, with keep_host_header, with logins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = new_store(folder / "store")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            ca = trustme.CA()
            self.h1 = stack.enter_context(Upstream(sse(), ca=ca))
            self.h2 = stack.enter_context(H2Upstream(lambda stream: None, ca=ca))
            self.h3 = stack.enter_context(H3Upstream(lambda stream: None, ca=ca))
            self.plain = stack.enter_context(Upstream(sse(), tls=False))
            tcp = {
                f"{API}:443": self.h1.port,
                f"{API_H2}:443": self.h2.port,
                f"{MODEL}:{MODEL_PORT}": self.plain.port,
                f"{NOBODY}:443": free_port(),
            }
            hosts = {f"tcp {name}": port for name, port in tcp.items()}
            hosts[f"udp {API}:443"] = self.h3.port
            self.corporate = stack.enter_context(Corporate(tcp))
            self.guarded = stack.enter_context(Corporate(tcp, CORPORATE_LOGIN))
            reverse = {
                "reverse": f"reverse:https://{API}",
                "reverse-h2": f"reverse:https://{API_H2}",
                "reverse-plain": f"reverse:http://{MODEL}:{MODEL_PORT}",
            }

            def proxy(name: str, modes: dict[str, str], *args: str) -> ModesProxy:
                return stack.enter_context(
                    ModesProxy(self.folder / name, self.h1, hosts, modes, args)
                )

            self.proxies = {
                "as-is": proxy(
                    "as-is",
                    {
                        "regular": "regular",
                        "socks5": "socks5",
                        "upstream": f"upstream:http://127.0.0.1:{self.corporate.port}",
                        **reverse,
                    },
                ),
                "keeping": proxy(
                    "keeping",
                    {**reverse, "reverse-address": f"reverse:https://127.0.0.1:{self.h1.port}"},
                    *("--set", "keep_host_header=true"),
                ),
                "login": proxy(
                    "login",
                    {
                        "regular": "regular",
                        "socks5": "socks5",
                        "upstream": f"upstream:http://127.0.0.1:{self.guarded.port}",
                        "reverse": f"reverse:https://{API}",
                    },
                    *("--proxyauth", LOGIN),
                    *("--set", f"upstream_auth={CORPORATE_LOGIN}"),
                ),
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Route:
    """One way for one exchange, and what the record says that is this way's own."""

    rig: str
    mode: str
    version: str
    """HTTP's, as the record has it."""
    way: Way = straight
    tls: bool = True
    """Between client and proxy, once `way` is through."""
    scheme: str = "https"
    host: str = API
    port: int = 443
    absolute: bool = False
    """The request line names the host too, as proxies are asked for plain HTTP."""
    named: str | None = None
    """What the client takes the host's name for; None: its own name."""

    def __str__(self) -> str:
        door = "tls" if self.tls else "plain"
        return "-".join((self.rig, self.mode, door, self.scheme, self.version.replace("/", "")))


ONE, TWO, THREE = "HTTP/1.1", "HTTP/2.0", "HTTP/3"

ROUTES = [
    Route("as-is", "regular", ONE, connect),
    Route("as-is", "regular", TWO, connect, host=API_H2),
    Route("as-is", "regular", ONE, tls=False, scheme="http", host=MODEL, port=MODEL_PORT,
          absolute=True),
    Route("login", "regular", ONE, connect_as(LOGIN)),
    # *_BASE_URL=http://127.0.0.1:…: the client speaks plain HTTP, and takes us for the API.
    Route("as-is", "reverse", ONE, tls=False, named="127.0.0.1"),
    Route("as-is", "reverse-plain", ONE, tls=False, scheme="http", host=MODEL, port=MODEL_PORT,
          named="127.0.0.1"),
    Route("keeping", "reverse", ONE, tls=False, named="127.0.0.1"),
    Route("keeping", "reverse-plain", ONE, tls=False, scheme="http", host=MODEL, port=MODEL_PORT,
          named="localhost"),
    # *_BASE_URL=https://…, or a name that leads to us.
    Route("as-is", "reverse", ONE),
    Route("as-is", "reverse-h2", TWO, host=API_H2),
    Route("as-is", "reverse", THREE),
    Route("keeping", "reverse", ONE),
    Route("keeping", "reverse-h2", TWO, host=API_H2),
    # A hosts file leads the API's name to us, so that we go by its address.
    Route("keeping", "reverse-address", ONE),
    Route("keeping", "reverse", THREE),
    Route("as-is", "socks5", ONE, socks5),
    Route("as-is", "socks5", TWO, socks5, host=API_H2),
    Route("as-is", "socks5", ONE, socks5, tls=False, scheme="http", host=MODEL, port=MODEL_PORT),
    Route("login", "socks5", ONE, socks5_as(LOGIN)),
    Route("as-is", "upstream", ONE, connect),
    Route("as-is", "upstream", TWO, connect, host=API_H2),
    Route("as-is", "upstream", ONE, tls=False, scheme="http", host=MODEL, port=MODEL_PORT,
          absolute=True),
    Route("login", "upstream", ONE, connect_as(LOGIN)),
]  # fmt: skip


class Played:
    """The exchange: half a request, and the rest once the upstream has that half; an event, and the
    last one once the client has the first. Whoever held anything back would stop it for ever."""

    def __init__(self, rigs: Rigs, route: Route, case: str = "") -> None:
        """`case` where a route is taken more than once."""
        self.proxy = rigs.proxies[route.rig]
        self.path = f"/v1/messages?route={route}&case={case}&"
        self.sent: tuple[tuple[bytes, bytes], ...] = ()
        """The request's headers as the client has them; of HTTP/2 and 3 without the pseudo-headers."""
        self._half_there = threading.Event()
        self._event_there = threading.Event()
        rigs.h1.script = rigs.plain.script = self._answer
        rigs.h2.early = self._answer_stream
        rigs.h3.streams = self._answer_http3
        if route.version == ONE:
            self._http1(route)
        else:
            self._streams(route)
        (self.record,) = done(rigs.store, self.path)

    # -- upstream: each waits for the client where that can be seen ---------------------------

    def _answer(self, call: Call) -> None:
        while PREFIX not in call.body:
            if not (data := call.read_some()):
                raise Gone
            call.body += data
        self._half_there.set()
        while ASKED not in call.body:
            call.body += call.read_some()
        call.start(headers=SSE)
        call.chunk(FIRST)
        self._wait(self._event_there)
        call.chunk(LAST)
        call.finish()

    def _answer_stream(self, stream: Stream) -> None:
        if stream.body == PREFIX:
            self._half_there.set()
        if stream.body == ASKED:
            stream.start()
            stream.chunk(FIRST)
            self._wait(self._event_there)
            stream.last(LAST)

    def _answer_http3(self, stream: H3Stream) -> None:
        while PREFIX not in stream.body:
            stream.read_some()
        self._half_there.set()
        stream.read_body()
        stream.start()
        stream.chunk(FIRST)
        self._wait(self._event_there)
        stream.last(LAST)

    def _wait(self, event: threading.Event) -> None:
        assert event.wait(DEADLINE_S)

    # -- client -------------------------------------------------------------------------------

    def _http1(self, route: Route) -> None:
        with connected(self.proxy, route) as client:
            request = asking(self.proxy, route, self.path, PREFIX, len(ASKED))
            self.sent = fields_of(request)
            client.send(request)
            self._wait(self._half_there)
            client.send(ASKED[len(PREFIX) :])
            client.read_until(FIRST)
            self._event_there.set()
            client.read_until(LAST + b"\r\n0\r\n\r\n")

    def _streams(self, route: Route) -> None:
        with (
            H2Client(self.proxy, route.host, door=door_of(self.proxy, route))
            if route.version == TWO
            else H3Client(self.proxy, route.host, port=self.proxy.ports[route.mode])
        ) as client:
            stream = client.post(self.path, PREFIX, end=False)
            self.sent = client.fields[stream]
            self._wait(self._half_there)
            client.more(stream, ASKED[len(PREFIX) :])
            client.read_stream(stream, FIRST)
            self._event_there.set()
            assert "end" == client.read_stream(stream)
            assert FIRST + LAST == client.bodies[stream]


def door_of(proxy: ModesProxy, route: Route) -> Door:
    """Where its clients come in."""
    return Door(route.way, route.tls, proxy.ports[route.mode])


def connected(proxy: ModesProxy, route: Route) -> Client:
    """A connection for HTTP/1.1, all the way."""
    client = Client(proxy, route.host, door=door_of(proxy, route), port=route.port)
    assert 200 == client.connect_status
    return client


def asking(proxy: ModesProxy, route: Route, path: str, body: bytes, length: int) -> bytes:
    """A request of HTTP/1.1 as that route's clients write it."""
    named = route.host
    if route.named is not None:
        named = f"{route.named}:{proxy.ports[route.mode]}"
    elif route.port not in (80, 443):
        named = f"{route.host}:{route.port}"
    request = post(path, body, host=named, length=length)
    if route.absolute:
        request = request.replace(b"POST ", f"POST http://{named}".encode(), 1)
    return request


def fields_of(request: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a raw request."""
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return tuple((name, value.strip()) for name, _, value in (x.partition(b":") for x in lines))


def told(record: Record) -> dict[str, object]:
    """All that a record says of an exchange but for its ids and its times."""
    meta, request, response = record.meta, record.request, record.response
    assert response is not None
    assert (meta.method, meta.scheme, meta.host, meta.port, meta.path) == (
        request.method, request.scheme, request.host, request.port, request.path,
    )  # fmt: skip
    assert meta.status == response.status
    return {
        "asked": (request.method, request.scheme, request.host, request.port, request.path),
        "versions": (request.http_version, response.http_version),
        "request headers": request.headers,
        "response headers": response.headers,
        "request": (record.request_body.data, [n for _, n in record.request_body.arrivals]),
        "response": (record.response_body.data, [n for _, n in record.response_body.arrivals]),
        "counted": (meta.request_bytes, meta.response_bytes, meta.lost_bytes),
        "ended": (meta.state, meta.status, meta.transport, meta.verdict, meta.error),
        "kind": (meta.protocol, meta.model, meta.content_type, meta.streamed),
        "tokens": (meta.input_tokens, meta.output_tokens),
    }
