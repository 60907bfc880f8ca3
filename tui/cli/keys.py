"""`flowtap keys`: which keys are recorded and for how long. A secret never comes from the command line."""

import os
import sys

import click

from store.errors import BadInput, StoreUnavailable
from store.location import open_reader, open_store, store_path
from store.record import Key
from store.retention import change_warning, format_retention, parse_retention
from tui.cli.common import confirm, is_terminal, json_line, store_option
from tui.format import plural
from tui.safe_text import escape

OFF = "off"

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object (docs/json.md)."
)


@click.group()
def keys() -> None:
    """Which API keys are recorded, and for how long.

    A key without a retention is off: its traffic passes and nothing is stored.
    """


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line (docs/json.md).")
@store_option
def list_keys(store: str | None, as_json: bool) -> None:
    """Every key with its retention."""
    found = known_keys(store)
    if as_json:
        for key in found:
            click.echo(json_line(key_json(key)))
        return
    if not found:
        click.echo("No keys yet. Opt one in: flowtap keys add NAME --retention 24h", err=True)
        return
    width = max(len(key.name) for key in found)
    for key in found:
        last4 = f"…{key.last4}" if key.last4 else ""
        click.echo(
            f"{escape(key.name):<{width}}  {escape(last4):<5}  {format_retention(key.retention_s)}"
        )


@keys.command()
@click.argument("name")
@click.option(
    "--retention", metavar="TIME", help="45s, 30m, 24h, 7d, or seconds; without it the key is off."
)
@click.option(
    "--env", "variable", metavar="VAR", help="Take the secret from this environment variable."
)
@as_json_option
@store_option
def add(
    name: str, retention: str | None, variable: str | None, as_json: bool, store: str | None
) -> None:
    """Add a key. Its secret is asked for, or read from stdin, or from --env VAR."""
    seconds = _retention(retention) if retention is not None else None
    secret = read_secret(variable)
    opened = open_store(store)
    try:
        key = opened.add_key(name, secret, seconds)
    finally:
        opened.close()
    _say(key, as_json=as_json)


@keys.command("set")
@click.argument("name")
@click.argument("retention", metavar="RETENTION|off")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@as_json_option
@store_option
def set_retention(name: str, retention: str, yes: bool, as_json: bool, store: str | None) -> None:
    """Change a key's retention. Lowering it or switching it off deletes at once."""
    seconds = _retention(retention)
    before = _key(store, name)
    warning = change_warning(before.retention_s, seconds)
    if warning is not None:
        confirm(warning, yes=yes)
    opened = open_store(store)
    try:
        deleted = opened.set_retention(name, seconds)
    finally:
        opened.close()
    _say(_key(store, name), deleted, as_json=as_json)


@keys.command()
@click.argument("name")
@click.argument("new_name")
@as_json_option
@store_option
def rename(name: str, new_name: str, as_json: bool, store: str | None) -> None:
    """Give a key another name; its records stay."""
    _key(store, name)
    opened = open_store(store)
    try:
        key = opened.rename_key(name, new_name)
    finally:
        opened.close()
    _say(key, as_json=as_json)


@keys.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@as_json_option
@store_option
def remove(names: tuple[str, ...], yes: bool, as_json: bool, store: str | None) -> None:
    """Forget keys; their records are deleted first."""
    wanted = dict.fromkeys(names)
    found = {name: _key(store, name) for name in wanted}
    confirm("This immediately deletes the records of " + ", ".join(wanted) + ".", yes=yes)
    opened = open_store(store)
    try:
        for name in wanted:
            deleted = opened.remove_key(name)
            if as_json:
                click.echo(json_line(key_json(found[name]) | {"deleted": deleted}))
            else:
                click.echo(f"{escape(name)}: removed{_deleted(deleted)}")
    finally:
        opened.close()


def key_json(key: Key) -> dict[str, object]:
    """A key as `--json` shows it (docs/json.md)."""
    return {
        "id": key.id,
        "name": key.name,
        "last4": key.last4,
        "retention_s": key.retention_s,
        "created_ms": key.created_ms,
    }


def read_secret(variable: str | None) -> str:
    """A secret from the variable named, a prompt without echo, or stdin where that is no terminal."""
    if variable is not None:
        secret = os.environ.get(variable, "")
        where = f"the environment variable {variable}"
    elif is_terminal():
        secret, where = click.prompt("API key", hide_input=True, err=True), "the prompt"
    elif sys.stdin is None:
        secret, where = "", "stdin, which is closed"
    else:
        try:
            secret, where = sys.stdin.read(), "stdin"
        except UnicodeDecodeError as exc:
            raise BadInput("The secret from stdin is not text.") from exc
    if not secret.strip():
        raise BadInput(f"No secret in {where}.")
    if not secret.isascii():
        # Also what Python makes of bytes that are no text: no header could carry it.
        raise BadInput(f"The secret from {where} has characters no API key has.")
    return secret


def _retention(text: str) -> int | None:
    return None if text.strip().lower() == OFF else parse_retention(text)


def known_keys(store: str | None) -> list[Key]:
    """Every key, by name. No store yet is no keys yet, and looking makes none."""
    try:
        reader = open_reader(store)
    except StoreUnavailable:
        if not (store_path(store) / "keys.db").exists():
            return []
        # The index alone is missing or old: opening mends it, or says what is wrong.
        open_store(store).close()
        reader = open_reader(store)
    try:
        return reader.keys()
    finally:
        reader.close()


def _key(store: str | None, name: str) -> Key:
    """The key of that name, looked up before anything is changed or made."""
    reader = open_reader(store)
    try:
        return reader.key(name)
    finally:
        reader.close()


def _say(key: Key, deleted: int = 0, *, as_json: bool) -> None:
    """What a change came to: the key as it is now, its retention with it."""
    if as_json:
        click.echo(json_line(key_json(key) | {"deleted": deleted}))
    else:
        click.echo(f"{escape(key.name)}: {_state(key)}{_deleted(deleted)}")


def _state(key: Key) -> str:
    if key.retention_s is None:
        return "off, nothing is recorded"
    return f"recorded, kept {format_retention(key.retention_s)}"


def _deleted(count: int) -> str:
    return f"; {plural(count, 'record')} deleted" if count else ""
