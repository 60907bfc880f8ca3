"""`flowtap` without a command: the terminal UI, and a proxy with it where one is wanted."""

import sys

import click

from store.errors import BadInput, StoreUnavailable
from store.location import open_reader, store_path
from tui.cli.common import is_terminal
from tui.proxy_process import PORT, ProxyProcess, running_proxy


def open_ui(location: str | None, key: str | None, record: str | None, proxy: bool | None) -> int:
    """Open the UI at `key` and `record`.

    `proxy` True: with a proxy, started if none is running and stopped after the UI; False:
    without; None: ask. Where there is no terminal, `proxy` True runs the proxy alone.
    """
    root = store_path(location)
    if not (is_terminal() and sys.stdout is not None and sys.stdout.isatty()):
        if proxy:
            return _proxy_alone(str(root))
        raise BadInput(
            "The UI needs a terminal; for scripts: flowtap ls, flowtap show, flowtap tail."
        )
    _check_link(location, key, record)
    wanted = proxy is not False and running_proxy(root) is None
    if wanted and proxy is None:
        wanted = click.confirm(
            f"No proxy is running on this store. Start one on 127.0.0.1:{PORT}?", default=True
        )
    if not wanted:
        return _run(location, key, record)
    with ProxyProcess(root):
        return _run(location, key, record)


def _run(location: str | None, key: str | None, record: str | None) -> int:
    from tui.app import run

    return run(location, key=key, record=record)


def _check_link(location: str | None, key: str | None, record: str | None) -> None:
    """A deep link that leads nowhere is said before the screen is taken over."""
    if key is None and record is None:
        return
    reader = open_reader(location)
    try:
        if key is not None:
            reader.key(key)
        if record is not None and reader.meta(record) is None:
            raise BadInput(f"No record {record}: unknown, expired, or of a key that is off.")
    finally:
        reader.close()


def _proxy_alone(root: str) -> int:
    """Without a terminal: the proxy in this process's place, and how to see what it records."""
    import os

    found = running_proxy(store_path(root))
    if found is not None:
        raise StoreUnavailable(f"A proxy is running already on {found.address} (pid {found.pid}).")
    click.echo("No terminal here, so this is the proxy alone. Open the UI elsewhere: flowtap")
    click.echo(f"Store: {root}. Stop with ctrl-c.")
    sys.stdout.flush()
    command = [sys.executable, "-u", "-P", "-m", "addon", "--set", f"flowtap_store={root}"]
    os.execv(command[0], command)  # noqa: S606 - our own interpreter
