"""`flowtap purge` and `rebuild`: upkeep of the store by hand."""

import click

from store.location import open_reader, open_store, store_path
from tui.cli.common import store_option
from tui.format import plural


@click.command()
@click.option("--key", "key_name", metavar="NAME", help="Only this key's.")
@store_option
def purge(key_name: str | None, store: str | None) -> None:
    """Delete what no retention covers any more, now instead of within a minute."""
    reader = open_reader(store)
    try:
        if key_name is not None:
            reader.key(key_name)
    finally:
        reader.close()
    opened = open_store(store)
    try:
        deleted = opened.purge(key_name)
    finally:
        opened.close()
    click.echo(f"{plural(deleted, 'record')} deleted")


@click.command()
@store_option
def rebuild(store: str | None) -> None:
    """Make the index anew from the segments, which are the truth."""
    from store.errors import BadInput
    from store.local import rebuild_store

    root = store_path(store)
    if not (root / "segments").is_dir():
        raise BadInput(f"No store at {root}.")
    click.echo(f"{plural(rebuild_store(root), 'record')} in the index")
