"""HTTP/3 for the harness: an upstream whose script gets one stream at a time, and a raw client.

Both stand on aioquic, which mitmproxy brings along. Each has an event loop on a thread of its own;
what tests call is synchronous, as everywhere else here. Certificates are checked on both legs.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self

import trustme
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.h3.connection import ErrorCode as H3Error
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamReset
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.e2e.harness import DEADLINE_S, HOSTS, KEY, Gone, Proxy

type Fields = list[tuple[bytes, bytes]]
type StreamScript = Callable[["H3Stream"], None]

IDLE_S = 60.0
"""After so long without a datagram a QUIC connection is lost; aioquic's own default."""


class Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns; from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def call(self, act: Callable[[], None]) -> None:
        """Have it done there, and wait for it."""

        async def work() -> None:
            act()

        self.run(work())

    def close(self) -> None:
        """Stop it; what is still scheduled never happens."""
        # One turn more, in which closed transports let go of their sockets.
        self.call(lambda: None)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


class Peer(QuicConnectionProtocol):
    """One end of a QUIC connection that speaks HTTP/3; hands every event on."""

    def __init__(
        self, quic: QuicConnection, heard: Callable[["Peer", Any], None], **keywords: Any
    ) -> None:
        super().__init__(quic, **keywords)
        self.quic = quic
        self.h3 = H3Connection(quic)
        self._heard = heard
        self._vanished = False

    def quic_event_received(self, event: QuicEvent) -> None:
        """From the connection."""
        if isinstance(event, (StreamReset, ConnectionTerminated)):
            self._heard(self, event)
        for each in self.h3.handle_event(event):
            self._heard(self, each)

    def vanish(self) -> None:
        """Be gone without a word, as of a machine that lost its network."""
        self._vanished = True

    def transmit(self) -> None:
        """What is due goes out."""
        if not self._vanished:
            super().transmit()

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """From the socket."""
        if not self._vanished:
            super().datagram_received(data, addr)


class H3Stream:
    """One request as the upstream sees it, and what it answers."""

    def __init__(self, loop: Loop, peer: Peer, stream_id: int, fields: Fields) -> None:
        self._loop = loop
        self._peer = peer
        self.id = stream_id
        self.fields = fields
        self.body = b""
        self.incoming: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        """Pieces of the body, then b""; None: the stream or its connection is gone."""

    # what came

    def read_some(self) -> bytes:
        """The next piece of the body; b"" at its end."""
        data = self.incoming.get(timeout=DEADLINE_S)
        if data is None:
            raise Gone
        self.body += data
        return data

    def read_body(self) -> bytes:
        """The whole body."""
        while self.read_some():
            pass
        return self.body

    def wait_closed(self) -> None:
        """Until the proxy has given the stream up."""
        with contextlib.suppress(Gone):
            while True:
                self.read_some()

    # what goes

    def start(self, status: int = 200, *, end: bool = False) -> None:
        """The head of an event stream; `end`: and nothing more."""
        fields = [(b":status", b"%d" % status), (b"content-type", b"text/event-stream")]
        self._do(lambda: self._peer.h3.send_headers(self.id, fields, end_stream=end))

    def chunk(self, data: bytes) -> None:
        """One DATA frame."""
        self._do(lambda: self._peer.h3.send_data(self.id, data, end_stream=False))

    def last(self, data: bytes) -> None:
        """One DATA frame and the end of the stream at once."""
        self._do(lambda: self._peer.h3.send_data(self.id, data, end_stream=True))

    def finish(self) -> None:
        """The end of the stream."""
        self._do(lambda: self._peer.h3.send_data(self.id, b"", end_stream=True))

    def trailers(self, fields: Fields) -> None:
        """Fields after the body, and the end of the stream."""
        self._do(lambda: self._peer.h3.send_headers(self.id, fields, end_stream=True))

    def reset(self) -> None:
        """RESET_STREAM, as of a crashed handler."""
        self._do(lambda: self._peer.quic.reset_stream(self.id, H3Error.H3_INTERNAL_ERROR))

    def close_connection(self) -> None:
        """CONNECTION_CLOSE without an error, as of a server that wants to restart."""
        self._do(lambda: self._peer.close(H3Error.H3_NO_ERROR))

    def vanish(self) -> None:
        """The whole connection goes silent."""
        self._loop.call(self._peer.vanish)

    def _do(self, act: Callable[[], None]) -> None:
        def work() -> None:
            act()
            self._peer.transmit()

        self._loop.call(work)


class H3Upstream:
    """An HTTP/3 server on loopback under the names of HOSTS; each request is given to `streams`, on a
    thread of its own. What that raises is raised at the end, but for Gone."""

    def __init__(self, streams: StreamScript, *, ca: trustme.CA | None = None) -> None:
        self.streams = streams
        self.ca = ca or trustme.CA()
        self.errors: list[BaseException] = []
        self._open: dict[tuple[Peer, int], H3Stream] = {}
        self._threads: list[threading.Thread] = []
        self._configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        issued = self.ca.issue_cert(*HOSTS)
        self._configuration.certificate, *self._configuration.certificate_chain = (
            x509.load_pem_x509_certificate(pem.bytes()) for pem in issued.cert_chain_pems
        )
        self._configuration.private_key = load_pem_private_key(issued.private_key_pem.bytes(), None)

    def __enter__(self) -> Self:
        self._loop = Loop()

        async def listen() -> tuple[asyncio.DatagramTransport, QuicServer]:
            return await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: QuicServer(
                    configuration=self._configuration,
                    create_protocol=lambda quic, **keywords: Peer(quic, self._heard, **keywords),
                ),
                local_addr=("127.0.0.1", 0),
            )

        self._transport, self._server = self._loop.run(listen())
        self.port: int = self._transport.get_extra_info("sockname")[1]
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._loop.call(self._server.close)
        for stream in list(self._open.values()):
            stream.incoming.put(None)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._loop.close()
        if error is None and self.errors:
            raise self.errors[0]

    @property
    def idle_s(self) -> float:
        """After so long without a datagram the next connection is lost."""
        return self._configuration.idle_timeout

    @idle_s.setter
    def idle_s(self, seconds: float) -> None:
        self._configuration.idle_timeout = seconds

    def _heard(self, peer: Peer, event: Any) -> None:
        if isinstance(event, HeadersReceived):
            stream = H3Stream(self._loop, peer, event.stream_id, event.headers)
            self._open[peer, event.stream_id] = stream
            thread = threading.Thread(target=self._play, args=(stream,), daemon=True)
            self._threads.append(thread)
            thread.start()
            if event.stream_ended:
                stream.incoming.put(b"")
        elif isinstance(event, DataReceived):
            stream = self._open[peer, event.stream_id]
            if event.data:
                stream.incoming.put(event.data)
            if event.stream_ended:
                stream.incoming.put(b"")
        elif isinstance(event, StreamReset):
            gone = self._open.get((peer, event.stream_id))
            if gone is not None:
                gone.incoming.put(None)
        elif isinstance(event, ConnectionTerminated):
            for (each, _), stream in list(self._open.items()):
                if each is peer:
                    stream.incoming.put(None)

    def _play(self, stream: H3Stream) -> None:
        try:
            self.streams(stream)
        except Gone:
            return
        except BaseException as error:
            self.errors.append(error)


class H3Client:
    """A raw HTTP/3 connection to a proxy in reverse mode; `host` is the name it wants."""

    def __init__(
        self, proxy: Proxy, host: str, *, idle_s: float = IDLE_S, port: int | None = None
    ) -> None:
        self._host = host
        self._news = threading.Condition()
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: dict[int, str] = {}
        """`end`, `reset` or `closed` of each stream that is over."""
        self.fields: dict[int, tuple[tuple[bytes, bytes], ...]] = {}
        """The headers of each request, without the pseudo-headers."""
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=["h3"],
            server_name=host,
            cafile=str(proxy.ca_file),
            idle_timeout=idle_s,
        )

        async def connect() -> tuple[asyncio.DatagramTransport, Peer]:
            transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Peer(QuicConnection(configuration=configuration), self._heard),
                local_addr=("127.0.0.1", 0),
            )
            try:
                peer.connect(("127.0.0.1", port or proxy.port))
                await peer.wait_connected()
            except BaseException:
                transport.abort()
                raise
            return transport, peer

        self._loop = Loop()
        try:
            self._transport, self._peer = self._loop.run(connect())
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        # Nothing of it may send any more once its socket is gone.
        self.vanish()
        self._loop.call(self._transport.abort)
        self._loop.close()

    def post(self, path: str, body: bytes, key: str = KEY, *, end: bool = True) -> int:
        """Send a request, whole unless not to `end`; its stream."""
        pseudo = [
            (b":method", b"POST"), (b":scheme", b"https"),
            (b":authority", self._host.encode()), (b":path", path.encode()),
        ]  # fmt: skip
        fields = [(b"x-api-key", key.encode()), (b"content-type", b"application/json")]
        stream_id: int = self._peer.quic.get_next_available_stream_id()
        self.bodies[stream_id] = b""
        self.fields[stream_id] = tuple(fields)

        def act() -> None:
            self._peer.h3.send_headers(stream_id, [*pseudo, *fields])
            self._peer.h3.send_data(stream_id, body, end_stream=end)

        self._do(act)
        return stream_id

    def more(self, stream_id: int, body: bytes) -> None:
        """The rest of a request, and its end."""
        self._do(lambda: self._peer.h3.send_data(stream_id, body, end_stream=True))

    def stop(self, stream_id: int) -> None:
        """STOP_SENDING: it has enough of the response (RFC 9114, 4.1.1)."""
        self._do(lambda: self._peer.quic.stop_stream(stream_id, H3Error.H3_REQUEST_CANCELLED))

    def abort(self, stream_id: int) -> None:
        """RESET_STREAM: the rest of the request will not come."""
        self._do(lambda: self._peer.quic.reset_stream(stream_id, H3Error.H3_REQUEST_CANCELLED))

    def read_stream(self, stream_id: int, mark: bytes | None = None) -> str:
        """Until that stream has `mark`, or is over; how it is over, or ""."""

        def there() -> bool:
            return stream_id in self.ended or (mark is not None and mark in self.bodies[stream_id])

        with self._news:
            assert self._news.wait_for(there, DEADLINE_S), self.bodies
            return self.ended.get(stream_id, "")

    def close(self) -> None:
        """CONNECTION_CLOSE."""
        self._loop.call(self._peer.close)

    def vanish(self) -> None:
        """Be gone without a word."""
        self._loop.call(self._peer.vanish)

    def _do(self, act: Callable[[], None]) -> None:
        def work() -> None:
            act()
            self._peer.transmit()

        self._loop.call(work)

    def _heard(self, peer: Peer, event: Any) -> None:
        with self._news:
            if isinstance(event, (HeadersReceived, DataReceived)):
                if isinstance(event, DataReceived):
                    self.bodies[event.stream_id] += event.data
                elif b":status" in (fields := dict(event.headers)):
                    self.statuses[event.stream_id] = int(fields[b":status"])
                if event.stream_ended:
                    self.ended.setdefault(event.stream_id, "end")
            elif isinstance(event, StreamReset):
                self.ended.setdefault(event.stream_id, "reset")
            elif isinstance(event, ConnectionTerminated):
                for stream_id in self.bodies:
                    self.ended.setdefault(stream_id, "closed")
            self._news.notify_all()
