"""The upstream of the end-to-end tests: a TLS server on loopback that plays scripts, byte by byte."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import trustme

DEADLINE_S = 30.0
"""For anything that must happen; a test that needs it all has failed."""

HOSTS = ("api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com", "127.0.0.1")
"""The names its certificate is for."""


class Gone(Exception):
    """The other side closed in mid-message."""


class Call:
    """One request as the upstream sees it, and what it answers. HTTP/1.1, byte by byte."""

    def __init__(self, sock: socket.socket, buffered: bytes) -> None:
        self._sock = sock
        self._buffer = buffered
        self.head = b""
        """Request line and headers as they came, with the blank line."""
        self.body = b""
        """What has been read of the body, without chunk framing."""
        self.closed = False

    # what came

    def read_head(self) -> bool:
        """Read the head; False if the client has no further request."""
        while b"\r\n\r\n" not in self._buffer:
            try:
                data = self._sock.recv(65536)
            except OSError:
                return False
            if not data:
                return False
            self._buffer += data
        self.head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.head += b"\r\n\r\n"
        return True

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        wanted = name.lower().encode()
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == wanted:
                return value.strip().decode("latin-1")
        return None

    def read_some(self) -> bytes:
        """The next raw bytes of the body, framing and all; b"" at the client's end."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return self._sock.recv(65536)

    def read_body(self) -> bytes:
        """The whole body, of either framing."""
        if "chunked" in (self.header("transfer-encoding") or ""):
            while size := int(self._line(), 16):
                self.body += self._exactly(size)
                self._exactly(2)
            self._exactly(2)
        else:
            self.body += self._exactly(int(self.header("content-length") or 0) - len(self.body))
        return self.body

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _more(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise Gone
        self._buffer += data

    def rest(self) -> bytes:
        """What was read beyond this request."""
        return self._buffer

    # what goes

    def send(self, data: bytes) -> None:
        """Raw bytes."""
        self._sock.sendall(data)

    def start(self, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> None:
        """A head for a chunked body."""
        self.send(head(status, [*headers, ("transfer-encoding", "chunked")]))

    def chunk(self, data: bytes) -> None:
        """One chunk of a chunked body."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def finish(self) -> None:
        """The end of a chunked body."""
        self.send(b"0\r\n\r\n")

    def answer(
        self, body: bytes, status: int = 200, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole response with a content-length."""
        self.send(head(status, [*headers, ("content-length", str(len(body)))]) + body)

    def cut(self) -> None:
        """Close without a word more: FIN, no TLS goodbye."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def reset(self) -> None:
        """RST, as of a crashed process."""
        self.closed = True
        # l_onoff=1, l_linger=0: close() discards and resets.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def wait_closed(self) -> None:
        """Until the proxy has closed its side."""
        with contextlib.suppress(OSError):
            while self._sock.recv(65536):
                pass


type Script = Callable[[Call], None]


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """A response's head."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Test\r\n{lines}\r\n".encode("latin-1")


def sse(*events: bytes, pause: Callable[[int], None] = lambda _: None) -> Script:
    """A script that answers with these chunks as an event stream, `pause(n)` before the n-th."""

    def script(call: Call) -> None:
        call.read_body()
        call.start(headers=[("content-type", "text/event-stream; charset=utf-8")])
        for n, event in enumerate(events):
            pause(n)
            call.chunk(event)
        call.finish()

    return script


class Upstream:
    """A TLS server on loopback under the names of HOSTS; each request is given to `script`.

    `script` may be replaced while it runs. What a script raises is raised at the end, except
    OSError and Gone: a proxy that hangs up is often what a test wants.
    """

    def __init__(
        self,
        script: Script,
        *,
        tls: bool = True,
        ca: trustme.CA | None = None,
        alpn: Sequence[str] = ("http/1.1",),
    ) -> None:
        """`ca` where several upstreams are to be trusted alike; else each has its own."""
        self.script = script
        self.calls: list[Call] = []
        self.errors: list[BaseException] = []
        self.ca = ca or trustme.CA()
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ca.issue_cert(*HOSTS).configure_cert(self._context)
            self._context.set_alpn_protocols(list(alpn))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        if error is None and self.errors:
            raise self.errors[0]

    def refuse(self) -> None:
        """Stop listening: the next connection is refused."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _spawn(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(sock)
            self._spawn(self._serve, sock)

    def _talk(self, sock: socket.socket) -> None:
        buffered = b""
        while True:
            call = Call(sock, buffered)
            if not call.read_head():
                return
            self.calls.append(call)
            self.script(call)
            if call.closed:
                return
            buffered = call.rest()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                self._open.discard(sock)
                with contextlib.closing(sock):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock = self._context.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            self._talk(sock)
        except (OSError, Gone):
            return
        except BaseException as error:
            if not self._closing:
                self.errors.append(error)
        finally:
            self._open.discard(sock)
            sock.close()
