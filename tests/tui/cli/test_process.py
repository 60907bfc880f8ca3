"""What only a process of its own shows: what is imported, what happens at exit, with pipes and locales."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.cli.stage import SECRET, Stage

HEAVY = ("sqlite_utils", "ulid", "mitmproxy", "textual", "addon", "cryptography", "httpx")
"""None of these is needed to look: with them a command starts in seconds, not in tenths."""


def flowtap(stage: Stage, *args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "tui", *args],
        env={**os.environ, "FLOWTAP_STORE": str(stage.root), **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def commands(stage: Stage) -> dict[str, list[str]]:
    record = stage.ids["stream"]
    return {
        "help": ["--help"],
        "version": ["--version"],
        "ls": ["ls"],
        "ls --json": ["ls", "--json"],
        "show": ["show", record],
        "show --json": ["show", record, "--json"],
        "fold": ["fold", "/dev/null"],
        "verify": ["verify", "--all"],
        "keys list": ["keys", "list"],
        "keys seen": ["keys", "seen"],
    }


@pytest.mark.parametrize(
    "name",
    [
        "help",
        "version",
        "ls",
        "ls --json",
        "show",
        "show --json",
        "fold",
        "verify",
        "keys list",
        "keys seen",
    ],
)
def test_looking_imports_nothing_heavy(stage: Stage, name: str) -> None:
    script = (
        "import json, sys\n"
        "from tui.__main__ import main\n"
        f"main({commands(stage)[name]!r})\n"
        "print(file=sys.stderr)\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script],
        env={**os.environ, "FLOWTAP_STORE": str(stage.root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 0 == ran.returncode, ran.stderr
    imported = json.loads(ran.stderr.splitlines()[-1])
    assert [] == [module for module in imported if module.split(".")[0] in HEAVY]


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_that_has_had_enough(stage: Stage, flags: list[str]) -> None:
    """`flowtap ls --json | head -1`: quiet, and no complaint at exit either."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tui", "ls", *flags],
        env={**os.environ, "FLOWTAP_STORE": str(stage.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    # Closed before a byte is written: every write fails.
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (141, b"") == (process.wait(60), err)


def test_a_shells_pipe(stage: Stage) -> None:
    """The real thing."""
    ran = subprocess.run(  # noqa: S602
        f"{sys.executable} -m tui ls --json | head -1",
        shell=True,
        env={**os.environ, "FLOWTAP_STORE": str(stage.root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "" == ran.stderr
    assert stage.ids["live"] == json.loads(ran.stdout)["id"]


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=["C", "latin-1", "ascii"],
)
def test_a_terminal_that_cannot_show_it(stage: Stage, environment: dict[str, str]) -> None:
    """No locale makes a command fail: what it has no character for becomes an escape."""
    for args in (["ls"], ["show", stage.ids["hostile"]], ["keys", "list"], ["keys", "set"]):
        ran = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "tui", *args],
            env={**os.environ, "FLOWTAP_STORE": str(stage.root), **environment},
            capture_output=True,
            timeout=60,
        )
        assert b"Traceback" not in ran.stderr
        assert b"unexpected" not in ran.stderr
        assert (2 if args == ["keys", "set"] else 0) == ran.returncode
        assert b"\x1b" not in ran.stdout
        assert SECRET.encode() not in ran.stdout


def test_the_console_script(stage: Stage) -> None:
    """`flowtap` as installed is the same command."""
    script = Path(sys.executable).with_name("flowtap")
    if not script.exists():
        pytest.skip("flowtap is not installed beside this Python")

    def run(*args: str) -> "subprocess.CompletedProcess[str]":
        # os.environ spelled out: readline, which pytest loads, puts COLUMNS behind its back.
        return subprocess.run(  # noqa: S603
            [str(script), *args],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=60,
        )

    ids = [line.split()[0] for line in run("--store", str(stage.root), "ls").stdout.splitlines()]
    assert list(reversed(stage.ids.values())) == ids
    ran = run("frobnicate")
    assert (2, "") == (ran.returncode, ran.stdout)
    assert "flowtap: No such command 'frobnicate'.\n" == ran.stderr


def test_help_names_every_command_and_each_has_its_own(stage: Stage) -> None:
    """The overview is written beside the commands, not from them: it must not fall behind."""
    from tui.cli.root import COMMANDS, cli

    overview = flowtap(stage, "--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in overview
        ran = flowtap(stage, name, "--help")
        assert (0, "") == (ran.returncode, ran.stderr), name
        assert "Usage:" in ran.stdout
    assert set(COMMANDS) == set(cli.list_commands(None))  # type: ignore[arg-type]


def test_without_a_command_or_a_terminal(stage: Stage) -> None:
    ran = flowtap(stage)
    assert (2, "") == (ran.returncode, ran.stdout)
    assert "flowtap ls, flowtap show, flowtap tail" in ran.stderr


def test_a_group_without_a_command_shows_its_help(stage: Stage) -> None:
    ran = flowtap(stage, "keys")
    assert "Usage:" in ran.stdout
    assert (0, "") == (ran.returncode, ran.stderr)
