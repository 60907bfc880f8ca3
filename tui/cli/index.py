"""`flowtap index`: builds the optional index of texts that makes searching a large store fast."""

import contextlib
import os
import time

import click

from store.fulltext import drop_all
from store.fulltext_build import Building, Indexed
from store.layout import Layout
from store.location import open_reader, store_path
from tui.cli.common import store_option
from tui.cli.progress import Progress
from tui.format import plural

POLL_S = 1.0
NICENESS = 10
INTERRUPTED = 130


@click.command()
@click.option("--watch", is_flag=True, help="Go on with what comes, until ctrl-c.")
@click.option("--drop", is_flag=True, help="Delete the index instead; searches read all again.")
@store_option
def index(watch: bool, drop: bool, store: str | None) -> int:
    """Build the index of texts that flowtap search then uses.

    A file for each key and day, below the store's folder: what three-character pieces the texts
    of which record have. There is none unless this command is run, and it stops growing when
    this stops. It goes with the records: a day's file is dropped, at a purge, as soon as the
    key's retention no longer covers all of that day, and searches read what is left of it.
    """
    if watch and drop:
        raise click.UsageError("--watch and --drop exclude each other.")
    layout = Layout(store_path(store))
    reader = open_reader(store)
    progress = Progress()
    try:
        with Building(layout, reader) as building:
            if drop:
                drop_all(layout)
                click.echo("No index any more.")
                return 0
            if watch:
                with contextlib.suppress(OSError):
                    # What is being recorded goes before.
                    os.nice(NICENESS)
            version = -1
            while True:
                # Taken before: what comes meanwhile changes it again.
                now = reader.version()
                if now != version:
                    version = now
                    for told in building.catch_up():
                        progress.say(_said(told))
                if not watch:
                    break
                _wait()
            progress.clear()
            click.echo(_said(building.told))
            return 0
    except KeyboardInterrupt:
        progress.clear()
        click.echo(_said(building.told), err=True)
        return INTERRUPTED
    finally:
        progress.clear()
        reader.close()


def _said(told: Indexed) -> str:
    said = [f"{plural(told.indexed, 'record')} indexed"]
    if told.too_large:
        said.append(f"{plural(told.too_large, 'record')} too large for it")
    if told.unreadable:
        said.append(f"{plural(told.unreadable, 'record')} cannot be read")
    return ", ".join(said)


def _wait() -> None:
    time.sleep(POLL_S)
