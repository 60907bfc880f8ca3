"""HTTP/2 for the harness: an upstream whose script gets one stream at a time, and a raw client."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import trustme

from tests.e2e.harness import KEY, Client, Proxy, Upstream, sse
from tests.e2e.ways import CONNECT, Door

type StreamScript = Callable[["Stream"], None]


class Wire:
    """A socket and its HTTP/2 state, used by several threads."""

    def __init__(self, sock: socket.socket, *, client_side: bool) -> None:
        self.sock = sock
        config = h2.config.H2Configuration(client_side=client_side, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self._lock = threading.Lock()
        with self.sending():
            self.h2.initiate_connection()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """What is done to `h2` inside goes out."""
        with self._lock:
            yield
            self.sock.sendall(self.h2.data_to_send())

    def receive(self) -> list[h2.events.Event]:
        """The next events; none at the connection's end."""
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                return []
            if not data:
                return []
            with self.sending():
                events = self.h2.receive_data(data)
                for event in events:
                    if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
            if events:
                return list(events)


class Stream:
    """One request as the upstream sees it."""

    def __init__(self, wire: Wire, stream_id: int, fields: list[tuple[str, str]]) -> None:
        self._wire = wire
        self.id = stream_id
        self.fields = fields
        self.body = b""

    def start(
        self, status: int = 200, *, end: bool = False, content_type: str = "text/event-stream"
    ) -> None:
        """The head of an event stream; `end`: and nothing more."""
        fields = [(":status", str(status)), ("content-type", content_type)]
        with self._wire.sending():
            self._wire.h2.send_headers(self.id, fields, end_stream=end)

    def inform(self, status: int) -> None:
        """An informational response, before the real one."""
        with self._wire.sending():
            self._wire.h2.send_headers(self.id, [(":status", str(status))])

    def trailers(self, fields: list[tuple[str, str]]) -> None:
        """Fields after the body, and END_STREAM."""
        with self._wire.sending():
            self._wire.h2.send_headers(self.id, fields, end_stream=True)

    def chunk(self, data: bytes) -> None:
        """One DATA frame; an empty one is sent too, and ends nothing."""
        with self._wire.sending():
            self._wire.h2.send_data(self.id, data)

    def last(self, data: bytes) -> None:
        """One DATA frame with END_STREAM."""
        with self._wire.sending():
            self._wire.h2.send_data(self.id, data, end_stream=True)

    def finish(self) -> None:
        """END_STREAM."""
        with self._wire.sending():
            self._wire.h2.end_stream(self.id)

    def reset(self) -> None:
        """RST_STREAM, as of a crashed handler."""
        with self._wire.sending():
            self._wire.h2.reset_stream(self.id, h2.errors.ErrorCodes.INTERNAL_ERROR)

    def cut(self) -> None:
        """FIN of the whole connection, without a word."""
        self._wire.sock.shutdown(socket.SHUT_RDWR)

    def cancel(self) -> None:
        """RST_STREAM with the code that clients use."""
        with self._wire.sending():
            self._wire.h2.reset_stream(self.id, h2.errors.ErrorCodes.CANCEL)

    def go_away(self) -> None:
        """GOAWAY without an error: a server that wants to restart."""
        with self._wire.sending():
            self._wire.h2.close_connection()

    def go_away_later(self) -> None:
        """GOAWAY that lets this stream finish (RFC 9113, 6.8): h2 itself would send no more."""
        with self._wire.sending():
            self._wire.sock.sendall(struct.pack(">3sBBLLL", b"\0\0\x08", 7, 0, 0, self.id, 0))


class H2Upstream(Upstream):
    """An upstream that speaks HTTP/2; `streams` is called when a request is whole."""

    def __init__(self, streams: StreamScript, *, ca: trustme.CA | None = None) -> None:
        super().__init__(sse(), ca=ca)
        self.streams = streams
        self.early: StreamScript | None = None
        """Called at each DATA frame of a request instead, when it is set."""
        self.seen: list[Stream] = []
        assert self._context is not None
        self._context.set_alpn_protocols(["h2"])

    def _talk(self, sock: socket.socket) -> None:
        wire = Wire(sock, client_side=False)
        open_streams: dict[int, Stream] = {}
        while events := wire.receive():
            for event in events:
                if isinstance(event, h2.events.RequestReceived):
                    fields = [(str(name), str(value)) for name, value in event.headers or []]
                    assert event.stream_id is not None
                    open_streams[event.stream_id] = Stream(wire, event.stream_id, fields)
                elif isinstance(event, h2.events.DataReceived):
                    stream = open_streams[event.stream_id]
                    stream.body += event.data
                    if self.early is not None and event.data:
                        self.early(stream)
                elif isinstance(event, h2.events.StreamEnded):
                    stream = open_streams[event.stream_id]
                    self.seen.append(stream)
                    if self.early is None:
                        self.streams(stream)


class H2Client(Client):
    """A raw HTTP/2 connection through the proxy."""

    def __init__(self, proxy: Proxy, host: str, *, door: Door = CONNECT) -> None:
        super().__init__(proxy, host, alpn=("h2",), door=door)
        assert isinstance(self._sock, ssl.SSLSocket)
        assert "h2" == self._sock.selected_alpn_protocol()
        self._host = host
        self._wire = Wire(self._sock, client_side=True)
        self.bodies: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}
        """`end`, `reset` or `closed` of each stream that is over."""
        self.fields: dict[int, tuple[tuple[bytes, bytes], ...]] = {}
        """The headers of each request, without the pseudo-headers."""

    def __enter__(self) -> Self:
        return self

    def post(self, path: str, body: bytes, key: str = KEY, *, end: bool = True) -> int:
        """Send a request, whole unless not to `end`; its stream."""
        fields = [
            (":method", "POST"), (":scheme", "https"), (":authority", self._host),
            (":path", path), ("x-api-key", key), ("cookie", "a=1"), ("cookie", "b=2"),
        ]  # fmt: skip
        stream_id: int = self._wire.h2.get_next_available_stream_id()
        self.bodies[stream_id] = b""
        self.fields[stream_id] = tuple((k.encode(), v.encode()) for k, v in fields[4:])
        with self._wire.sending():
            self._wire.h2.send_headers(stream_id, fields)
            self._wire.h2.send_data(stream_id, body, end_stream=end)
        return stream_id

    def more(self, stream_id: int, body: bytes) -> None:
        """The rest of a request, and its end."""
        with self._wire.sending():
            self._wire.h2.send_data(stream_id, body, end_stream=True)

    def cancel(self, stream_id: int) -> None:
        """RST_STREAM(CANCEL), as clients do that have enough."""
        with self._wire.sending():
            self._wire.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)

    def read_stream(self, stream_id: int, mark: bytes | None = None) -> str:
        """Until that stream has `mark`, or is over; how it is over, or ""."""
        while stream_id not in self.ended:
            if mark is not None and mark in self.bodies[stream_id]:
                return ""
            events = self._wire.receive()
            if not events:
                self.ended.setdefault(stream_id, "closed")
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended[event.stream_id] = "end"
                elif isinstance(event, h2.events.StreamReset):
                    self.ended[event.stream_id] = "reset"
        return self.ended[stream_id]
