"""The clients of the benches, a process of its own: TLS through a proxy's CONNECT, keep-alive.

    python -m tests.bench.load UPSTREAM_PORT

Reads jobs from stdin, a JSON object a line, and answers each with one line. Connections are kept
from job to job, so that only the first use of a proxy pays for handshakes.
"""

import asyncio
import gc
import json
import re
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field

_EVENT = re.compile(rb"at=(\d+) #\d+ ")
_BODY = json.dumps(
    {
        "model": "claude-test",
        "stream": True,
        "messages": [{"role": "user", "content": "x" * 900}],
    }
).encode()


@dataclass(frozen=True, slots=True)
class Job:
    """So many calls through the proxy at `port`, `concurrency` at a time."""

    port: int
    play: str
    """What the upstream does, see tests.bench.upstream."""
    concurrency: int = 1
    calls: int = 0
    """How many in all; 0: as many as begin within `seconds`."""
    seconds: float = 0.0
    key: str = ""
    tag: str = "-"
    """In the path, so that the records of a job can be told apart."""
    timed: bool = False
    """Note when each event arrived."""
    spread_s: float = 0.0
    """The first calls begin evenly within this time."""


@dataclass(slots=True)
class Result:
    """What the clients saw; times in milliseconds."""

    calls: int = 0
    seconds: float = 0.0
    latency: list[float] = field(default_factory=list)
    """From the request to the end of its response, of each call."""
    first: list[float] = field(default_factory=list)
    """From the request to its first event."""
    event: list[float] = field(default_factory=list)
    """From an event's writing to its arrival here, of each."""


class Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._answered: asyncio.Future[None]
        self._timed = False
        self._left = -1
        """Bytes missing of a body of known length; -1: the head has not come, -2: chunked."""
        self._tail = b""
        self.events: list[int] = []
        """(arrival - writing) of each, nanoseconds."""
        self.first_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError("closed in mid-answer"))

    def ask(self, request: bytes, *, timed: bool = False) -> "asyncio.Future[None]":
        """Send it; done when the response is whole."""
        self._answered = asyncio.get_running_loop().create_future()
        self._timed = timed
        self._left = -1
        self._tail = b""
        self.events = []
        self.transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._left == -1:
            data = self._tail + data
            head, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                self._tail = head
                return
            self._tail = b""
            if not head.startswith(b"HTTP/1.1 200 "):
                self._answered.set_exception(ConnectionError(head[:80].decode("latin-1")))
                return
            length = re.search(rb"(?i)content-length: (\d+)", head)
            connect = b"onnection established" in head
            self._left = int(length[1]) if length else 0 if connect else -2
        if self._left >= 0:
            self._left -= len(data)
            if self._left <= 0:
                self._answered.set_result(None)
            return
        data = self._tail + data
        if self._timed:
            end = 0
            for found in _EVENT.finditer(data):
                if not self.events:
                    self.first_ns = now
                self.events.append(now - int(found[1]))
                end = found.end()
            self._tail = data[end:]
        else:
            self._tail = data[-7:]
        if data.endswith(b"\r\n0\r\n\r\n"):
            self._answered.set_result(None)


class Clients:
    """All connections, by the proxy they go through."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._open: dict[int, list[Connection]] = {}
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Whether the proxy's certificate is good is not what is measured here.
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def _connect(self, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection()
        _, protocol = await loop.create_connection(lambda: connection, "127.0.0.1", port)
        target = f"127.0.0.1:{self._upstream}"
        await connection.ask(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        transport = await loop.start_tls(
            connection.transport, protocol, self._tls, server_hostname="127.0.0.1"
        )
        assert isinstance(transport, asyncio.Transport)
        connection.transport = transport
        return connection

    async def connections(self, port: int, count: int) -> list[Connection]:
        """So many open connections through that proxy."""
        ready = self._open.setdefault(port, [])
        while len(ready) < count:
            new = await asyncio.gather(
                *[self._connect(port) for _ in range(min(16, count - len(ready)))]
            )
            ready += new
        return ready[:count]

    def hang_up(self, port: int) -> None:
        """Close what goes through that proxy."""
        for connection in self._open.pop(port, ()):
            connection.transport.close()

    async def run(self, job: Job) -> Result:
        """Do it."""
        connections = await self.connections(job.port, job.concurrency)
        request = (
            f"POST /v1/messages?tag={job.tag} HTTP/1.1\r\nHost: 127.0.0.1:{self._upstream}\r\n"
            f"X-Api-Key: {job.key}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nUser-Agent: bench/1.0\r\nAnthropic-Version: 2023-06-01\r\n"
            f"X-Play: {job.play}\r\nContent-Length: {len(_BODY)}\r\n\r\n"
        ).encode() + _BODY
        result = Result()
        left = job.calls or sys.maxsize
        gc.collect()
        gc.disable()
        began = time.monotonic()
        give_up = began + job.seconds if not job.calls else float("inf")

        async def client(number: int, connection: Connection) -> None:
            nonlocal left
            await asyncio.sleep(number * job.spread_s / job.concurrency)
            while left > 0 and time.monotonic() < give_up:
                left -= 1
                sent = time.monotonic_ns()
                await connection.ask(request, timed=job.timed)
                result.latency.append((time.monotonic_ns() - sent) / 1e6)
                if job.timed:
                    result.first.append((connection.first_ns - sent) / 1e6)
                    result.event += [taken / 1e6 for taken in connection.events]

        try:
            await asyncio.gather(*[client(*each) for each in enumerate(connections)])
        finally:
            gc.enable()
        result.seconds = time.monotonic() - began
        result.calls = len(result.latency)
        return result


async def work(upstream: int) -> None:
    """Job by job, until stdin ends."""
    clients = Clients(upstream)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        value = json.loads(line)
        if value.keys() == {"hang_up"}:
            clients.hang_up(value["hang_up"])
            answer: dict[str, object] = {}
        else:
            try:
                answer = asdict(await clients.run(Job(**value)))
            except Exception as error:  # Told to who gave the job.
                answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(work(int(sys.argv[1])))
