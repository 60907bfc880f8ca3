"""Copied is said where a tool confirmed it, and nowhere else."""

import subprocess
from collections.abc import Mapping

import pytest

from tui.clipboard import OSC_52_LIMIT, Copied, copy, tools

type Outcome = int | Exception


@pytest.mark.check(136)
@pytest.mark.parametrize(
    ("environ", "installed", "expected"),
    [
        ({}, {"tmux", "xclip", "wl-copy"}, []),
        ({"TMUX": "/tmp/x"}, {"tmux"}, ["tmux"]),  # noqa: S108
        ({"TMUX": "/tmp/x"}, set(), []),  # noqa: S108
        ({"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}, {"wl-copy", "xclip"}, ["wl-copy", "xclip"]),
        ({}, {"pbcopy"}, ["pbcopy"]),
        ({}, {"clip.exe"}, ["clip.exe"]),
        ({"SSH_CONNECTION": "x", "DISPLAY": ":0"}, {"xclip", "pbcopy"}, []),
        ({"SSH_CONNECTION": "x", "TMUX": "y"}, {"tmux"}, ["tmux"]),
    ],
)
def test_tools(environ: Mapping[str, str], installed: set[str], expected: list[str]) -> None:
    found = tools(environ, lambda name: name if name in installed else None)

    assert expected == [command[0] for command in found]


def copied(text: str, outcomes: dict[str, Outcome]) -> tuple[Copied, list[tuple[str, bytes]]]:
    """A copy on a machine whose tools end as given."""
    ran: list[tuple[str, bytes]] = []

    def run(command: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
        ran.append((command[0], data))
        outcome = outcomes[command[0]]
        if isinstance(outcome, Exception):
            raise outcome
        return subprocess.CompletedProcess(command, outcome, b"", b"no display\x1b[2J\nmore")

    environ = {"TMUX": "x", "DISPLAY": ":0", "WAYLAND_DISPLAY": "w"}
    done = copy(text, environ, lambda name: name if name in outcomes else None, run)
    return done, ran


@pytest.mark.check(136)
def test_a_tool_that_took_it_is_believed() -> None:
    done, ran = copied("é" * 700, {"tmux": 0, "xclip": 0})

    assert Copied("Copied 1.4 KB", True) == done
    assert [("tmux", "é".encode() * 700)] == ran


@pytest.mark.check(136)
def test_the_next_tool_is_tried_and_the_terminal_last_and_never_called_copied() -> None:
    failed: dict[str, Outcome] = {"tmux": subprocess.TimeoutExpired("tmux", 3), "wl-copy": 1}
    done, ran = copied("secret", failed | {"xclip": 0})
    assert "Copied 6 B" == done.said
    assert ["tmux", "wl-copy", "xclip"] == [name for name, _ in ran]

    done, _ = copied("secret", failed)
    assert done.send
    assert "Copied" not in done.said
    assert "OSC 52, not confirmed" in done.said
    assert "wl-copy: no display␛[2J" in done.said


@pytest.mark.check(136)
def test_what_is_too_large_for_the_terminal_is_a_failure() -> None:
    done, _ = copied("x" * (OSC_52_LIMIT + 1), {})

    assert Copied("Copy failed: 73 KB is too large for the terminal", False) == done


def test_a_tool_that_is_not_there_after_all() -> None:
    done, _ = copied("x", {"xclip": FileNotFoundError("xclip")})

    assert done.send
    assert "xclip: FileNotFoundError" in done.said
