"""`flowtap keys`: which keys are recorded and for how long. A secret never comes from the command line."""

import os
import sys
import time
from collections.abc import Iterable

import click

from store.errors import BadInput, StoreUnavailable
from store.key_input import checked_name, checked_secret
from store.key_rules import claim_rule, describe, glob_rule, header_rule
from store.location import open_reader, open_store, store_path
from store.record import Key, KeyRule, Seen
from store.retention import change_warning, format_retention, parse_retention, with_pinned
from tui.cli.callers import fingerprint_of
from tui.cli.common import confirm, is_terminal, json_line, store_option
from tui.format import age, plural
from tui.key_words import match_words, state_words
from tui.record_json import instant
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
    rows = [(escape(key.name), escape(match_words(key))) for key in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for key, (name, match) in zip(found, rows, strict=True):
        click.echo(
            f"{name:<{widths[0]}}  {match:<{widths[1]}}  {format_retention(key.retention_s)}"
        )


@keys.command()
@click.argument("name")
@click.option(
    "--retention", metavar="TIME", help="45s, 30m, 24h, 7d, or seconds; without it the key is off."
)
@click.option(
    "--env", "variable", metavar="VAR", help="Take the secret from this environment variable."
)
@click.option(
    "--glob",
    "globs",
    metavar="PATTERN",
    multiple=True,
    help="Credentials of that form: 'sk-ant-oat01-*'.",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=PATTERN",
    multiple=True,
    help="Requests with that header: 'chatgpt-account-id=1234-*'.",
)
@click.option(
    "--claim",
    "claims",
    metavar="PATH=PATTERN",
    multiple=True,
    help="JSON Web Tokens with that claim: 'sub=user-*'. Decoded, not verified: who can send can"
    " claim.",
)
@click.option(
    "--seen",
    "callers",
    metavar="FINGERPRINT",
    multiple=True,
    help="The credential of a call that passed (flowtap keys seen).",
)
@as_json_option
@store_option
def add(
    name: str,
    retention: str | None,
    variable: str | None,
    globs: tuple[str, ...],
    headers: tuple[str, ...],
    claims: tuple[str, ...],
    callers: tuple[str, ...],
    as_json: bool,
    store: str | None,
) -> None:
    """Add a key: by its secret, or by what stays the same where tokens rotate.

    The secret is asked for, or read from stdin, or from --env VAR; it is never an argument. Or
    instead of a secret one of --glob, --header, --claim and --seen. In a PATTERN * is any text and
    ? any character, over the whole value. A key that has the secret itself decides over these.
    """
    given = (*globs, *headers, *claims, *callers, *((variable,) if variable is not None else ()))
    if len(given) > 1:
        raise BadInput("A key goes by one of --env, --glob, --header, --claim and --seen.")
    # All of it is looked at before a store is made for it.
    checked_name(name)
    seconds = _retention(retention) if retention is not None else None
    rule = _rule(globs, headers, claims)
    fingerprint = _seen_fingerprint(store, callers[0]) if callers else None
    secret = "" if rule or fingerprint else checked_secret(read_secret(variable))
    opened = open_store(store)
    try:
        if rule is not None:
            key = opened.add_rule(name, rule, seconds)
        elif fingerprint is not None:
            key = opened.add_seen(name, fingerprint, seconds)
        else:
            key = opened.add_key(name, secret, seconds)
    finally:
        opened.close()
    _say(key, as_json=as_json)


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line (docs/json.md).")
@store_option
def seen(store: str | None, as_json: bool) -> None:
    """Who sent LLM calls that no key that is on matches, the latest first.

    The calls are counted, and nothing of them is kept. Opt one in with flowtap keys add NAME
    --seen FINGERPRINT --retention 24h, or switch its key on where it has one.
    """
    found, names = _callers(store)
    if as_json:
        for caller in found:
            click.echo(json_line(seen_json(caller, names)))
        return
    if not found:
        click.echo("No unmatched call has passed.", err=True)
        return
    for line in _caller_lines(found, names):
        click.echo(line)
    if any(caller.key_id is None and caller.fingerprint for caller in found):
        click.echo("Opt one in: flowtap keys add NAME --seen FINGERPRINT --retention 24h", err=True)
    if any(caller.key_id for caller in found):
        click.echo("Switch a key on: flowtap keys set NAME 24h", err=True)


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
    warning = change_warning(before.retention_s, seconds, _pinned(store, [before]))
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
    warning = "This immediately deletes the records of " + ", ".join(wanted) + "."
    confirm(with_pinned(warning, _pinned(store, found.values())), yes=yes)
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
        "kind": str(key.kind),
        "rule": None if key.rule is None else {"name": key.rule.name, "pattern": key.rule.pattern},
    }


def seen_json(caller: Seen, names: dict[str, str]) -> dict[str, object]:
    """A caller as `--json` shows it (docs/json.md); `names` of keys by their ids."""
    return {
        "fingerprint": caller.fingerprint,
        "host": caller.host,
        "client": caller.client,
        "count": caller.count,
        "first_at": instant(caller.first_ms),
        "last_at": instant(caller.last_ms),
        "key": None if caller.key_id is None else names.get(caller.key_id),
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


def _rule(
    globs: tuple[str, ...], headers: tuple[str, ...], claims: tuple[str, ...]
) -> KeyRule | None:
    """The rule that was given, if one was."""
    for pattern in globs:
        return glob_rule(pattern)
    for text in headers:
        name, equals, pattern = text.partition("=")
        if not equals:
            raise BadInput("--header takes NAME=PATTERN, like chatgpt-account-id=1234-*")
        return header_rule(name, pattern)
    for text in claims:
        path, equals, pattern = text.partition("=")
        if not equals:
            raise BadInput("--claim takes PATH=PATTERN, like sub=user-*")
        return claim_rule(path, pattern)
    return None


def _seen_fingerprint(store: str | None, text: str) -> str:
    reader = open_reader(store)
    try:
        return fingerprint_of(reader.seen(), text)
    finally:
        reader.close()


def _callers(store: str | None) -> tuple[list[Seen], dict[str, str]]:
    """Callers, and the names of keys by their ids. No store yet is nobody yet."""
    if not known_keys(store) and not (store_path(store) / "keys.db").exists():
        return [], {}
    reader = open_reader(store)
    try:
        return reader.seen(), {key.id: key.name for key in reader.keys()}
    finally:
        reader.close()


def _caller_lines(found: list[Seen], names: dict[str, str]) -> list[str]:
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (
            caller.fingerprint or "no credential",
            escape(caller.host),
            escape(caller.client or "unknown client"),
            plural(caller.count, "call"),
            age(caller.last_ms, now_ms),
            "" if caller.key_id is None else escape(f"{names.get(caller.key_id, '')} (off)"),
        )
        for caller in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


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


def _pinned(store: str | None, keys: Iterable[Key]) -> int:
    """How many records of these keys are pinned."""
    reader = open_reader(store)
    try:
        return sum(reader.pinned(key.id) for key in keys)
    finally:
        reader.close()


def _say(key: Key, deleted: int = 0, *, as_json: bool) -> None:
    """What a change came to: the key as it is now, its retention with it."""
    if as_json:
        click.echo(json_line(key_json(key) | {"deleted": deleted}))
    else:
        # What a key goes by is said where it is not its secret, and that a claim is not verified.
        rule = "" if key.rule is None else f"; {describe(key.rule)}"
        click.echo(escape(f"{key.name}: {state_words(key)}{rule}{_deleted(deleted)}"))


def _deleted(count: int) -> str:
    return f"; {plural(count, 'record')} deleted" if count else ""
