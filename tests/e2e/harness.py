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
from types import TracebackType
from typing import Self

import httpx
import trustme

from store.location import open_reader, open_store
from store.record import Record, State

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "addon" / "main.py"
REDIRECT = Path(__file__).with_name("redirect.py")

DEADLINE_S = 30.0
"""For anything that must happen; a test that needs it all has failed."""

HOSTS = ("api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com", "127.0.0.1")

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


# -- the upstream ---------------------------------------------------------------------------------


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

    def __init__(self, script: Script, *, tls: bool = True) -> None:
        self.script = script
        self.calls: list[Call] = []
        self.errors: list[BaseException] = []
        self.ca = trustme.CA()
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ca.issue_cert(*HOSTS).configure_cert(self._context)
            self._context.set_alpn_protocols(["http/1.1"])
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
            self.kill()
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
    """A raw TLS connection through the proxy."""

    def __init__(self, proxy: Proxy, host: str, *, alpn: Sequence[str] = ("http/1.1",)) -> None:
        self.received = b""
        """All that came after the handshake."""
        raw = socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                data = raw.recv(65536)
                if not data:
                    break
                answer += data
            self.connect_status = int(answer.split(b" ", 2)[1])
            """Of the CONNECT; only with 200 there is TLS, and anything to send to."""
            if self.connect_status == 200:
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
