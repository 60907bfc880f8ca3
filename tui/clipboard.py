"""Copying, and the truth about it: "Copied" is said only where something confirmed it.

A terminal's own clipboard sequence (OSC 52) has no answer, and tmux drops it unless told
otherwise; so tools that report come first. No Textual here: the sequence is sent by the caller.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tui.format import size
from tui.safe_text import escape

OSC_52_LIMIT = 74_994
"""Bytes; xterm's limit is 100,000 of base64, and some terminals drop all of a longer one."""

TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Copied:
    """How a copy went."""

    said: str
    """For the user, one line."""
    ok: bool
    """False: nothing was copied, as far as can be told."""
    send: bool = False
    """The caller is to send it to the terminal: no tool took it."""


type Run = Callable[[list[str], bytes], subprocess.CompletedProcess[bytes]]


def _run(command: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - the fixed commands below, no shell
        command, input=data, capture_output=True, timeout=TIMEOUT_S, check=False
    )


def tools(environ: Mapping[str, str], which: Callable[[str], str | None]) -> list[list[str]]:
    """The commands that may work here, the first that reports success counts."""
    found = []
    if environ.get("TMUX") and which("tmux"):
        found.append(["tmux", "load-buffer", "-w", "-"])
    if environ.get("SSH_CONNECTION"):
        # A tool here would fill the clipboard of the far machine.
        return found
    if environ.get("WAYLAND_DISPLAY") and which("wl-copy"):
        found.append(["wl-copy"])
    if environ.get("DISPLAY") and which("xclip"):
        found.append(["xclip", "-selection", "clipboard"])
    for name in ("pbcopy", "clip.exe"):
        if which(name):
            found.append([name])
    return found


def copy(
    text: str,
    environ: Mapping[str, str] = os.environ,
    which: Callable[[str], str | None] = shutil.which,
    run: Run = _run,
) -> Copied:
    """Copy by a tool if one takes it; else say that the terminal is to be asked. May take seconds."""
    data = text.encode("utf-8", "surrogatepass")
    failure = ""
    for command in tools(environ, which):
        try:
            done = run(command, data)
        except (OSError, subprocess.SubprocessError) as error:
            failure = f"{command[0]}: {type(error).__name__}"
            continue
        if done.returncode == 0:
            return Copied(f"Copied {size(len(data))}", True)
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        failure = escape(f"{command[0]}: {said or f'exit {done.returncode}'}")
    if len(data) > OSC_52_LIMIT:
        return Copied(f"Copy failed: {size(len(data))} is too large for the terminal", False)
    note = f" ({failure})" if failure else ""
    return Copied(
        f"Sent {size(len(data))} to the terminal's clipboard (OSC 52, not confirmed){note}",
        True,
        True,
    )
