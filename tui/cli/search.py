"""`flowtap search`: which records have a text, newest first, printed as they are found."""

import shutil
import sys
import time

import click

from store.fulltext import Fulltext
from store.layout import Layout
from store.location import open_reader, store_path
from store.needle import Needle
from store.search import BOTH, Hit, Where
from store.search import Progress as Scanned
from store.search import search as scan
from tui.cli.common import json_line, store_option, window_s
from tui.cli.progress import Progress
from tui.format import plural, size, thousands

FOUND, NOT_FOUND, INTERRUPTED = 0, 1, 130

WIDE = 1_000
"""Columns where nobody said how many: a pipe has no edge."""


@click.command()
@click.argument("text", metavar="TEXT")
@click.option("--in", "asked", is_flag=True, help="In requests alone.")
@click.option("--out", "answered", is_flag=True, help="In answers alone.")
@click.option("--new", "only_new", is_flag=True, help="Only in the turn that brought it.")
@click.option("--key", "key_name", metavar="NAME", help="Only this key's.")
@click.option("--since", metavar="TIME", help="Only what began within that time: 90m, 24h, 7d.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Stop after this many hits.")
@click.option("--scan", "all_read", is_flag=True, help="Read every record: without the index.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line (docs/json.md).")
@click.option("--reveal", is_flag=True, help="Show secrets.")
@store_option
def search(
    text: str,
    asked: bool,
    answered: bool,
    only_new: bool,
    key_name: str | None,
    since: str | None,
    limit: int | None,
    all_read: bool,
    as_json: bool,
    reveal: bool,
    store: str | None,
) -> int:
    """Find a text in requests and answers, newest first.

    Searched is what a reader sees: prompts, messages, tool calls and their results, streams
    folded; the whole body where that cannot be told. Without a capital letter any case is found.
    Each side of a record is one hit, however often it has the text. ctrl-c stops.

    Where flowtap index has built one, the index tells which records need not be read; a text is
    then found in the turn that brought it, not in each later one that sent it again.

    \b
    Exit status:
      0  found
      1  not found
      2  bad input
    """
    needle = Needle(text)
    since_ms = 0 if since is None else _now_ms() - window_s("--since", since) * 1000
    where = BOTH if asked == answered else (Where.IN,) if asked else (Where.OUT,)
    reader = open_reader(store)
    narrowing = None if all_read else Fulltext(Layout(store_path(store)))
    progress = Progress()
    hits, done, stopped = 0, Scanned(), False
    try:
        key_id = None if key_name is None else reader.key(key_name).id
        names = {key.id: key.name for key in reader.keys()}
        total = reader.counts(key_id).records
        width = shutil.get_terminal_size((WIDE, 24)).columns if sys.stdout.isatty() else WIDE
        for found in scan(
            reader,
            needle,
            where,
            key_id=key_id,
            since_ms=max(since_ms, 0),
            only_new=only_new,
            reveal=reveal,
            narrowing=narrowing,
        ):
            if not isinstance(found, Hit):
                done = found
                progress.say(_so_far(done, total))
                continue
            progress.clear()
            _print(found, names, width, as_json=as_json)
            hits += 1
            if hits == limit:
                break
    except KeyboardInterrupt:
        stopped = True
    finally:
        progress.clear()
        reader.close()
        if narrowing is not None:
            narrowing.close()
    _tell(hits, done, stopped=stopped)
    return INTERRUPTED if stopped else FOUND if hits else NOT_FOUND


def _print(hit: Hit, names: dict[str, str], width: int, *, as_json: bool) -> None:
    from tui.search_text import hit_json, hit_text

    line = json_line(hit_json(hit, names)) if as_json else hit_text(hit, _now_ms(), width)
    click.echo(line)
    # Who reads it in a pipe is not to wait for the next one.
    sys.stdout.flush()


def _so_far(done: Scanned, total: int) -> str:
    return f"{thousands(done.records)} of {plural(total, 'record')}, {size(done.bytes)} read"


def _tell(hits: int, done: Scanned, *, stopped: bool) -> None:
    """What it came to on a terminal; what could not be searched, anywhere."""
    from tui.search_text import summary, unreadable

    if _on_terminal():
        click.echo(summary(hits, done, stopped=stopped), err=True)
    if done.unreadable:
        click.echo(f"flowtap: {unreadable(done.unreadable)}", err=True)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
