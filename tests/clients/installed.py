"""The clients themselves, in .clients at the root: installed when they are first asked for, of the pinned versions.

Python's go into an environment of their own, Node's under node_modules with the Node they run on.
Where that cannot be done (no npm, no network) `Missing` says why, and the tests of those skip.
"""

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".clients"
REQUIREMENTS = HERE / "requirements.txt"
PACKAGES = HERE / "package.json"
PROGRAMS = HERE / "programs"
STAMP = "installed"
INSTALL_S = 420.0
"""A gigabyte of packages takes one minute on a fast line."""

NODE_LIKE = (22, 21)
"""Since then Node's fetch knows NODE_USE_ENV_PROXY; on 24 since its first."""


class Missing(Exception):
    """A client that is not there, and why."""


def run(command: Sequence[str], *, cwd: Path | None = None) -> str:
    """What it printed; Missing with its last words if it failed."""
    name = command[2] if "-m" in command[1:2] else Path(command[0]).name
    try:
        ran = subprocess.run(  # noqa: S603 - our own commands
            command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Missing(f"{name}: {exc}") from exc
    if ran.returncode:
        said = [line for line in (ran.stderr + ran.stdout).splitlines() if line.strip()]
        last = said[-1] if said else f"exit status {ran.returncode}"
        raise Missing(f"{name} failed: {last}")
    return ran.stdout


def once(folder: Path, wanted: str, install: Callable[[], None]) -> None:
    """Install unless that is what is there; whole or not at all."""
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    install()
    stamp.write_text(wanted)


def python_programs() -> Path:
    """The folder with a `python` that has the Python clients; Missing."""
    return told(_python)


def node_programs() -> Path:
    """The folder with `node`, `claude`, `codex` and `gemini`; Missing."""
    return told(_node)


def system_programs(name: str) -> Path:
    """The folder of a program of this machine's own; Missing."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed")
    return Path(found).parent


def told(install: Callable[[], Path]) -> Path:
    """What was found; a failure is told again to each who asks, and not tried again."""
    found = _tried(install)
    if isinstance(found, Missing):
        raise found
    return found


@functools.cache
def _tried(install: Callable[[], Path]) -> Path | Missing:
    FOLDER.mkdir(exist_ok=True)
    try:
        return install()
    except Missing as missing:
        return missing


def _python() -> Path:
    venv = FOLDER / "venv"
    python = str(venv / "bin" / "python")

    def install() -> None:
        run([sys.executable, "-m", "venv", "--clear", str(venv)])
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--requirement", str(REQUIREMENTS)])

    once(venv, f"{sys.version}\n{REQUIREMENTS.read_text()}", install)
    return venv / "bin"


def _node() -> Path:
    modules = FOLDER / "node_modules"
    programs = modules / ".bin"

    def install() -> None:
        npm = shutil.which("npm")
        if npm is None:
            raise Missing("npm is not installed")
        shutil.copy(PACKAGES, FOLDER / "package.json")
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        # No script of any package is run, but for the one Claude Code cannot do without: it puts
        # the binary that came with it in its place.
        exact = ["--no-package-lock", "--ignore-scripts", "--engine-strict=false"]
        run([npm, "install", "--prefix", str(FOLDER), *quiet, *exact])
        setup = modules / "@anthropic-ai" / "claude-code" / "install.cjs"
        run([_node_program(programs), str(setup)], cwd=setup.parent)

    # Modules are looked for beside the program, so the programs lie beside the modules.
    shutil.copytree(PROGRAMS, FOLDER / PROGRAMS.name, dirs_exist_ok=True)
    once(modules, PACKAGES.read_text(), install)
    found = run([_node_program(programs), "--version"])
    version = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
    if version < NODE_LIKE:
        raise Missing(f"Node {found.strip()} cannot be told of a proxy: 22.21 is the first")
    return programs


def _node_program(programs: Path) -> str:
    """Node as it came with the packages; the system's where there is none for this platform."""
    ours = programs / "node"
    found = str(ours) if ours.exists() else shutil.which("node")
    if found is None:
        raise Missing("node is not installed")
    return found


# -- versions -------------------------------------------------------------------------------------


def pinned_python() -> dict[str, str]:
    """The Python packages' versions, by the names of requirements.txt."""
    lines = REQUIREMENTS.read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def pinned_node() -> dict[str, str]:
    """The Node packages' versions."""
    found = json.loads(PACKAGES.read_text())
    versions: dict[str, str] = found["dependencies"] | found["optionalDependencies"]
    return versions
