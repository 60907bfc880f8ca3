"""`flowtap pin` and `unpin`: records that stay although their retention passes."""

import time

import click

from store.contract import Reader
from store.errors import BadInput
from store.location import open_reader, open_store
from store.record import RecordMeta
from store.retention import cutoff_ms
from tui.cli.common import confirm, store_option
from tui.format import plural


@click.command()
@click.argument("record_ids", nargs=-1, required=True, metavar="ID…")
@store_option
def pin(record_ids: tuple[str, ...], store: str | None) -> None:
    """Keep records past their retention, and past flowtap_max_size.

    As long as their key is on: switching it off or removing it deletes them too. A record in flight
    may be pinned as well.
    """
    wanted = dict.fromkeys(record_ids)
    reader = open_reader(store)
    try:
        _rows(reader, wanted)
    finally:
        reader.close()
    opened = open_store(store)
    try:
        new = opened.pin(wanted)
    finally:
        opened.close()
    click.echo(f"{plural(new, 'record')} pinned{_others(len(wanted) - new, 'already')}")


@click.command()
@click.argument("record_ids", nargs=-1, required=True, metavar="ID…")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@store_option
def unpin(record_ids: tuple[str, ...], yes: bool, store: str | None) -> None:
    """Let pinned records expire as others do. What is expired already is deleted at once."""
    wanted = dict.fromkeys(record_ids)
    reader = open_reader(store)
    try:
        rows = [row for row in _rows(reader, wanted) if row.pinned]
        expired = _expired(reader, rows)
    finally:
        reader.close()
    if expired:
        told = f"{plural(expired, 'record')} whose retention has passed"
        confirm(f"Unpinning immediately deletes {told}.", yes=yes)
    opened = open_store(store)
    try:
        deleted = opened.unpin(wanted)
    finally:
        opened.close()
    others = _others(len(wanted) - len(rows), "not pinned before")
    gone = f"; {plural(deleted, 'record')} deleted" if deleted else ""
    click.echo(f"{plural(len(rows), 'record')} unpinned{others}{gone}")


def _rows(reader: Reader, record_ids: dict[str, None]) -> list[RecordMeta]:
    """Their rows; BadInput that names the first that is not shown, before anything is changed."""
    rows = []
    for record_id in record_ids:
        row = reader.meta(record_id)
        if row is None:
            raise BadInput(f"No record {record_id}: unknown, expired, or of a key that is off.")
        rows.append(row)
    return rows


def _expired(reader: Reader, rows: list[RecordMeta]) -> int:
    """How many of them are shown for their pin alone."""
    now_ms = time.time_ns() // 1_000_000
    cutoffs = {
        key.id: cutoff_ms(now_ms, key.retention_s)
        for key in reader.keys()
        if key.retention_s is not None
    }
    return sum(
        row.completed_ms is not None and row.completed_ms < cutoffs.get(row.key_id, 0)
        for row in rows
    )


def _others(count: int, what: str) -> str:
    return f", {count} {what}" if count else ""
