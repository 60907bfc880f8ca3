"""`flowtap ls`, `show`, `tail`: what the UI shows, for scripts and for reading in a pipe."""

import shutil
import time

import click

from collectors.protocol import LlmProtocol
from store.contract import PAGE, PAGE_CAP, Reader
from store.errors import BadInput
from store.location import open_reader
from store.record import RecordMeta, State
from tui.cli.common import json_line, store_option

POLL_S = 0.1
"""Two microseconds of CPU a look; nobody sees a tenth of a second."""

WIDE = 1_000
"""Columns where nobody said how many: a pipe has no edge."""


@click.command()
@click.option("--key", "key_name", metavar="NAME", help="Only this key's.")
@click.option(
    "--limit", metavar="N", default=str(PAGE), show_default=True, help=f"At most {PAGE_CAP}."
)
@click.option("--before", metavar="ID", help="Only records older than this one.")
@click.option("--pinned", is_flag=True, help="Only pinned records (flowtap pin).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line (docs/json.md).")
@click.option("--reveal", is_flag=True, help="Do not mask a key in the path.")
@store_option
def ls(
    key_name: str | None,
    limit: str,
    before: str | None,
    pinned: bool,
    as_json: bool,
    reveal: bool,
    store: str | None,
) -> None:
    """List records, newest first."""
    count = _limit(limit)
    reader = open_reader(store)
    try:
        key_id = None if key_name is None else reader.key(key_name).id
        printer = _Printer(reader, as_json=as_json, reveal=reveal)
        for meta in reader.records(key_id=key_id, before=before, limit=count, pinned=pinned):
            printer.row(meta)
    finally:
        reader.close()


@click.command()
@click.argument("record_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (docs/json.md).")
@click.option("--reveal", is_flag=True, help="Show secrets.")
@click.option(
    "--protocol",
    type=click.Choice([str(protocol) for protocol in LlmProtocol]),
    help="Fold as this protocol instead of the one detected.",
)
@store_option
def show(
    record_id: str, as_json: bool, reveal: bool, protocol: str | None, store: str | None
) -> None:
    """Show one record: heads, bodies, and its stream folded into the final message."""
    reader = open_reader(store)
    try:
        record = reader.get(record_id)
        if record is None:
            raise BadInput(f"No record {record_id}: unknown, expired, or of a key that is off.")
        if as_json:
            from tui.record_json import record_json

            value = record_json(
                record,
                _names(reader),
                reveal=reveal,
                protocol=None if protocol is None else LlmProtocol(protocol),
            )
            click.echo(json_line(value))
        else:
            from tui.record_text import record_lines

            chosen = None if protocol is None else LlmProtocol(protocol)
            for line in record_lines(record, reveal=reveal, protocol=chosen):
                click.echo(line)
    finally:
        reader.close()


@click.command()
@click.option("--key", "key_name", metavar="NAME", help="Only this key's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line (docs/json.md).")
@click.option(
    "--live", is_flag=True, help="Also print a record when it begins and its head is known."
)
@click.option(
    "--count", metavar="N", type=click.IntRange(min=1), help="Stop after this many lines."
)
@store_option
def tail(
    key_name: str | None, as_json: bool, live: bool, count: int | None, store: str | None
) -> None:
    """Print records as they end, until ctrl-c."""
    reader = open_reader(store)
    try:
        key_id = None if key_name is None else reader.key(key_name).id
        printer = _Printer(reader, as_json=as_json, reveal=False)
        # Where following starts is taken before anything else is read: nothing falls between.
        seq = reader.last_seq()
        version = -1
        while count is None or printer.printed < count:
            now = reader.version()
            if now == version:
                time.sleep(POLL_S)
                continue
            version = now
            while news := reader.news(seq, key_id=key_id):
                for meta in news:
                    seq = meta.seq
                    if (live or meta.state is State.DONE) and printer.printed != count:
                        printer.row(meta)
    finally:
        reader.close()


class _Printer:
    """Prints rows one way or the other."""

    def __init__(self, reader: Reader, *, as_json: bool, reveal: bool) -> None:
        self._reader = reader
        self._json = as_json
        self._reveal = reveal
        self._width = shutil.get_terminal_size((WIDE, 24)).columns
        self.printed = 0

    def row(self, meta: RecordMeta) -> None:
        self.printed += 1
        if self._json:
            from tui.record_json import meta_json

            names = _names(self._reader)
            line = json_line(meta_json(meta, names, reveal=self._reveal))
        else:
            from tui.record_text import row_text

            now_ms = time.time_ns() // 1_000_000
            line = row_text(meta, now_ms, self._width, reveal=self._reveal)
        click.echo(line)


def _names(reader: Reader) -> dict[str, str]:
    return {key.id: key.name for key in reader.keys()}


def _limit(text: str) -> int:
    digits = text.lstrip("0")
    if not (digits and text.isascii() and text.isdigit()):
        raise BadInput(f"--limit takes a whole number from 1 to {PAGE_CAP}, got {text!r}.")
    # Python refuses to read thousands of digits; the store caps what is left.
    return int(digits[:9])
