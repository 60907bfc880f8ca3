"""How a client of the tests' gets from the proxy's port to the host it wants: what a mode asks of it.

Each way talks over a fresh socket until what comes next goes to that host, and returns a status as
of HTTP's CONNECT: 200, or why not.
"""

import base64
import socket
from collections.abc import Callable
from dataclasses import dataclass

type Way = Callable[[socket.socket, str, int], int]


def straight(sock: socket.socket, host: str, port: int) -> int:
    """Reverse mode: the proxy is the host."""
    return 200


def connect(sock: socket.socket, host: str, port: int, authorization: str = "") -> int:
    """Regular and upstream mode: a tunnel, by HTTP's CONNECT."""
    request = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n"
    sock.sendall(request.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = sock.recv(65536)
        if not data:
            break
        answer += data
    return int(answer.split(b" ", 2)[1])


def connect_as(login: str) -> Way:
    """The same with `user:password`."""
    encoded = base64.b64encode(login.encode()).decode()

    def way(sock: socket.socket, host: str, port: int) -> int:
        return connect(sock, host, port, f"Proxy-Authorization: Basic {encoded}\r\n")

    return way


NO_AUTHENTICATION, PASSWORD = 0, 2
"""SOCKS5's methods (RFC 1928, 3)."""

IPV4, DOMAIN = 1, 3
"""Its kinds of addresses (RFC 1928, 5)."""


def socks5(sock: socket.socket, host: str, port: int, login: str | None = None) -> int:
    """socks5 mode, the name resolved by the proxy; 407 if it lets nobody in so."""
    method = NO_AUTHENTICATION if login is None else PASSWORD
    sock.sendall(bytes([5, 1, method]))
    if bytes([5, method]) != exactly(sock, 2):
        return 407
    if login is not None:
        user, _, password = login.partition(":")
        sock.sendall(
            bytes([1, len(user)]) + user.encode() + bytes([len(password)]) + password.encode()
        )
        if b"\x01\x00" != exactly(sock, 2):
            return 407
    name = bytes([DOMAIN, len(host)]) + host.encode()
    return _socks5_request(sock, name + port.to_bytes(2, "big"))


def socks5_to(address: str, port: int) -> Way:
    """The same, but the client has looked the name up: SOCKS gets an IPv4 address."""

    def way(sock: socket.socket, host: str, wanted: int) -> int:
        sock.sendall(bytes([5, 1, NO_AUTHENTICATION]))
        assert bytes([5, NO_AUTHENTICATION]) == exactly(sock, 2)
        return _socks5_request(
            sock, bytes([IPV4]) + socket.inet_aton(address) + port.to_bytes(2, "big")
        )

    return way


def _socks5_request(sock: socket.socket, target: bytes) -> int:
    """CONNECT, in SOCKS' words."""
    sock.sendall(bytes([5, 1, 0]) + target)
    reply = exactly(sock, 10)
    return 200 if reply[1] == 0 else 502


def socks5_as(login: str) -> Way:
    """The same with `user:password` (RFC 1929)."""

    def way(sock: socket.socket, host: str, port: int) -> int:
        return socks5(sock, host, port, login)

    return way


def exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer at the connection's end."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            break
        data += more
    return data


@dataclass(frozen=True, slots=True)
class Door:
    """One way into a proxy: which of its ports, how on, and whether TLS follows."""

    way: Way = connect
    tls: bool = True
    port: int | None = None
    """None: the only one it has."""


CONNECT = Door()
