"""The loopback upstream of the client tests: all four APIs on one port, over HTTP/1.1, HTTP/2 and WebSocket.

It says one text, whatever is asked, and remembers what was asked and what it answered. It is reached
directly, or as the HTTP proxy of a company (CONNECT): then for the names of HOSTS, no other.
"""

import contextlib
import json
import socket
import ssl
import time
from dataclasses import dataclass, field
from enum import StrEnum

from tests.clients.answers import Answer, answer, socket_messages
from tests.e2e.http2 import H2Upstream, Stream
from tests.e2e.upstream import HOSTS, Call, Upstream
from tests.e2e.websocket import accept

PAUSE_S = 0.004
"""Between two chunks: enough that they do not travel as one."""


class Over(StrEnum):
    """What a call came over; the value is the page's."""

    HTTP1 = "HTTP/1.1"
    HTTP2 = "HTTP/2"
    WEBSOCKET = "WebSocket"


@dataclass(slots=True)
class Asked:
    """One request, or one turn on a WebSocket, as the upstream has it."""

    over: Over
    method: str
    path: str
    head: str
    """All header lines, to look for a key in."""
    body: bytes
    chunks: list[bytes] = field(default_factory=list)
    """The answer's body as it was written; the messages of a turn."""
    model_call: bool = False
    """It asked a model, and got an answer."""

    @property
    def answer(self) -> bytes:
        """The answer's body."""
        return b"".join(self.chunks)


class Api(H2Upstream):
    """It answers `text` until it is told another."""

    def __init__(self, text: str = "Hello") -> None:
        super().__init__(self._stream)
        self.text = text
        self.script = self._call
        self.asked: list[Asked] = []
        self.hosts: list[str] = []
        """Whom a CONNECT asked for."""
        assert self._context is not None
        self._context.set_alpn_protocols(["h2", "http/1.1"])

    def _serve(self, sock: socket.socket) -> None:
        try:
            through = self._connected(sock)
        except OSError:
            through = False
        if through:
            super()._serve(sock)
        else:
            self._open.discard(sock)
            sock.close()

    def _connected(self, sock: socket.socket) -> bool:
        """Whether TLS comes now: at once, or after a CONNECT to a host of ours."""
        if sock.recv(1, socket.MSG_PEEK) != b"C":
            return True
        head = b""
        # Whoever asks to be connected waits for the answer: there is nothing behind the head.
        while not head.endswith(b"\r\n\r\n"):
            data = sock.recv(65536)
            if not data:
                return False
            head += data
        host = head.split(b" ", 2)[1].rpartition(b":")[0].decode()
        self.hosts.append(host)
        known = host in HOSTS
        sock.sendall(b"HTTP/1.1 %s\r\n\r\n" % (b"200 OK" if known else b"403 Not here"))
        return known

    def _talk(self, sock: socket.socket) -> None:
        assert isinstance(sock, ssl.SSLSocket)
        if sock.selected_alpn_protocol() == "h2":
            super()._talk(sock)
        else:
            Upstream._talk(self, sock)

    def _answer(self, asked: Asked) -> Answer:
        told = answer(asked.method, asked.path, asked.body, self.text)
        asked.model_call = told.status == 200
        self.asked.append(asked)
        return told

    def _call(self, call: Call) -> None:
        """A request over HTTP/1.1."""
        method = call.head.partition(b" ")[0].decode()
        head = call.head.decode("latin-1")
        if (call.header("upgrade") or "").lower() == "websocket":
            self._socket(call, head)
            return
        asked = Asked(Over.HTTP1, method, call.path, head, call.read_body())
        told = self._answer(asked)
        call.start(told.status, [("Content-Type", told.content_type)])
        for chunk in told.chunks:
            asked.chunks.append(chunk)
            call.chunk(chunk)
            time.sleep(PAUSE_S)
        call.finish()

    def _socket(self, call: Call, head: str) -> None:
        """A WebSocket: every message is answered until the client is gone."""
        server = accept(
            call, deflate="permessage-deflate" in (call.header("sec-websocket-extensions") or "")
        )
        number = 0
        with contextlib.suppress(OSError):
            while (message := server.hear()) is not None:
                number += 1
                asked = Asked(Over.WEBSOCKET, "GET", call.path, head, message)
                self.asked.append(asked)
                messages = socket_messages(message, self.text, number)
                asked.model_call = bool(messages)
                for each in messages:
                    asked.chunks.append(each)
                    server.say(each)
                    time.sleep(PAUSE_S)
        call.cut()

    def _stream(self, stream: Stream) -> None:
        """A request over HTTP/2."""
        pseudo = dict(stream.fields)
        head = json.dumps(stream.fields)
        asked = Asked(Over.HTTP2, pseudo[":method"], pseudo[":path"], head, stream.body)
        told = self._answer(asked)
        stream.start(told.status, content_type=told.content_type)
        for chunk in told.chunks:
            asked.chunks.append(chunk)
            stream.chunk(chunk)
            time.sleep(PAUSE_S)
        stream.finish()
