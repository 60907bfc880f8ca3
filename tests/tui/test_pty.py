"""What really goes to the terminal, byte by byte: only a pty shows it, Pilot and pictures cannot."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.tui.builders import SECRET
from tests.tui.hostile_app import ATTACKS
from tui.safe_text import is_safe

ROOT = Path(__file__).parents[2]

TEXTUAL = re.compile(
    # What Textual's driver and compositor write, and nothing else.
    r"\x1b\[[0-9;]*m"  # SGR; the payload's own are told by their parameters
    r"|\x1b\[[0-9;]*[HJK]"
    r"|\x1b\[\?[0-9;]+(?:[hl]|\$p)"
    r"|\x1b\[[<>=]?[0-9;]*u"
    r"|\x1b\[[0-9;]*[tcnq]"
    r"|\x1b\[\?u"
    r"|\x1b\[[0-9]*[ABCDGX]"
    r"|\x1b\]22;[a-z-]*\x07"  # the pointer's shape
    r"|\x1b\]0;flowtap\x07"
    r"|\x1b\]52;c;[A-Za-z0-9+/=]*\x07"  # copying, on purpose, what was escaped or not
    r"|\x1b[78=>]"
    r"|[\r\n]"
)


def run_in_pty(kind: str, folder: Path) -> tuple[str, int]:
    """All that the app wrote, and its exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 35, 120, 0, 0))
    environ = {
        **{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX")},
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "TEXTUAL_ANIMATIONS": "none",
        "SSH_CONNECTION": "no clipboard tool of this machine",
    }
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tests.tui.hostile_app", kind, str(folder)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env=environ,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        written = bytearray()
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 0.2)[0]:
                if process.poll() is not None:
                    break
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            written += data
        else:
            process.kill()
        status = process.wait(10)
    os.close(ours)
    return written.decode("utf-8", "surrogateescape"), status


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a tour through hostile records wrote."""
    written, status = run_in_pty("attack", tmp_path_factory.mktemp("attack"))
    assert 0 == status, written[-3000:]
    return written


@pytest.mark.parametrize("attack", ATTACKS[:-2])
def test_no_attack_reaches_the_terminal(attacked: str, attack: str) -> None:
    assert attack not in attacked


def test_without_textuals_own_sequences_nothing_a_terminal_acts_on_is_left(attacked: str) -> None:
    rest = TEXTUAL.sub("", attacked)
    odd = sorted({repr(rest[max(0, at - 8) : at + 24]) for at in _unsafe(rest)})

    assert [] == odd[:10]


def _unsafe(text: str) -> list[int]:
    return [at for at, char in enumerate(text) if not is_safe(char)]


def test_the_tour_saw_the_attacks(attacked: str) -> None:
    """Else the two tests above would pass on an empty screen."""
    plain = TEXTUAL.sub("", attacked)

    for seen in ("␛]52;c;ZXZpbA==␛\\", "\\x9b38;5;199;5m", "\\u202e", "[@click=app.quit]x[/]"):
        assert seen in plain
    for seen in ("How long to keep", "Another name for", "Remove ", "Record ", "Keep the last"):
        assert seen in plain
    for seen in ("REQUEST HEADERS", "RESPONSE BODY", "half page down", "all keys", "API KEYS"):
        assert seen in plain


def test_a_crash_is_one_line_and_a_private_file(tmp_path: Path) -> None:
    written, status = run_in_pty("crash", tmp_path)
    after = TEXTUAL.sub("", written.rpartition("\x1b[?1049l")[2]).strip()

    assert 1 == status
    assert after.startswith("flowtap stopped on an unexpected RuntimeError; details in ")
    assert SECRET not in written
    assert "header_value" not in written
    assert "PWNED" not in after
    report = (tmp_path / "crash.txt").read_text()
    assert "in bug" in report
    assert "\x1b" not in report
