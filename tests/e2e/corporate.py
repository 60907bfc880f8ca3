"""The proxy of a company, as `--mode upstream:` has it before it: CONNECT, and plain requests in absolute form."""

import base64
import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Self

from tests.e2e.upstream import DEADLINE_S, Call, Gone


class Corporate:
    """A proxy on loopback that leads each `host:port` of `ports` to a port of the test's own."""

    def __init__(self, ports: Mapping[str, int], login: str | None = None) -> None:
        """`login`, `user:password`, is asked of everyone."""
        self.ports = ports
        self.refusal: bytes | None = None
        """Said to every request instead, if it is set."""
        self.heads: list[bytes] = []
        """Request lines and headers, as they came."""
        self._wanted = None if login is None else base64.b64encode(login.encode()).decode()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def cut(self) -> None:
        """Close every connection, as of a proxy that is restarted."""
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
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

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                self._lead(sock)
        except (OSError, Gone):
            return
        finally:
            self._open.discard(sock)

    def _lead(self, sock: socket.socket) -> None:
        call = Call(sock, b"")
        if not call.read_head():
            return
        self.heads.append(call.head)
        if self.refusal is not None:
            call.send(self.refusal)
            return
        given = (call.header("proxy-authorization") or "").removeprefix("Basic ")
        if self._wanted not in (None, given):
            call.send(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'Proxy-Authenticate: Basic realm="corp"\r\nContent-Length: 0\r\n\r\n'
            )
            return
        tunnel = call.head.startswith(b"CONNECT ")
        target = call.path if tunnel else call.path.split("/")[2]
        with socket.create_connection(("127.0.0.1", self.ports[target]), DEADLINE_S) as beyond:
            self._open.add(beyond)
            try:
                if tunnel:
                    call.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    origin = "/" + call.path.split("/", 3)[3]
                    beyond.sendall(call.head.replace(call.path.encode(), origin.encode(), 1))
                beyond.sendall(call.rest())
                self._spawn(pump, beyond, sock)
                pump(sock, beyond)
            finally:
                self._open.discard(beyond)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Everything from one to the other, and its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
