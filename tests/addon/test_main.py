"""addon/main.py as mitmproxy runs it, and the arguments `python -m addon` gives mitmdump."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from mitmproxy.addons.script import load_script
from mitmproxy.test import taddons

from addon.__main__ import SCRIPT, mitmdump_arguments
from addon.recorder import Recorder

ADDON = Path(SCRIPT).parent


async def test_loaded_as_mitmproxy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """One recorder under its own name; the folder does not stay on sys.path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with taddons.context():
        module = load_script(SCRIPT)
    assert module is not None
    (recorder,) = module.addons
    assert isinstance(recorder, Recorder)
    assert "flowtap" == recorder.name
    assert str(ADDON) not in sys.path


@pytest.mark.parametrize("where", ["absolute", "relative"])
def test_from_a_checkout_where_nothing_is_importable(where: str, tmp_path: Path) -> None:
    """`mitmdump -s addon/main.py`: the file finds the packages beside it, and leaves no trace
    of its own folder, which would hide modules of other names."""
    script = str(ADDON / "main.py") if where == "absolute" else "addon/main.py"
    program = (
        "import sys; sys.path[:] = [p for p in sys.path if p not in ('', sys.argv[1])]\n"
        "from mitmproxy.addons.script import load_script\n"
        "sys.modules.pop('addon', None)\n"
        "module = load_script(sys.argv[2])\n"
        "print([a.name for a in module.addons], sys.path.count(sys.argv[1]), "
        "any(p.endswith('addon') for p in sys.path))"
    )
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, str(ADDON.parent), script],
        capture_output=True,
        text=True,
        cwd=ADDON.parent,
        check=True,
    )
    assert "['flowtap'] 1 False\n" == ran.stdout


async def test_missing_dependencies_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error, which stops the start: what is missing, in which Python, and what to run."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "store.location", None)
    with taddons.context():
        module = load_script(SCRIPT)
    assert module is not None
    assert [] == module.addons
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert sys.executable in error.message
    assert "pip install -e" in error.message


@pytest.mark.parametrize(
    "given",
    [
        ["-p", "8081"],
        ["--listen-host", "192.0.2.1"],
        ["--mode", "reverse:https://example.test@9000"],
        [],
    ],
)
def test_loopback_unless_told(given: list[str]) -> None:
    """As mitmproxy's weakest setting: its config file and its own options override it."""
    expected = ["-s", SCRIPT, "--set", "listen_host=127.0.0.1", *given]
    assert expected == mitmdump_arguments(given)


@pytest.mark.parametrize("given", [["--set", "listen_host=0.0.0.0"], ["--set=listen_host=0.0.0.0"]])
def test_told(given: list[str]) -> None:
    """The same setting twice is refused by mitmproxy: the user's stands alone."""
    assert ["-s", SCRIPT, *given] == mitmdump_arguments(given)
