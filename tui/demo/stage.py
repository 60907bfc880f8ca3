"""What the demonstration plays on: an upstream, a throw-away store with two keys, a proxy between them."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from store.location import open_store
from tui.client_env import CA_FILE
from tui.demo import redirect_script
from tui.demo.client import perform
from tui.demo.play import CI_SECRET, LAPTOP_SECRET, Play
from tui.demo.streams import plays
from tui.demo.upstream import Upstream
from tui.proxy_process import ProxyProcess

RETENTION_S = 3_600
BETWEEN_S = 0.7
"""From the begin of one play to the next: a handful are in flight at a time."""

REST_S = 4.0
"""Between two rounds, while the UI is open."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demonstration plays on."""

    store: Path
    address: str
    certificate: Path
    plays: list[Play]
    speed: float


@contextlib.contextmanager
def prepared(speed: float) -> Iterator[Stage]:
    """Upstream, keys and proxy as a stage; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="flowtap-demo-") as name:
        folder = Path(name)
        store, confdir = folder / "store", folder / "mitmproxy"
        opened = open_store(str(store))
        try:
            opened.add_key("laptop", LAPTOP_SECRET, RETENTION_S)
            opened.add_key("ci", CI_SECRET, RETENTION_S)
        finally:
            opened.close()
        script = plays()
        with Upstream(folder, script, speed) as upstream:
            proxy = ProxyProcess(
                store,
                port=0,
                arguments=[
                    "-q",
                    "-s",
                    str(redirect_script()),
                    "--set",
                    f"confdir={confdir}",
                    # The upstream's certificate is its own, and it is on loopback.
                    "--set",
                    f"ssl_verify_upstream_trusted_ca={folder / 'upstream.pem'}",
                    # The play of a key that is not opted in can be kept after all.
                    "--set",
                    "flowtap_ring=16m",
                ],
                environment={"FLOWTAP_DEMO_UPSTREAM": str(upstream.port)},
            )
            with proxy:
                yield Stage(store, proxy.address, confdir / CA_FILE, script, speed)


def begin(stage: Stage, stop: threading.Event) -> Iterator[threading.Thread]:
    """Begin the plays one after the other, each on a thread of its own."""
    for play in stage.plays:
        if stop.is_set():
            return
        thread = threading.Thread(
            target=_perform, args=(play, stage), name=f"demo {play.name}", daemon=True
        )
        thread.start()
        yield thread
        stop.wait(BETWEEN_S / stage.speed)


def _perform(play: Play, stage: Stage) -> None:
    # A call cut off because the demonstration ends is no failure; a missing record is told by its row.
    with contextlib.suppress(OSError):
        perform(play, stage.address, stage.certificate)


@contextlib.contextmanager
def performing(stage: Stage) -> Iterator[None]:
    """Play round after round until the UI is closed."""
    stop = threading.Event()

    def rounds() -> None:
        while not stop.is_set():
            for _ in begin(stage, stop):
                pass
            stop.wait(REST_S / stage.speed)

    thread = threading.Thread(target=rounds, name="demo rounds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
