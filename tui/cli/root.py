"""The command tree. A table of names, help lines and where each command lives; nothing else is imported."""

import importlib
from dataclasses import dataclass
from typing import ClassVar, override

import click


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, and what the overview says of it without importing it."""

    module: str
    attribute: str
    help: str


COMMANDS: dict[str, Place] = {
    "proxy": Place("tui.cli.proxy", "proxy", "Run mitmdump with the recorder, on loopback."),
    "run": Place("tui.cli.proxy", "run", "Run a command with its LLM traffic through the proxy."),
    "keys": Place("tui.cli.keys", "keys", "Which API keys are recorded, and for how long."),
    "ls": Place("tui.cli.records", "ls", "List records, newest first."),
    "show": Place("tui.cli.records", "show", "Show one record, its stream folded."),
    "tail": Place("tui.cli.records", "tail", "Print records as they end."),
    "search": Place("tui.cli.search", "search", "Find a text in requests and answers."),
    "index": Place("tui.cli.index", "index", "Build an index of texts, for faster searches."),
    "pin": Place("tui.cli.pins", "pin", "Keep records past their retention."),
    "unpin": Place("tui.cli.pins", "unpin", "Let pinned records expire as others do."),
    "verify": Place("tui.cli.verify", "verify", "Hold what is stored against what passed."),
    "keep": Place("tui.cli.keep", "keep", "Keep what a proxy's ring holds of the last minutes."),
    "stats": Place(
        "tui.cli.stats", "stats", "What the records add up to, and what the store takes."
    ),
    "fold": Place("tui.cli.fold", "fold", "Fold raw stream bodies into their final messages."),
    "demo": Place("tui.cli.demo", "demo", "The whole product in one command, no account needed."),
    "purge": Place("tui.cli.upkeep", "purge", "Delete what no retention covers any more, now."),
    "rebuild": Place("tui.cli.upkeep", "rebuild", "Make the index anew from the segments."),
    "doctor": Place("tui.cli.doctor", "doctor", "Check the store and the set-up."),
}


class LazyGroup(click.Group):
    """Commands are imported when they are called; the overview needs none of them."""

    places: ClassVar[dict[str, Place]] = COMMANDS

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.places)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self.places.get(cmd_name)
        if place is None:
            return None
        command = getattr(importlib.import_module(place.module), place.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place.module}:{place.attribute} is no command")
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in self.places.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--store",
    metavar="DIR",
    help="The store (default: FLOWTAP_STORE, else the user's data folder).",
)
@click.option("--key", metavar="NAME", help="Open the UI at this key.")
@click.option("--record", metavar="ID", help="Open the UI at this record.")
@click.option(
    "--proxy/--no-proxy",
    default=None,
    help="Start a proxy with the UI, or do not (default: ask, if none is running).",
)
@click.version_option(package_name="flowtap", message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context, store: str | None, key: str | None, record: str | None, proxy: bool | None
) -> int:
    """Record what LLM clients really send and receive, and see it while it happens.

    Without a command: the terminal UI on the store.
    """
    from tui.cli.common import named_store

    ctx.obj = named_store(store)
    if ctx.invoked_subcommand is not None:
        if key or record or proxy is not None:
            raise click.UsageError(
                "--key, --record and --proxy go with the UI, not with a command."
            )
        return 0
    from tui.cli.ui import open_ui

    return open_ui(store, key, record, proxy)
