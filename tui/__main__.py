"""The command `flowtap`: hands the arguments to click and turns every failure into one line.

Nothing heavy is imported here: what a command needs comes in when it is called, since the
first paint of the terminal UI waits for this module.
"""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence

import click

from store.errors import StoreError
from tui.cli.root import cli

CRASHED = 1
BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for bad input, 130 after ctrl-c, 1 after a bug of ours."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A locale without the characters must not end a command half way.
        sys.stdout.reconfigure(errors="backslashreplace")
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
    except (BrokenPipeError, SystemExit):
        # The reader of our output has had enough (`| head`); click makes a SystemExit of it,
        # and nothing else exits here. Python would complain once more while flushing at exit.
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as exc:
        # What is left: our own output (a full disk behind `>`), a file that vanished.
        _drop_output()
        where = f"{exc.filename}: " if exc.filename else ""
        return _refuse(f"{where}{exc.strerror or exc}.")
    except Exception as exc:
        return _crashed(exc)
    return result if isinstance(result, int) else 0


def _refuse(message: str) -> int:
    from tui.safe_text import escape

    line = escape(" ".join(message.split()))
    with contextlib.suppress(OSError):
        click.echo(f"flowtap: {line}", err=True)
    return BAD_INPUT


def _crashed(error: Exception) -> int:
    """A traceback on the terminal could quote captured text and keys: a file of mode 0600 has it."""
    import platformdirs

    from tui.crash import crash_line, write_crash_file

    path = write_crash_file(error, platformdirs.user_state_path("flowtap"))
    with contextlib.suppress(OSError):
        click.echo(crash_line(error, path), err=True)
    return CRASHED


def _drop_output() -> None:
    """Send the rest of stdout nowhere. A stand-in without a descriptor has nobody to complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


if __name__ == "__main__":
    sys.exit(main())
