"""What several commands share: the store option in the middle of a line, and asking before deleting."""

import sys
from collections.abc import Callable

import click

from store.errors import BadInput


def store_option[F: Callable[..., object]](command: F) -> F:
    """`--store DIR` after the command as well as before it."""

    def remember(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
        return value or ctx.obj

    return click.option("--store", metavar="DIR", callback=remember, help="The store to use.")(
        command
    )


def confirm(warning: str, *, yes: bool) -> None:
    """Ask before deleting; without a terminal to ask on, BadInput unless `--yes` was given."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{warning} Give --yes to go on without being asked.")
    click.echo(warning, err=True)
    click.confirm("Go on?", abort=True, err=True)
