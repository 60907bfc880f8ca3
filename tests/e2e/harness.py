"""Real processes on loopback: a mitmdump with our addon, an upstream that plays scripts, raw clients.

    with Upstream(script) as upstream, Proxy(store, confdir, upstream) as proxy:
        with Client(proxy, "api.anthropic.com") as client:
            client.send(post("/v1/messages", b"{}", key))
            client.read_until(b"message_stop")
        proxy.stop()

Clients ask for the real names of the APIs; a redirect inside the proxy brings them here, with
certificates checked on both legs. Everything waits for events or bytes with one deadline
(DEADLINE_S), nothing sleeps for luck.
"""

import contextlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import httpx

from store.location import open_reader, open_store
from store.record import Record, State
from tests.e2e.upstream import DEADLINE_S as DEADLINE_S
from tests.e2e.upstream import HOSTS as HOSTS
from tests.e2e.upstream import Call as Call
from tests.e2e.upstream import Gone as Gone
from tests.e2e.upstream import Script as Script
from tests.e2e.upstream import Upstream as Upstream
from tests.e2e.upstream import head as head
from tests.e2e.upstream import sse as sse
from tests.e2e.ways import CONNECT, Door

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "addon" / "main.py"
REDIRECT = Path(__file__).with_name("redirect.py")

KEY = "sk-ant-test-0000-canary"
"""The key that is on in a store made by `new_store`."""

OFF_KEY = "sk-ant-test-0000-off-off"
"""The key that is known and off."""

UNKNOWN_KEY = "sk-ant-test-0000-stranger"


def wait_for[T](probe: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """The first truthy value of `probe`, asked every few milliseconds."""
    end = time.monotonic() + deadline_s
    while True:
        if value := probe():
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(0.005)


# -- the proxy ------------------------------------------------------------------------------------


class Proxy:
    """A mitmdump process on a free port with our addon and the redirect, and all that it logged."""

    def __init__(
        self,
        store: Path,
        confdir: Path,
        upstream: Upstream,
        args: Sequence[str] = (),
        *,
        script: Path | None = MAIN,
        ready: str = "flowtap: recording ",
    ) -> None:
        """`script` instead of the addon, or none; `ready` is what the log says when it runs."""
        self.store = store
        self.ca_file = confdir / "mitmproxy-ca-cert.pem"
        upstream_ca = confdir / "upstream-ca.pem"
        confdir.mkdir(parents=True, exist_ok=True)
        upstream.ca.cert_pem.write_to_path(upstream_ca)
        self.command = [
            str(Path(sys.executable).with_name("mitmdump")),
            *("-p", "0", "--listen-host", "127.0.0.1"),
            *("--set", f"confdir={confdir}"),
            *("--set", f"ssl_verify_upstream_trusted_ca={upstream_ca}"),
            *([] if script is None else ["-s", str(script)]),
            *("-s", str(REDIRECT)),
            *args,
        ]
        self._environment = {
            **os.environ,
            "FLOWTAP_STORE": str(store),
            # The log is read while it is written; a pipe would get it in blocks.
            "PYTHONUNBUFFERED": "1",
            "FLOWTAP_TEST_UPSTREAM": str(upstream.port),
        }
        self._ready = ready
        self._lines: list[str] = []
        self.listening = r"listening at 127\.0\.0\.1:(\d+)"
        """How the log tells the port."""
        self.port = 0

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(  # noqa: S603
            self.command,
            cwd=ROOT.parent,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait_log(self._ready)
            found = re.search(self.listening, self.log)
            assert found is not None, self.log
            self.port = int(found[1])
        except BaseException:
            if self.process.poll() is None:
                self.kill()
            self._finish()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._finish()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    def _finish(self) -> None:
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def log(self) -> str:
        """Everything mitmdump has printed so far."""
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        """For HTTPS_PROXY."""
        return f"http://127.0.0.1:{self.port}"

    def wait_log(self, text: str) -> None:
        """Until the log has `text`; the whole log is shown if the process ends without it."""

        def probe() -> bool:
            if text in self.log:
                return True
            if self.process.poll() is not None:
                self._reader.join(DEADLINE_S)
                assert text in self.log, f"mitmdump ended ({self.process.returncode}): {self.log}"
            return text in self.log

        wait_for(probe, f"{text!r} in the proxy's log")

    def signal(self, number: signal.Signals) -> int:
        """Send a signal that ends it; the exit status."""
        self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def stop(self) -> int:
        """SIGTERM: what is in flight is ended and written before it exits."""
        return self.signal(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: no hook runs."""
        return self.signal(signal.SIGKILL)

    def client_context(self, alpn: Sequence[str] = ("http/1.1",)) -> ssl.SSLContext:
        """TLS as of a client that trusts the proxy's CA."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.set_alpn_protocols(list(alpn))
        return context

    def httpx(self, *, http2: bool = False) -> httpx.Client:
        """A client that goes through the proxy and trusts it."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.Client(
            proxy=self.url, verify=context, http2=http2, timeout=DEADLINE_S, trust_env=False
        )


# -- clients --------------------------------------------------------------------------------------


def post(
    path: str,
    body: bytes = b"",
    key: str = KEY,
    *,
    host: str = "api.anthropic.com",
    headers: Iterable[tuple[str, str]] = (),
    length: int | None = None,
) -> bytes:
    """A request of a model client; `length` announces another than the body's."""
    fields = [
        ("Host", host),
        ("X-Api-Key", key),
        ("Content-Type", "application/json"),
        *headers,
        ("Content-Length", str(len(body) if length is None else length)),
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


class Client:
    """A raw connection through the proxy, by CONNECT and with TLS where `door` does not say otherwise."""

    def __init__(
        self,
        proxy: Proxy,
        host: str,
        *,
        alpn: Sequence[str] = ("http/1.1",),
        door: Door = CONNECT,
        port: int = 443,
    ) -> None:
        self.received = b""
        """All that came after the handshake."""
        raw = socket.create_connection(("127.0.0.1", door.port or proxy.port), DEADLINE_S)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connect_status = door.way(raw, host, port)
            """Of the CONNECT; only with 200 there is TLS, and anything to send to."""
            if self.connect_status == 200 and door.tls:
                self._sock: socket.socket = proxy.client_context(alpn).wrap_socket(
                    raw, server_hostname=host
                )
            else:
                self._sock = raw
        except BaseException:
            raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    @property
    def alpn(self) -> str | None:
        """The protocol that TLS settled on."""
        return (
            self._sock.selected_alpn_protocol() if isinstance(self._sock, ssl.SSLSocket) else None
        )

    def send(self, data: bytes) -> None:
        """Raw bytes."""
        self._sock.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        """Receive until `mark` is in what came; all that came. AssertionError at an early end."""
        while mark not in self.received:
            data = self._sock.recv(65536)
            assert data, f"closed before {mark!r}: {self.received!r}"
            self.received += data
        return self.received

    def read_more(self) -> None:
        """Receive once."""
        self.received += self._sock.recv(65536)

    def read_to_end(self) -> bytes:
        """Receive until the proxy closes."""
        with contextlib.suppress(OSError):
            while data := self._sock.recv(65536):
                self.received += data
        return self.received

    def close(self) -> None:
        """FIN, as of a client that has lost interest."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def half_close(self) -> None:
        """FIN, and go on reading, as of a client that has said all it will say."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """RST, as of a client that crashed."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


def body_of(response: bytes) -> bytes:
    """A whole raw response's body, chunk framing taken off."""
    headers, _, rest = response.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in headers.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        body += rest[:length]
        rest = rest[length + 2 :]
        if not length:
            break
    return body


# -- the store ------------------------------------------------------------------------------------


def new_store(path: Path, retention_s: int | None = 3600) -> Path:
    """A store with KEY on (unless told otherwise) and OFF_KEY off."""
    store = open_store(str(path))
    try:
        store.add_key("work", KEY, retention_s)
        store.add_key("idle", OFF_KEY)
    finally:
        store.close()
    return path


def records(path: Path, containing: str = "") -> list[Record]:
    """Every record whose path contains that, oldest first, in flight or done."""
    reader = open_reader(str(path))
    try:
        metas = [meta for meta in reader.records(limit=200) if containing in meta.path]
        found = [reader.get(meta.id) for meta in reversed(metas)]
        return [record for record in found if record is not None]
    finally:
        reader.close()


def done(path: Path, containing: str = "", count: int = 1) -> list[Record]:
    """As `records`, once there are `count` and all are done."""

    def probe() -> list[Record]:
        found = records(path, containing)
        whole = len(found) >= count and all(r.meta.state is State.DONE for r in found)
        return found if whole else []

    return wait_for(probe, f"{count} records of {containing!r}")


def on_disk(path: Path, canary: bytes) -> list[Path]:
    """The files under `path` that hold those bytes, plainly."""
    return [file for file in path.rglob("*") if file.is_file() and canary in file.read_bytes()]


@contextlib.contextmanager
def running(
    folder: Path, script: Script, args: Sequence[str] = ()
) -> Iterator[tuple[Proxy, Upstream]]:
    """A new store, an upstream with `script`, and a proxy between, all under `folder`."""
    store = new_store(folder / "store")
    with (
        Upstream(script) as upstream,
        Proxy(store, folder / "confdir", upstream, args) as proxy,
    ):
        yield proxy, upstream
