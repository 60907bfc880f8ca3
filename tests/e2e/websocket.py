"""Both ends of a WebSocket for the end-to-end tests: frames by hand over the harness' raw connections.

def script(call: Call) -> None:
    server = accept(call)
    while (message := server.hear()) is not None:
        server.say(b'{"type":"response.completed"}')

with connect(proxy) as client:
    client.say(CREATE)
    client.hear()
"""

import base64
import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate

from tests.e2e.harness import KEY, Call, Client, Proxy

HOST = "api.openai.com"
PATH = "/v1/responses"
DEFLATE = "permessage-deflate"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


class Peer:
    """One end, after the handshake: whole messages out, whole messages in."""

    def __init__(
        self,
        side: ConnectionType,
        send: Callable[[bytes], None],
        receive: Callable[[], bytes],
        rest: bytes,
        extensions: str | None,
    ) -> None:
        """`rest` is what came behind the handshake; `extensions` as the server answered them."""
        agreed: list[Extension] = []
        if extensions:
            deflate = PerMessageDeflate()
            deflate.finalize(extensions)
            agreed.append(deflate)
        self._frames = Connection(side, agreed)
        self._send = send
        self._receive = receive
        self._pieces: list[bytes] = []
        self.code: int | None = None
        """Of the close frame that came; 1006 where none did."""
        self.reason: str | None = None
        self.pings = 0
        """How many came."""
        if rest:
            self._frames.receive_data(rest)

    def say(self, *messages: bytes) -> None:
        """Text messages, a frame each, in one write."""
        self._send(
            b"".join(self._frames.send(TextMessage(data=each.decode())) for each in messages)
        )

    def say_binary(self, message: bytes) -> None:
        """A binary message."""
        self._send(self._frames.send(BytesMessage(data=message)))

    def ping(self) -> None:
        """A ping, which is no message."""
        self._send(self._frames.send(Ping(payload=b"are you there")))

    def say_in_pieces(self, message: bytes, size: int) -> None:
        """A text message in frames of so many characters."""
        text = message.decode()
        for at in range(0, len(text), size):
            last = at + size >= len(text)
            piece = TextMessage(data=text[at : at + size], message_finished=last)
            self._send(self._frames.send(piece))

    def hear(self) -> bytes | None:
        """The next message; None once the other end has closed."""
        while True:
            for event in self._frames.events():
                if isinstance(event, TextMessage | BytesMessage):
                    data = event.data
                    self._pieces.append(data.encode() if isinstance(data, str) else bytes(data))
                    if event.message_finished:
                        message = b"".join(self._pieces)
                        self._pieces.clear()
                        return message
                elif isinstance(event, Ping):
                    self.pings += 1
                    self._send(self._frames.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self.code, self.reason = event.code, event.reason
                    return None
            if self._frames.state is not ConnectionState.OPEN:
                return None
            data = b""
            with contextlib.suppress(OSError):
                data = self._receive()
            self._frames.receive_data(data or None)

    def hear_all(self, count: int) -> list[bytes]:
        """That many messages; AssertionError at an early end."""
        found: list[bytes] = []
        for _ in range(count):
            message = self.hear()
            assert message is not None, f"closed ({self.code}) after {len(found)} of {count}"
            found.append(message)
        return found

    def close(self, code: int = 1000, reason: str = "") -> None:
        """A close frame."""
        self._send(self._frames.send(CloseConnection(code=code, reason=reason)))


def accept(call: Call, headers: Iterable[tuple[str, str]] = (), *, deflate: bool = False) -> Peer:
    """Answer the handshake with 101; the server's end."""
    key = (call.header("sec-websocket-key") or "").encode()
    digest = hashlib.sha1(key + GUID, usedforsecurity=False).digest()
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
        *headers,
    ]
    if deflate:
        fields.append(("Sec-WebSocket-Extensions", DEFLATE))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    call.send(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
    return Peer(ConnectionType.SERVER, call.send, call.read_some, b"", DEFLATE if deflate else None)


class SocketClient(Client):
    """A WebSocket client's raw connection through the proxy."""

    def ask(self, path: str, key: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Ask for a socket."""
        fields = [
            ("Host", HOST),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
            ("Sec-WebSocket-Extensions", f"{DEFLATE}; client_max_window_bits"),
            ("Authorization", f"Bearer {key}"),
            *headers,
        ]
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())

    def handshake(self, path: str, key: str, headers: Iterable[tuple[str, str]]) -> Peer:
        """Ask for a socket; AssertionError unless the answer is 101."""
        self.ask(path, key, headers)
        self.read_until(b"\r\n\r\n")
        head, _, rest = self.received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        agreed = DEFLATE if b"sec-websocket-extensions" in head.lower() else None
        return Peer(ConnectionType.CLIENT, self.send, self.read_some, rest, agreed)

    def read_some(self) -> bytes:
        """The next raw bytes; b"" at the end."""
        return self._sock.recv(65536)


@contextlib.contextmanager
def connect(
    proxy: Proxy, path: str = PATH, key: str = KEY, headers: Iterable[tuple[str, str]] = ()
) -> Iterator[tuple[Peer, SocketClient]]:
    """A socket through the proxy, and the connection under it, for those who break it."""
    with SocketClient(proxy, HOST) as client:
        yield client.handshake(path, key, headers), client
