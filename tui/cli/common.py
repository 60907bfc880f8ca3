"""What several commands share: the store option in the middle of a line, asking before deleting, files, JSON lines."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from store.errors import BadInput
from store.retention import parse_retention


def store_option[F: Callable[..., object]](command: F) -> F:
    """`--store DIR` after the command as well as before it."""

    def remember(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
        inherited: str | None = ctx.obj
        return inherited if value is None else named_store(value)

    return click.option("--store", metavar="DIR", callback=remember, help="The store to use.")(
        command
    )


def named_store(value: str | None) -> str | None:
    """What `--store` was given; BadInput for "", which an unset shell variable makes, and which
    must not mean the default store."""
    if value is not None and not value.strip():
        raise BadInput("--store is empty; leave it out for the default store.")
    return value


def is_terminal() -> bool:
    """Whether there is somebody to ask: stdin may also be closed, which Python shows as None."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(warning: str, *, yes: bool) -> None:
    """Ask before deleting; without a terminal to ask on, BadInput unless `--yes` was given."""
    if yes:
        return
    if not is_terminal():
        raise BadInput(f"{warning} Give --yes to go on without being asked.")
    click.echo(warning, err=True)
    if not click.confirm("Go on?", err=True):
        raise BadInput("Nothing was changed.")


def window_s(option: str, text: str) -> int:
    """The seconds of a time like `24h` given with `option`; BadInput where it is none."""
    try:
        return parse_retention(text)
    except BadInput:
        raise BadInput(f"{option} takes a time like 90m, 24h or 7d; got {text!r}.") from None


STDIN = "-"
"""What names stdin where a file is asked for."""


def read_input(name: str) -> bytes:
    """All of a file, or of stdin; BadInput where it cannot be read."""
    if name == STDIN:
        # Closed, stdin is None: that is an empty body.
        return b"" if sys.stdin is None else sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as exc:
        raise BadInput(f"{name} cannot be read: {exc.strerror}.") from exc


def json_line(value: Any) -> str:
    """`value` as strict JSON in ASCII on one line: no control character, no NaN, nothing a terminal acts on."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    """Numbers JSON has no word for as text; `1e999` in a body reads as infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
