"""The one place that knows both mitmproxy's flow and our values. It reads flows, it changes none.

Heads are taken in `requestheaders` and `responseheaders`, never later: mitmproxy drops
`expect` after the first, other addons rewrite what they like. `flow.copy`, `get_state` and
`pretty_url` cost up to a fifth of a whole request, so the fields are read one by one.
"""

import re
from time import monotonic_ns

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.flow import Error
from mitmproxy.http import HTTPFlow, Message, Request, Response
from mitmproxy.proxy.mode_specs import ReverseMode

from addon.tap import Tap
from store.contract import Recording
from store.record import RequestHead, ResponseHead, Transport, Wire, header

ERROR_CAP = 500
"""A line of error is never longer: one row on screen, one cell of the index."""

EARLY_S = 30.0
"""How long a whole answer waits for the rest of its request before it counts as ended."""

_AUTHORITY = re.compile(rb"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?\Z")
"""`host`, `host:port`, `[v6]:port`. What does not match was no name a client could reach."""

_ADDRESS = re.compile(r"[0-9.]+\Z|.*:|localhost\Z")
"""A host that is an address, and no name that says whose API it is."""

_STREAM_ENDED = ("stream reset by client", "stream closed by client")
"""What mitmproxy says of one stream's end over HTTP/2 and HTTP/3, whichever side ended it."""

_UPSTREAM_LEFT = ("closed connection", "connection closed", "connection reset", "server disconnect")
"""In mitmproxy's words for a peer that went away, as against one that failed or talked nonsense."""


class Exchange:
    """One exchange being recorded: where it stands, and the taps on its bodies."""

    __slots__ = (
        "client_id",
        "early_ns",
        "flow",
        "flow_id",
        "headed",
        "lost",
        "recording",
        "refused",
        "request_done",
        "request_stream",
        "request_tap",
        "response_stream",
        "response_tap",
        "started_ns",
        "unseen",
    )

    def __init__(
        self, flow: HTTPFlow, recording: Recording, request_tap: Tap, response_tap: Tap, at: int
    ) -> None:
        self.flow = flow
        self.flow_id = flow.id
        self.client_id = flow.client_conn.id
        self.recording = recording
        self.request_tap = request_tap
        self.response_tap = response_tap
        self.started_ns = at
        self.refused = flow.error is not None
        """mitmproxy found the request invalid and sends it nowhere."""
        self.request_done = False
        self.headed = False
        """The response's head is recorded."""
        self.lost: str | None = None
        """Why what came for an answer is none."""
        self.request_stream: object = None
        self.response_stream: object = None
        """What we put on its messages' `stream`; None: nothing."""
        self.unseen: str | None = None
        """Which of its bodies passed elsewhere than through our taps."""
        self.early_ns: int | None = None
        """When the response was whole although the request was not yet."""

    def now(self) -> int:
        """Milliseconds since the begin."""
        return (monotonic_ns() - self.started_ns) // 1_000_000

    def head(self, response: Response) -> None:
        """Record the response's head, the first time it is seen."""
        if not self.headed:
            self.headed = True
            self.lost = answer_lost(response)
            self.recording.response_head(self.now(), response_head(response))

    def request_passed(self) -> None:
        """Its body is whole: take it if it was buffered."""
        self._passed(self.flow.request, self.request_tap, self.request_stream, "request's")

    def response_passed(self, response: Response) -> None:
        """As request_passed."""
        self._passed(response, self.response_tap, self.response_stream, "answer's")

    def _passed(self, message: Message, tap: Tap, ours: object, whose: str) -> None:
        body = message.raw_content
        if tap.seen:
            return
        if body:
            tap(body)
        elif body is None and message.stream and message.stream is not ours:
            # As with stream_large_bodies, which begins when so much has come, or by another script.
            self.unseen = f"mitmproxy streamed the {whose} body past us; it passed unrecorded."

    def wire(self) -> Wire | None:
        """Both bodies as they have passed until now; None if that is not known for sure."""
        if self.unseen is not None:
            return None
        request, response = self.request_tap.meter.passed(), self.response_tap.meter.passed()
        return Wire(request, response) if request is not None and response is not None else None

    @property
    def overdue(self) -> bool:
        """The answer is whole and the request will not be: mitmproxy has dropped the flow, which
        no hook tells, or it has been waited for for long."""
        early = self.early_ns
        return early is not None and (not self.flow.live or monotonic_ns() - early > EARLY_S * 1e9)

    def idle_s(self) -> float:
        """Seconds since anything of its bodies passed."""
        last_ms = max(self.request_tap.last_ms, self.response_tap.last_ms)
        return (self.now() - last_ms) / 1000


def path_of(request: Request) -> str:
    """Path and query as sent; bytes outside ASCII read as latin-1."""
    return request.data.path.decode("latin-1")


def method_of(request: Request) -> str:
    """As sent: methods are case-sensitive, and mitmproxy's own property is not."""
    return request.data.method.decode("latin-1")


def asked(flow: HTTPFlow) -> tuple[str, int]:
    """The host and port the client asked for: those of `:authority` or `Host`, since mitmproxy's
    own fields are where the connection goes, an address in transparent mode, anything after a
    redirect. A port that is not named is the scheme's.

    In reverse mode the client may know us by our own address only (`keep_host_header`): then the
    upstream's is what it asked for, unless that is a bare address and the client had a name.
    """
    data = flow.request.data
    named = _AUTHORITY.match(data.authority or header(data.headers.fields, b"host") or b"")
    default = 80 if data.scheme == b"http" else 443
    found = data.host, data.port
    if named is not None:
        found = named[1].decode("ascii").strip("[]"), int(named[2]) if named[2] else default
    mode = flow.client_conn.proxy_mode
    if isinstance(mode, ReverseMode) and not (
        named is not None and _ADDRESS.match(mode.address[0]) and not _ADDRESS.match(found[0])
    ):
        return mode.address
    return found


def request_head(flow: HTTPFlow) -> RequestHead:
    """What the client asked."""
    request, data = flow.request, flow.request.data
    host, port = asked(flow)
    return RequestHead(
        method=method_of(request),
        scheme=data.scheme.decode("latin-1"),
        host=host,
        port=port,
        path=path_of(request),
        http_version=data.http_version.decode("latin-1"),
        headers=tuple(data.headers.fields),
    )


def response_head(response: Response) -> ResponseHead:
    """What the upstream answered."""
    data = response.data
    return ResponseHead(
        status=data.status_code,
        reason=data.reason.decode("latin-1"),
        http_version=data.http_version.decode("latin-1"),
        headers=tuple(data.headers.fields),
    )


def answer_lost(response: Response) -> str | None:
    """That mitmproxy took an HTTP/1 upstream's informational response for its answer: it drops the
    real one, and the client waits for ever. HTTP/2's it passes over; 101 is an answer."""
    status = response.data.status_code
    if not 100 <= status < 200 or status == 101:
        return None
    return f"mitmproxy took the informational response {status} for the answer, which is lost"


def ending(flow: HTTPFlow, refused: bool = False) -> Transport:
    """Who ended an exchange that has `flow.error`; asked in the `error` hook.

    The message alone does not tell (`stream reset by client` is said of servers too), so the
    side is read from what mitmproxy had closed by then: the connection that failed, and after
    a client's also the upstream's, never the other way round.
    """
    message = flow.error.msg if flow.error is not None else ""
    client, server = flow.client_conn, flow.server_conn
    if refused or message == Error.KILLED_MESSAGE or "body_size_limit" in message:
        return Transport.KILLED
    if client.state is not ConnectionState.OPEN:
        return Transport.CLIENT_CLOSED
    if message.startswith(_STREAM_ENDED):
        # Both connections stay open. Between two that have streams only the code is left to go
        # by: clients cancel, servers give a reason.
        from_client = _has_streams(client) and (not _has_streams(server) or "CANCEL" in message)
        return Transport.CLIENT_CLOSED if from_client else Transport.UPSTREAM_ERROR
    if _is_h3(server) and server.state is not ConnectionState.OPEN:
        # The message is whatever reason the server gave.
        return Transport.UPSTREAM_CLOSED
    lowered = message.lower()
    if any(words in lowered for words in _UPSTREAM_LEFT):
        return Transport.UPSTREAM_CLOSED
    return Transport.UPSTREAM_ERROR


def error_told(flow: HTTPFlow, transport: Transport) -> str:
    """mitmproxy's words, but for those that accuse the client of what the upstream did, or are
    no more than the bare code with which a QUIC connection was closed."""
    message = flow.error.msg if flow.error is not None else ""
    if message.startswith(_STREAM_ENDED):
        if transport is Transport.UPSTREAM_ERROR:
            return message.replace("by client", "by upstream", 1)
        return message
    closed = {
        Transport.CLIENT_CLOSED: flow.client_conn,
        Transport.UPSTREAM_CLOSED: flow.server_conn,
    }.get(transport)
    if closed is not None and _is_h3(closed):
        return f"HTTP/3 connection closed: {message}"
    return message


def _is_h3(side: Connection) -> bool:
    return side.alpn is not None and side.alpn.startswith(b"h3")


def _has_streams(side: Connection) -> bool:
    return side.alpn == b"h2" or _is_h3(side)


def error_line(text: str) -> str:
    """One line: white space collapsed, at most ERROR_CAP characters, the cut shown by `…`."""
    line = " ".join(text.split())
    return line if len(line) <= ERROR_CAP else line[: ERROR_CAP - 1] + "…"
