"""`flowtap keep`: has running proxies record what their rings hold, after the fact."""

import time

import click

from store.errors import BadInput
from store.key_input import checked_name
from store.location import open_reader, open_store
from store.retention import parse_retention
from tui.cli.callers import fingerprint_of
from tui.cli.common import json_line, store_option
from tui.key_words import kept_words
from tui.record_json import instant
from tui.safe_text import escape

NOBODY_ANSWERED = 1


@click.command()
@click.option(
    "--last",
    metavar="TIME",
    default="5m",
    show_default=True,
    help="What had not ended before that: 90s, 5m, 2h.",
)
@click.option(
    "--retention",
    metavar="TIME",
    default="24h",
    show_default=True,
    help="How long it is then kept; a key that keeps longer goes on doing so.",
)
@click.option(
    "--as",
    "name",
    metavar="NAME",
    default="kept",
    show_default=True,
    help="The key to keep it under; made if it is not there.",
)
@click.option(
    "--seen",
    "caller",
    metavar="FINGERPRINT",
    help="Only this caller's (flowtap keys seen).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object (docs/json.md).")
@store_option
def keep(
    last: str, retention: str, name: str, caller: str | None, as_json: bool, store: str | None
) -> int:
    """Keep what just happened, of keys that are off or unknown.

    A proxy with a ring (flowtap proxy --set flowtap_ring=64m) holds their last exchanges in
    memory, and forgets them unless it is told to record them: now. What is still in flight is
    recorded to its end.

    \b
    Exit status:
      0  something was kept, or the rings held nothing of that time
      1  no proxy could answer: none is running, or none has a ring
      2  bad input
    """
    window_s = _window(last)
    retention_s = parse_retention(retention)
    checked_name(name)
    since_ms = time.time_ns() // 1_000_000 - window_s * 1000
    reader = open_reader(store)
    try:
        fingerprint = None if caller is None else fingerprint_of(reader.seen(), caller)
    finally:
        reader.close()
    opened = open_store(store)
    try:
        kept = opened.keep(name, since_ms, retention_s, fingerprint)
    finally:
        opened.close()
    keeps_s = _retention_of(store, name)
    if as_json:
        click.echo(
            json_line(
                {
                    "key": name,
                    "retention_s": keeps_s,
                    "since_at": instant(since_ms),
                    "kept": kept.records,
                    "answered": kept.answered,
                    "without_ring": kept.without_ring,
                    "silent": kept.silent,
                }
            )
        )
    else:
        text, _ = kept_words(kept, name, keeps_s or retention_s, last.strip())
        click.echo(escape(text), err=not kept.answered)
        if kept.records:
            click.echo(f"See it: flowtap ls --key {escape(name)}", err=True)
    return 0 if kept.answered else NOBODY_ANSWERED


def _window(text: str) -> int:
    try:
        return parse_retention(text)
    except BadInput:
        raise BadInput(f"--last takes a time like 90s, 5m or 2h; got {text!r}.") from None


def _retention_of(store: str | None, name: str) -> int | None:
    """How long that key keeps its records now; None where it is not there."""
    reader = open_reader(store)
    try:
        return next((key.retention_s for key in reader.keys() if key.name == name), None)
    finally:
        reader.close()
