"""How far a long command has come: on a terminal alone, on one line of stderr that gives way to others."""

import sys
import time

import click

from tui.format import plural, thousands

PROGRESS_S = 0.1


class Progress:
    """`1,204 of 5,000 records`."""

    def __init__(self, noun: str = "record") -> None:
        self._noun = noun
        self._next = time.monotonic() + PROGRESS_S
        self._shown = False
        self._on = sys.stderr is not None and sys.stderr.isatty()

    def at(self, done: int, total: int) -> None:
        """So many of so many."""
        self.say(f"{thousands(done)} of {plural(total, self._noun)}")

    def say(self, text: str) -> None:
        """What is being done, if it takes long enough to be told; plain text."""
        now = time.monotonic()
        if self._on and now >= self._next:
            self._next = now + PROGRESS_S
            self._shown = True
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)

    def clear(self) -> None:
        """Make room for a line."""
        if self._shown:
            self._shown = False
            click.echo("\r\x1b[K", err=True, nl=False)
