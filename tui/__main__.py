"""The command `flowtap`: hands the arguments to click and turns every failure into one line.

Nothing heavy is imported here: what a command needs comes in when it is called, since the
first paint of the terminal UI waits for this module.
"""

import os
import signal
import sys
from collections.abc import Sequence

import click

from store.errors import StoreError
from tui.cli.root import cli

BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for bad input, 130 after ctrl-c."""
    try:
        result = cli.main(args=None if argv is None else list(argv), standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return 0
    except click.ClickException as exc:
        return _refuse(exc.format_message())
    except StoreError as exc:
        return _refuse(str(exc))
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough (`| head`). Python would complain once
        # more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return result if isinstance(result, int) else 0


def _refuse(message: str) -> int:
    line = " ".join(message.split())
    click.echo(f"flowtap: {line}", err=True)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
