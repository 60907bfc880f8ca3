"""`flowtap demo`: authored streams through a real proxy into a throw-away store, with the UI on top."""

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from store.errors import BadInput, StoreUnavailable
from store.location import open_reader, open_store
from store.record import RecordMeta, State
from tui.client_env import CA_FILE
from tui.demo import redirect_script
from tui.demo.client import perform
from tui.demo.streams import CI_SECRET, LAPTOP_SECRET, Play, plays
from tui.demo.upstream import Upstream
from tui.proxy_process import ProxyProcess

RETENTION_S = 3_600
BETWEEN_S = 0.7
"""From the begin of one play to the next: a handful are in flight at a time."""

REST_S = 4.0
"""Between two rounds, while the UI is open."""

SETTLE_S = 20.0


@click.command()
@click.option(
    "--headless", is_flag=True, help="No UI: play everything once and print what was recorded."
)
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 100.0),
    help="Play faster or slower.",
)
def demo(headless: bool, speed: float) -> int:
    """The whole product in one command, no account needed.

    A loopback upstream plays authored streams of every protocol, whole, slow, cut and erring,
    through a real proxy into a throw-away store.
    """
    if not headless and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("The demo's UI needs a terminal; without one: flowtap demo --headless")
    with _stage(speed) as stage:
        if headless:
            return _headless(stage)
        from tui.app import run

        with _performing(stage):
            return run(str(stage.store))


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demonstration plays on."""

    store: Path
    address: str
    certificate: Path
    plays: list[Play]
    speed: float


@contextlib.contextmanager
def _stage(speed: float) -> Iterator[Stage]:
    """Upstream, keys and proxy, all of them gone afterwards."""
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
                ],
                environment={"FLOWTAP_DEMO_UPSTREAM": str(upstream.port)},
            )
            with proxy:
                yield Stage(store, proxy.address, confdir / CA_FILE, script, speed)


def _headless(stage: Stage) -> int:
    """Play everything once; 0 if every record says what it must."""
    click.echo(f"{len(stage.plays)} exchanges through the proxy on {stage.address}")
    started = time.monotonic()
    for thread in list(_begin(stage, threading.Event())):
        thread.join()
    expected = [play for play in stage.plays if play.verdict is not None]
    records = _settled(stage.store, len(expected))
    width = max(len(play.name) for play in stage.plays)
    wrong = 0
    for play in stage.plays:
        found = [meta for meta in records if _is_of(meta, play, stage.store)]
        said = [str(meta.verdict) for meta in found]
        right = said == ([] if play.verdict is None else [play.verdict])
        wrong += not right
        click.echo(f"{'ok   ' if right else 'WRONG'}  {play.name:<{width}}  {_told(found)}")
    seconds = time.monotonic() - started
    click.echo(f"{len(records)} records in {seconds:.1f} s; {wrong} not as expected")
    return 1 if wrong else 0


def _begin(stage: Stage, stop: threading.Event) -> Iterator[threading.Thread]:
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
def _performing(stage: Stage) -> Iterator[None]:
    """Play round after round until the UI is closed."""
    stop = threading.Event()

    def rounds() -> None:
        while not stop.is_set():
            for _ in _begin(stage, stop):
                pass
            stop.wait(REST_S / stage.speed)

    thread = threading.Thread(target=rounds, name="demo rounds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _settled(store: Path, count: int) -> list[RecordMeta]:
    """The records once `count` of them are done."""
    give_up = time.monotonic() + SETTLE_S
    reader = open_reader(str(store))
    try:
        while time.monotonic() < give_up:
            records = reader.records()
            if len(records) >= count and all(meta.state is State.DONE for meta in records):
                return records
            time.sleep(0.05)
    finally:
        reader.close()
    raise StoreUnavailable(f"Only {len(records)} of {count} records came to their end.")


def _is_of(meta: RecordMeta, play: Play, store: Path) -> bool:
    reader = open_reader(str(store))
    try:
        record = reader.get(meta.id)
    finally:
        reader.close()
    wanted = (b"x-demo-play", play.name.encode())
    return record is not None and wanted in record.request.headers


def _told(found: list[RecordMeta]) -> str:
    if not found:
        return "not recorded"
    meta = found[0]
    tokens = f"{_count(meta.input_tokens)}→{_count(meta.output_tokens)} tokens"
    error = f" · {meta.error}" if meta.error else ""
    return f"{meta.verdict}  {meta.status}  {meta.model}  {meta.response_bytes} B  {meta.duration_ms} ms  {tokens}{error}"


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else str(tokens)
