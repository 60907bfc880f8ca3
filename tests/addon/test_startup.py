"""What the start-up line does to a command line, and all that it leaves alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from addon import _startup
from addon._startup import MAIN, is_tool, rewritten

OURS = str(Path(MAIN).parent)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-s", "addon"], ["-s", MAIN]),
        (["-saddon"], ["-s" + MAIN]),
        (["--scripts", "addon"], ["--scripts", MAIN]),
        (["--scripts=addon"], ["--scripts=" + MAIN]),
        (["-s", OURS], ["-s", MAIN]),
        (["-s", OURS + "/"], ["-s", MAIN]),
        (["-s", f" '{OURS}' "], ["-s", MAIN]),
        (["-q", "-s", "addon", "-p", "0"], ["-q", "-s", MAIN, "-p", "0"]),
        (["-s", "other.py", "-s", "addon"], ["-s", "other.py", "-s", MAIN]),
        # left alone
        ([], []),
        (["-s"], ["-s"]),
        (["-s", "addon.py"], ["-s", "addon.py"]),
        (["-s", "addon/main.py"], ["-s", "addon/main.py"]),
        (["-s", "-s", "addon"], ["-s", "-s", "addon"]),
        (["-w", "addon"], ["-w", "addon"]),
        (["--set", "scripts=addon"], ["--set", "scripts=addon"]),
        (["--server", "addon"], ["--server", "addon"]),
        (["addon"], ["addon"]),
        (["--", "-s", "addon"], ["--", "-s", "addon"]),
        (["~s addon"], ["~s addon"]),
    ],
)
def test_rewritten(
    arguments: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory that has nothing named addon."""
    monkeypatch.chdir(tmp_path)
    assert expected == list(rewritten(arguments))


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_what_is_there_is_meant(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or a foreign folder named addon stands for itself."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "addon")
    assert ["-s", "addon"] == list(rewritten(["-s", "addon"]))


def test_a_checkout_means_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout, `-s addon` is the checkout's, whatever is installed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "addon").mkdir()
    for name in ("main.py", "_startup.py"):
        (tmp_path / "addon" / name).touch()
    assert ["-s", "addon/main.py"] == list(rewritten(["-s", "addon"]))
    assert ["-s", "addon/main.py"] == list(rewritten(["-s", "addon/"]))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/usr/bin/mitmdump", True),
        ("mitmproxy", True),
        ("mitmweb.exe", True),
        ("/home/mitmdump/pytest", False),
        ("mitmdump.py", False),
        ("-c", False),
        ("", False),
    ],
)
def test_is_tool(program: str, expected: bool) -> None:
    """By the program's name alone."""
    assert expected is is_tool(program)


def test_the_line_imports_nothing_elsewhere() -> None:
    """The .pth line in a plain interpreter: nothing of ours, nothing new."""
    line = (Path(_startup.__file__).with_name("startup.pth")).read_text()
    assert 1 == line.count("\n")
    assert line.startswith("import sys")
    program = (
        "import sys; sys.argv[:] = ['/bin/tool', '-s', 'addon']; before = set(sys.modules)\n"
        f"exec({line!r})\n"
        "print(sorted(set(sys.modules) - before), sys.argv)"
    )
    ran = subprocess.run(  # noqa: S603
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True
    )
    assert "[] ['/bin/tool', '-s', 'addon']\n" == ran.stdout
