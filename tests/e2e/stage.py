"""The stage of the state table: proxies with different options over one store, and all their upstreams.

A proxy is started when the first row needs it and serves every row after that.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import trustme

from store.record import Record, State
from tests.e2e.corporate import Corporate
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    MAIN,
    REDIRECT,
    ROOT,
    Client,
    Proxy,
    Upstream,
    new_store,
    records,
    sse,
    wait_for,
)
from tests.e2e.http2 import H2Upstream
from tests.e2e.http3 import H3Upstream

H1 = "api.anthropic.com"
H2 = "api.openai.com"
H3 = "generativelanguage.googleapis.com"
PLAIN = "plain.test"
REFUSED = "refused.test"
PENDING = "pending.test"
UNTRUSTED = "untrusted.test"

STAGE_SCRIPT = Path(__file__).with_name("stage_script.py")
IMPATIENT = Path(__file__).with_name("impatient.py")
TICKING = Path(__file__).with_name("ticking.py")
RAISING = Path(__file__).with_name("raising.py")
TROUBLED = Path(__file__).with_name("troubled.py")

STREAMS = ("--set", "flowtap_stream_requests=yes")
"""The stage's script has a `request` hook: with `auto` requests would be buffered."""

RIGS: dict[str, tuple[Path, Sequence[str]]] = {
    "main": (MAIN, STREAMS),
    "buffered": (MAIN, ()),
    "lazy": (
        MAIN,
        (*STREAMS, "--set", "connection_strategy=lazy", "--set", "body_size_limit=2k"),
    ),
    "raising": (RAISING, STREAMS),
    "required": (TROUBLED, (*STREAMS, "--set", "flowtap_required=true")),
    "ticking": (TICKING, STREAMS),
    "corporate": (MAIN, (*STREAMS, "--mode", "upstream:http://127.0.0.1:{corporate}")),
    "corporate-gone": (MAIN, (*STREAMS, "--mode", "upstream:http://127.0.0.1:{refused}")),
    "http3": (TICKING, (*STREAMS, "--mode", f"reverse:http3://{H3}")),
    "http3-impatient": (IMPATIENT, (*STREAMS, "--mode", f"reverse:http3://{H3}")),
    "http3-nobody": (MAIN, (*STREAMS, "--mode", f"reverse:http3://{REFUSED}")),
    "impatient": (IMPATIENT, (*STREAMS, "--set", "tcp_timeout=2")),
}


class StageProxy(Proxy):
    """A mitmdump with our addon and the stage's script."""

    def __init__(
        self, stage: "Stage", confdir: Path, script: Path, args: Sequence[str], store: Path
    ) -> None:
        super().__init__(store, confdir, stage.h1, args, script=script)
        self.command = [
            str(STAGE_SCRIPT) if word == str(REDIRECT) else word for word in self.command
        ]
        self._environment["FLOWTAP_TEST_PORTS"] = json.dumps(stage.ports)
        self._environment["FLOWTAP_TEST_TROUBLE"] = str(stage.sign)


class PlainClient(Client):
    """A raw connection to the proxy without TLS, for requests in absolute form."""

    def __init__(self, proxy: Proxy) -> None:
        self.received = b""
        self.connect_status = 0
        self._sock = socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_S)


class Scene:
    """One row being played: where, under which name, and what its two sides wait for."""

    def __init__(self, stage: "Stage", proxy: Proxy, case: str, deed: str = "") -> None:
        self.stage = stage
        self.proxy = proxy
        self.case = case
        self.path = f"/v1/messages?{case_query(case)}do={deed}"
        self.reached = threading.Event()
        """The upstream has what the client sent."""
        self.released = threading.Event()
        """Whoever waits for the other side may go on."""

    def wait_reached(self) -> None:
        assert self.reached.wait(DEADLINE_S)

    def wait_released(self) -> None:
        assert self.released.wait(DEADLINE_S)

    def live(self, ready: Callable[[Record], bool]) -> None:
        """Until a reader sees the record in flight, and so."""

        def probe() -> bool:
            return any(ready(record) for record in self.stage.found(self.case, self.proxy.store))

        wait_for(probe, f"{self.case} in flight")


def case_query(case: str) -> str:
    """How a record's path shows the case: with its end, so that 1 is not 10."""
    return f"case={case}&"


class Stage:
    """Upstreams, and proxies by their names in RIGS; everything under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = new_store(folder / "store")
        self.sign = folder / "trouble"
        """While it is there, the store of the proxy `required` fails."""
        self._stack = contextlib.ExitStack()
        self._rigs: dict[str, StageProxy] = {}
        self.memo: dict[str, dict[str, list[Record]]] = {}
        """What rows found that are played together."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            ca = trustme.CA()
            self.h1 = stack.enter_context(Upstream(sse(), ca=ca))
            self.h2 = stack.enter_context(H2Upstream(lambda stream: None, ca=ca))
            self.h3 = stack.enter_context(H3Upstream(lambda stream: None, ca=ca))
            self.plain = stack.enter_context(Upstream(sse(), tls=False))
            untrusted = stack.enter_context(Upstream(sse()))
            self.ports = {
                H1: self.h1.port,
                H2: self.h2.port,
                H3: self.h3.port,
                PLAIN: self.plain.port,
                REFUSED: _refusing(),
                PENDING: _pending(stack),
                UNTRUSTED: untrusted.port,
            }
            beyond = {f"{H1}:443": self.h1.port, PLAIN: self.plain.port}
            self.corporate = stack.enter_context(Corporate(beyond))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def proxy(self, name: str) -> StageProxy:
        """The proxy of that name, running."""
        if name not in self._rigs:
            script, args = RIGS[name]
            self._rigs[name] = self._stack.enter_context(self.another(name, args, script=script))
        return self._rigs[name]

    def another(
        self, name: str, args: Sequence[str] = STREAMS, *, script: Path = MAIN
    ) -> StageProxy:
        """A proxy of one's own on the same store, not started; its certificates under `name`."""
        ports = {"corporate": self.corporate.port, "refused": self.ports[REFUSED]}
        args = [word.format_map(ports) for word in args]
        return StageProxy(self, self.folder / name, script, args, self.store)

    def logs(self) -> dict[str, str]:
        """What each shared proxy has said."""
        return {name: proxy.log for name, proxy in self._rigs.items()}

    def found(self, case: str, store: Path | None = None) -> list[Record]:
        """The records of a case, in flight or done."""
        return records(store or self.store, case_query(case))

    def ended(self, case: str) -> list[Record]:
        """The records of a case, once there is one and all are done."""

        def probe() -> list[Record]:
            found = self.found(case)
            return found if all(record.meta.state is State.DONE for record in found) else []

        return wait_for(probe, f"a record of {case!r}")

    def none(self, case: str, proxy: Proxy) -> list[Record]:
        """The records of a case of which no more should come: once a later call has its own."""
        fence = f"fence-{case}"
        self.h1.script = lambda call: call.answer(call.read_body())
        with proxy.httpx() as client:
            client.post(
                f"https://{H1}/v1/messages?{case_query(fence)}",
                content=b"{}",
                headers={"x-api-key": KEY},
            )
        self.ended(fence)
        return self.found(case)


def copied_addon(folder: Path) -> Path:
    """The addon's folder copied, so that its main.py may be touched; the rest of us linked to it."""
    shutil.copytree(MAIN.parent, folder / "addon", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("store", "collectors"):
        (folder / name).symlink_to(ROOT / name)
    return folder / "addon" / "main.py"


def touch(file: Path) -> None:
    """Have its time of change differ, as after an edit."""
    seconds = file.stat().st_mtime + 2
    os.utime(file, (seconds, seconds))


def _refusing() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _pending(stack: contextlib.ExitStack) -> int:
    """A port where connecting takes for ever: its backlog is full and nobody accepts."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    port: int = listener.getsockname()[1]
    stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE_S))
    return port


SIGNALS = {
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
    "SIGHUP": signal.SIGHUP,
    "SIGKILL": signal.SIGKILL,
}
