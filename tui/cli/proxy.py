"""`flowtap proxy` and `flowtap run`: the proxy alone, and a command whose traffic goes through it."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from store.errors import BadInput
from store.key_input import checked_name, checked_secret
from store.location import open_store, store_path
from store.record import Key, KeyKind
from store.retention import format_retention, parse_retention
from tui.cli.common import json_line, store_option
from tui.cli.keys import known_keys, read_secret
from tui.client_env import ca_certificate, client_environment, write_bundle
from tui.proxy_process import ProxyProcess, client_address

KEY_NEWS_S = 1.0
"""Within this a running proxy knows of a changed key."""

SECRET_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "OPENAI_API_KEY",
    "CODEX_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "MISTRAL_API_KEY",
    "GROQ_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
)
"""Where clients look for their key; a new key of `flowtap run` is taken from there."""


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]},
    add_help_option=True,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[MITMDUMP ARGS]…")
@click.pass_obj
def proxy(store: str | None, arguments: tuple[str, ...]) -> None:
    """Run stock mitmdump with the recorder loaded, on loopback unless told otherwise.

    Every argument is mitmdump's: `flowtap proxy -p 9000 --mode upstream:http://proxy:3128`.
    """
    command = [sys.executable, "-u", "-P", "-m", "addon"]
    if not any("flowtap_store=" in argument for argument in arguments):
        command += ["--set", f"flowtap_store={store_path(store)}"]
    sys.stdout.flush()
    # The proxy takes this process's place: signals and the exit status are its own.
    os.execv(command[0], [*command, *arguments])  # noqa: S606 - our own interpreter


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--key", "key_name", metavar="NAME", help="Record under this key.")
@click.option("--retention", metavar="TIME", help="Keep its records that long: 30m, 24h, 7d.")
@click.option(
    "--env", "variable", metavar="VAR", help="A new key's secret is in this environment variable."
)
@click.option("--port", type=click.IntRange(0, 65535), help="Where a new proxy listens.")
@click.option("--confdir", default="~/.mitmproxy", show_default=True, help="mitmproxy's folder.")
@click.option(
    "--print-env",
    is_flag=True,
    help="Run nothing; print the variables, as a shell's exports, for the proxy that runs.",
)
@click.option("--json", "as_json", is_flag=True, help="With --print-env: one JSON object.")
@store_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] CMD…")
def run(
    command: tuple[str, ...],
    print_env: bool,
    as_json: bool,
    key_name: str | None,
    retention: str | None,
    variable: str | None,
    port: int | None,
    confdir: str,
    store: str | None,
) -> int:
    """Run CMD with its LLM traffic through the proxy, and return its exit status.

    A proxy is started if none is running, and stopped after CMD. With --key NAME --retention
    24h the key is opted in first; a new key's secret is taken from the environment (the
    variable the client itself reads, or --env VAR).

    For what is started in another way, an editor or a service, instead of CMD:

    \b
    eval "$(flowtap run --print-env)"
    """
    seconds = None if retention is None else parse_retention(retention)
    if seconds is not None and key_name is None:
        raise BadInput("--retention goes with --key NAME.")

    def opting_in() -> bool:
        return key_name is not None and _opt_in(store, key_name, seconds, variable)

    if print_env:
        return _print_environment(store, command, confdir, as_json, opting_in)
    if as_json:
        raise BadInput("--json goes with --print-env.")
    if not command:
        raise click.MissingParameter(param_hint="'[--] CMD…'", param_type="argument")
    executable = shutil.which(command[0])
    if executable is None:
        raise BadInput(f"No command {command[0]}.")
    changed = opting_in()
    root = store_path(store)
    address = client_address(root)
    if address is not None:
        if changed:
            # The command's first call must not be faster than the news of its key.
            time.sleep(KEY_NEWS_S)
        return _run(executable, command, address, confdir, root)
    arguments = ["-q", "--set", f"confdir={confdir}"]
    with ProxyProcess(root, port=port, arguments=arguments) as started:
        return _run(executable, command, started.address, confdir, root)


def _print_environment(
    store: str | None,
    command: tuple[str, ...],
    confdir: str,
    as_json: bool,
    opting_in: Callable[[], bool],
) -> int:
    """The variables for clients that are started in another way, of the proxy that runs.

    One of our own would be gone when they start, so none is started.
    """
    if command:
        raise BadInput("--print-env runs no command.")
    root = store_path(store)
    address = client_address(root)
    if address is None:
        raise BadInput("No proxy is running; start one with: flowtap proxy")
    certificate = ca_certificate(confdir)
    if opting_in():
        # As before a command: what is started next must not be faster than the news of its key.
        time.sleep(KEY_NEWS_S)
    environment = client_environment(address, certificate, write_bundle(root, certificate))
    if as_json:
        click.echo(json_line(environment))
    else:
        for name, value in environment.items():
            click.echo(f"export {name}={shlex.quote(value)}")
    return 0


def _run(executable: str, command: tuple[str, ...], address: str, confdir: str, root: Path) -> int:
    certificate = ca_certificate(confdir)
    environment = os.environ | client_environment(
        address, certificate, write_bundle(root, certificate)
    )
    # ctrl-c reaches the command too; we wait for what it makes of it. A handler, unlike
    # SIG_IGN, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        status = subprocess.call([executable, *command[1:]], env=environment)  # noqa: S603 - the command the user asked for
    except OSError as exc:
        raise BadInput(f"{executable} cannot be run: {exc.strerror}.") from exc
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


def _opt_in(store: str | None, name: str, seconds: int | None, variable: str | None) -> bool:
    """Switch the key on, or make it; True if that changed anything.

    Everything is looked up before anything is made.
    """
    key = {key.name: key for key in known_keys(store)}.get(name)
    if key is None:
        if seconds is None:
            raise BadInput(f"Key {name!r} is new: give it a --retention, like 24h.")
        checked_name(name)
        found = read_secret(variable) if variable else _secret_of_environment()
        secret = checked_secret(found)
    elif key.kind is KeyKind.KEPT:
        raise BadInput(f"Key {name!r} holds what was kept; no traffic is recorded under it.")
    elif seconds is None:
        if key.retention_s is None:
            raise BadInput(f"Key {name!r} is off: give it a --retention, like 24h.")
        return False
    elif key.retention_s == seconds:
        return False
    else:
        _only_raise(key, seconds)
    opened = open_store(store)
    try:
        if key is None:
            opened.add_key(name, secret, seconds)
        else:
            opened.set_retention(name, seconds)
    finally:
        opened.close()
    return True


def _only_raise(key: Key, seconds: int) -> None:
    """Starting a command never deletes records."""
    if key.retention_s is not None and seconds < key.retention_s:
        raise BadInput(
            f"Key {key.name!r} keeps records {format_retention(key.retention_s)};"
            f" lower it with: flowtap keys set {key.name} {format_retention(seconds)}"
        )


def _secret_of_environment() -> str:
    found = {
        os.environ[name].strip(): name
        for name in reversed(SECRET_VARIABLES)
        if os.environ.get(name, "").strip()
    }
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise BadInput(
            "No API key in the environment; say where it is with --env VAR, or add it first:"
            " flowtap keys add NAME"
        )
    names = ", ".join(sorted(found.values()))
    raise BadInput(f"Several API keys in the environment ({names}); choose with --env VAR.")
