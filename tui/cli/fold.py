"""`flowtap fold`: raw stream bodies from files or stdin into their final messages, one JSON line a file."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from collectors.framing import EventReader
from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol, sniff
from collectors.registry import fold as fold_events
from collectors.registry import fold_body
from store.errors import BadInput
from tui.record_json import outcome_json

STDIN = "-"


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--protocol",
    type=click.Choice([str(protocol) for protocol in LlmProtocol]),
    help="The protocol, where its events should not tell.",
)
def fold(files: tuple[str, ...], protocol: str | None) -> None:
    """Fold raw stream bodies into their final messages.

    FILE is a body as it was on the wire (SSE, JSON array, JSON lines, or one JSON message), a
    folder of such files, or - for stdin. Prints one line a file:
    {"file", "protocol", "outcome": {"result", "error", "truncated", "warnings"}}.
    """
    chosen = None if protocol is None else LlmProtocol(protocol)
    # Every name is looked at before the first line is printed.
    for path in list(_files(files)):
        click.echo(json.dumps(folded(path, _read(path), chosen)))


def folded(name: str, body: bytes, protocol: LlmProtocol | None) -> dict[str, Any]:
    """One body's line."""
    reader = EventReader(None)
    events = [*reader.feed(0, body), *reader.close()]
    protocol = protocol or sniff(events) or sniff(body)
    if events and protocol is not None:
        outcome = fold_events(protocol, events)
    elif events:
        outcome = Outcome(
            None, "the events are of no known protocol; name it with --protocol", True
        )
    else:
        outcome = fold_body(protocol, body)
    return {
        "file": name,
        "protocol": None if protocol is None else str(protocol),
        "outcome": outcome_json(outcome),
    }


def _files(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        path = Path(name)
        if name == STDIN:
            yield name
        elif path.is_dir():
            yield from sorted(str(file) for file in path.rglob("*") if file.is_file())
        elif path.exists():
            yield name
        else:
            raise BadInput(f"No file {name}.")


def _read(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as exc:
        raise BadInput(f"{name} cannot be read: {exc.strerror}.") from exc
