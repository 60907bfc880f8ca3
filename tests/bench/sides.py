"""The processes of a bench: one upstream, one generator of load, and the proxies that are compared.

Every process is its own, every proxy speaks TLS on both legs and writes its log to /dev/null.
"""

import contextlib
import functools
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import trustme

from store.location import open_reader
from tests.bench.load import Job, Result
from tests.e2e.harness import MAIN, ROOT, wait_for

HERE = Path(__file__).parent

SCRIPTS: dict[str, Path | None] = {
    "bare": None,
    "no-op": HERE / "user_addon.py",
    "no-op quiet": HERE / "noop_addon.py",
    "flowtap": MAIN,
}
"""What is compared: `mitmdump -q` alone; as one would type it, without -q, an addon that streams and
does nothing else, the same with mitmproxy's connection log quietened, and the recorder."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time of a process so far, seconds."""

    total: float
    loop: float
    """Its main thread's, on which mitmproxy runs."""


class Side:
    """One running mitmdump."""

    def __init__(self, name: str, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.name = name
        self.port = port
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu(self) -> Cpu:
        """User and system time, to the nanosecond where the kernel tells it, else in ticks."""
        total = loop = 0.0
        with contextlib.suppress(FileNotFoundError):
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
                total += seconds
                if task.name == str(self.pid):
                    loop = seconds
            return Cpu(total, loop)
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return Cpu(ticks, ticks)

    def rss(self) -> int:
        """Resident memory, bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(self.pid)


class Bench:
    """All processes, and the one way to give them work."""

    def __init__(self, folder: Path, store: Path, names: Sequence[str] = tuple(SCRIPTS)) -> None:
        self.store = store
        self._folder = folder
        self._names = names
        self._stack = contextlib.ExitStack()
        self.sides: dict[str, Side] = {}

    def __enter__(self) -> Self:
        _many_descriptors()
        with self._stack:
            authority = trustme.CA()
            trusted = self._folder / "upstream-ca.pem"
            authority.cert_pem.write_to_path(trusted)
            certificate = self._folder / "upstream.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
                certificate
            )
            upstream = self._start(
                [sys.executable, "-m", "tests.bench.upstream", str(certificate)], talks=True
            )
            assert upstream.stdout is not None
            port = int(upstream.stdout.readline())
            self._load = self._start(
                [sys.executable, "-m", "tests.bench.load", str(port)], talks=True
            )
            for name in self._names:
                self.sides[name] = self._proxy(name, trusted)
            for side in self.sides.values():
                wait_for(functools.partial(_listens, side.port), f"{side.name} listening")
            if "flowtap" in self.sides:
                wait_for(self._recording, "the recorder's status")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _proxy(self, name: str, trusted: Path) -> Side:
        port = _free_port()
        script = SCRIPTS[name]
        confdir = self._folder / name.replace(" ", "-")
        process = self._start(
            [
                str(Path(sys.executable).with_name("mitmdump")),
                *(["-q"] if script is None else []),
                *("-p", str(port), "--listen-host", "127.0.0.1"),
                *("--set", f"confdir={confdir}"),
                *("--set", f"ssl_verify_upstream_trusted_ca={trusted}"),
                *([] if script is None else ["-s", str(script)]),
            ]
        )
        return Side(name, port, process)

    def _start(self, command: list[str], *, talks: bool = False) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=ROOT,
            env={**os.environ, "FLOWTAP_STORE": str(self.store)},
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else subprocess.DEVNULL,
            stderr=None if talks else subprocess.DEVNULL,
        )
        self._stack.callback(_stop, process)
        return process

    def _recording(self) -> bool:
        with contextlib.closing(open_reader(str(self.store))) as reader:
            return any(status.alive for status in reader.proxies())

    def run(self, job: Job) -> Result:
        """Have the generator do it; RuntimeError if a call failed."""
        return Result(**self._told(asdict(job)))

    def hang_up(self, side: Side) -> None:
        """Close the generator's connections through it."""
        self._told({"hang_up": side.port})

    def _told(self, value: dict[str, Any]) -> dict[str, Any]:
        load = self._load
        assert load.stdin is not None
        assert load.stdout is not None
        load.stdin.write(json.dumps(value).encode() + b"\n")
        load.stdin.flush()
        answer: dict[str, Any] = json.loads(load.stdout.readline() or b'{"error": "it died"}')
        if "error" in answer:
            raise RuntimeError(f"the load generator: {answer['error']} (in {value})")
        return answer


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _many_descriptors() -> None:
    """A thousand streams are two thousand connections of a proxy; its children inherit this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def settled(side: Side, seconds: float) -> Iterator[list[Cpu]]:
    """The processor time that what is done inside costs, with what the side does of it later."""
    before = side.cpu()
    spent: list[Cpu] = []
    yield spent
    # Records are written by a thread after the call is over; everyone waits alike.
    time.sleep(seconds)
    after = side.cpu()
    spent.append(Cpu(after.total - before.total, after.loop - before.loop))
