"""`flowtap demo`: authored streams through a real proxy into a throw-away store, with the UI on top."""

import sys
import threading
import time
from pathlib import Path

import click

from store.errors import BadInput, StoreUnavailable
from store.location import open_reader
from store.record import RecordMeta, State
from tui.demo.play import Play
from tui.demo.stage import Stage, begin, performing, prepared

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
    with prepared(speed) as stage:
        if headless:
            return _headless(stage)
        from tui.app import run

        with performing(stage):
            return run(str(stage.store))


def _headless(stage: Stage) -> int:
    """Play everything once; 0 if every record says what it must."""
    click.echo(f"{len(stage.plays)} exchanges through the proxy on {stage.address}")
    started = time.monotonic()
    for thread in list(begin(stage, threading.Event())):
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
