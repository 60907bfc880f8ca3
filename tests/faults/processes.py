"""Starting and ending the processes that the fault tests harm."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).parents[2]


@contextmanager
def python(
    *arguments: str | Path,
    before: Sequence[str] = (),
    standard_input: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """A Python process of this environment, killed at the end if it still runs."""
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        [*before, sys.executable, *map(str, arguments)],
        cwd=REPO,
        stdin=subprocess.PIPE if standard_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill(process)
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """`kill -9` for it and what it started (strace runs it as a child)."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


def wait_for_line(process: subprocess.Popen[str], wanted: str) -> None:
    """Until it says so; the test fails with its complaints if it ends before."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.strip() == wanted:
            return
    raise AssertionError(f"it ended ({process.wait()}): {process.stderr.read()}")
