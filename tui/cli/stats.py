"""`flowtap stats`: what the records add up to, and what the store takes."""

import shutil
import sys
import time

import click

from store.layout import Layout
from store.location import open_reader, store_path
from store.sizes import measure
from store.usage_reading import read_usage
from store.usage_stats import DIMENSIONS
from tui.cli.common import json_line, store_option, window_s
from tui.cli.progress import Progress

WIDE = 1_000
"""Columns where nobody said how many: a pipe has no edge."""


@click.command()
@click.option("--key", "key_name", metavar="NAME", help="Only this key's.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(DIMENSIONS),
    help="A line for each; may be given several times (default: key).",
)
@click.option("--since", metavar="TIME", help="Only what began within that time: 90m, 24h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (docs/json.md).")
@store_option
def stats(
    key_name: str | None, by: tuple[str, ...], since: str | None, as_json: bool, store: str | None
) -> None:
    """What the records add up to, and what the store takes on the disk.

    \b
    req, err         requests; those that ended otherwise than complete
    in, out          tokens; read, write: of the prompt cache; reason: reasoning
    hit              what share of the input was read from the cache
    wire, kept       bytes of bodies as they passed, and as they are stored
    ratio            how many of the first one of the second stands for
    ttft, p50, ...   time to the first byte (median), and to the end

    On a narrow terminal some columns are left out; --json has all.
    """
    now_ms = time.time_ns() // 1_000_000
    since_ms = None if since is None else now_ms - window_s("--since", since) * 1000
    wanted = list(dict.fromkeys(by)) or ["key"]
    layout = Layout(store_path(store))
    progress = Progress()
    reader = open_reader(store)
    try:
        key_id = None if key_name is None else reader.key(key_name).id
        names = {key.id: key.name for key in reader.keys()}
        added = read_usage(
            reader,
            layout,
            wanted,
            now_ms,
            key_id=key_id,
            since_ms=max(since_ms or 0, 0),
            progress=progress.at,
        )
    finally:
        progress.clear()
        reader.close()
    sizes = measure(layout)
    if as_json:
        from tui.usage_report import usage_json

        click.echo(json_line(usage_json(added, wanted, names, sizes, since_ms)))
        return
    from tui.usage_report import usage_lines

    # A pipe has no edge, whatever the terminal behind it has.
    width = shutil.get_terminal_size((WIDE, 24)).columns if sys.stdout.isatty() else WIDE
    for line in usage_lines(added, wanted, names, sizes, width):
        click.echo(line)
