"""What is left of a crash: one line on the terminal, a file for the report, no value of any variable.

Textual's own report prints the local variables of each frame; here those are captured API
keys. The traceback goes to a file of mode 0600, frames and source lines only. The error's
message may quote captured text, so it stays in that file, escaped.
"""

import os
import traceback
from pathlib import Path

from tui.safe_text import escape

CRASH_FILE = "crash.txt"


def report(error: BaseException) -> str:
    """The traceback as text fit for a terminal: frames, source lines, messages, no locals."""
    lines = "".join(traceback.TracebackException.from_exception(error).format()).split("\n")
    return "\n".join(escape(line) for line in lines)


def write_crash_file(error: BaseException, folder: Path) -> Path | None:
    """The report's file in `folder`, replacing the last one; None if it cannot be written."""
    path = folder / CRASH_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made anew: an old file could have a wider mode, or be a link to somewhere else.
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(report(error))
    except OSError:
        return None
    return path


def crash_line(error: BaseException, path: Path | None) -> str:
    """The one line the terminal gets: the error's class, never its message."""
    where = f"details in {path}" if path else "its details could not be written"
    return f"flowtap stopped on an unexpected {type(error).__name__}; {where}"
