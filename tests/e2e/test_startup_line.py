"""`mitmdump -s addon` as typed: after an editable install, after a wheel, and not after uninstalling.

One throw-away environment: it sees the packages of the running one through a path line (which
does not run that one's start-up lines), and gets flowtap alone installed by pip.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]


class Environment:
    """A Python environment with mitmproxy's tools and, in turn, ways of having flowtap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.site = Path(
            sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        )
        (self.site / "a_parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
        for tool in ("mitmdump", "mitmweb", "otherdump"):
            file = folder / "bin" / tool
            name = tool if tool.startswith("mitm") else "mitmdump"
            file.write_text(
                f"#!{self.python}\nimport sys\nfrom mitmproxy.tools.main import {name}\n"
                f"sys.exit({name}())\n"
            )
            file.chmod(0o755)

    def pip(self, *arguments: str) -> None:
        """Install or remove, here; skip where no registry is at hand to build with."""
        command = [*PIP, "--python", str(self.python), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
        if ran.returncode and "hatchling" in ran.stdout + ran.stderr:
            pytest.skip("hatchling is neither installed nor to be had from a registry")
        assert 0 == ran.returncode, ran.stdout + ran.stderr

    def options(self, *arguments: str, tool: str = "mitmdump", cwd: Path) -> str:
        """What `mitmdump ... --options` prints: with ours in it if the script was loaded."""
        ran = subprocess.run(  # noqa: S603
            [str(self.folder / "bin" / tool), "--set", f"confdir={cwd}", *arguments, "--options"],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "FLOWTAP_STORE": str(cwd / "store")},
        )
        return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files alone, so that an editable install touches nothing of this checkout."""
    folder = tmp_path_factory.mktemp("checkout") / "flowtap"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    for name in ("addon", "collectors", "store", "tui"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


LOADED = "flowtap_stream_requests"
REFUSED = re.compile("No such script: addon")


def test_before_anything_is_installed(environment: Environment, tmp_path: Path) -> None:
    """The control: stock mitmdump refuses the word."""
    assert REFUSED.search(environment.options("-s", "addon", cwd=tmp_path))


@pytest.mark.parametrize("way", ["editable", "wheel"])
def test_installed(environment: Environment, checkout: Path, tmp_path: Path, way: str) -> None:
    """Every form of the argument, from anywhere and in the checkout; other programs untouched;
    gone without a trace when uninstalled."""
    editable = ["-e"] if way == "editable" else []
    environment.pip("install", "--no-deps", *editable, str(checkout))
    try:
        lines = [file.name for file in environment.site.glob("zz_flowtap_startup.pth")]
        assert ["zz_flowtap_startup.pth"] == lines
        for form in (["-s", "addon"], ["-saddon"], ["--scripts", "addon"], ["--scripts=addon"]):
            assert LOADED in environment.options(*form, cwd=tmp_path), form
        assert LOADED in environment.options("-s", str(checkout / "addon"), cwd=tmp_path)
        assert LOADED in environment.options("-s", "addon", cwd=checkout)
        assert LOADED in environment.options("-s", "addon", tool="mitmweb", cwd=tmp_path)
        assert REFUSED.search(environment.options("-s", "addon", tool="otherdump", cwd=tmp_path))
        (tmp_path / "addon").write_text("raise SystemExit('a file of that name is meant')\n")
        assert LOADED not in environment.options("-s", "addon", cwd=tmp_path)
    finally:
        environment.pip("uninstall", "-y", "flowtap")
    assert [] == list(environment.site.glob("*flowtap*"))
    (tmp_path / "addon").unlink()
    assert REFUSED.search(environment.options("-s", "addon", cwd=tmp_path))


def test_a_checkout_that_is_not_installed(
    environment: Environment, checkout: Path, tmp_path: Path
) -> None:
    """`-s addon/main.py` needs no installation at all, from any directory."""
    assert LOADED in environment.options("-s", "addon/main.py", cwd=checkout)
    assert LOADED in environment.options("-s", str(checkout / "addon/main.py"), cwd=tmp_path)
