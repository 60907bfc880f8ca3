"""`flowtap fold`: raw stream bodies from files or stdin into their final messages, one JSON line a file."""

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
from tui.cli.common import STDIN, json_line, read_input
from tui.record_json import outcome_json


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
    {"file", "protocol", "outcome": {"result", "error", "truncated", "warnings"}}. Where no
    file has anything that can be folded, the exit status is 2.
    """
    chosen = None if protocol is None else LlmProtocol(protocol)
    # Every name is looked at before the first line is printed.
    lost = []
    paths = list(_files(files))
    for path in paths:
        line, told = folded(path, read_input(path), chosen)
        click.echo(json_line(line))
        if line["outcome"]["result"] is None and not told:
            lost.append(f"{path}: {line['outcome']['error']}")
    if len(lost) == len(paths):
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise BadInput(f"Nothing to fold in {lost[0]}{more}.")


def folded(name: str, body: bytes, protocol: LlmProtocol | None) -> tuple[dict[str, Any], bool]:
    """One body's line, and whether the body itself told a protocol."""
    reader = EventReader(None)
    events = [*reader.feed(0, body), *reader.close()]
    told = sniff(events) or sniff(body)
    protocol = protocol or told
    if events and protocol is not None:
        outcome = fold_events(protocol, events)
    elif events:
        outcome = Outcome(
            None, "the events are of no known protocol; name it with --protocol", True
        )
    else:
        outcome = fold_body(protocol, body)
    line = {
        "file": name,
        "protocol": None if protocol is None else str(protocol),
        "outcome": outcome_json(outcome),
    }
    return line, told is not None


def _files(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        path = Path(name)
        if name == STDIN:
            yield name
        elif path.is_dir():
            found = sorted(str(file) for file in path.rglob("*") if file.is_file())
            if not found:
                raise BadInput(f"No file in {name}.")
            yield from found
        elif path.exists():
            yield name
        else:
            raise BadInput(f"No file {name}.")
