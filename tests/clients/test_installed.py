"""What the clients are installed from, and what is said where they cannot be."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.clients import installed
from tests.clients.clients import CLIENTS
from tests.clients.installed import HERE, PACKAGES, REQUIREMENTS, Missing, once, run

EXACT = re.compile(r"\d+\.\d+\.\d+")


def test_every_version_is_pinned_and_no_registry_is_named() -> None:
    """Versions alone: an address, as a lock file has them, would tie every checkout to one registry."""
    lines = REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [] == [line for line in pins if not re.fullmatch(r"[A-Za-z0-9_.\-]+==[\w.+!]+", line)]
    found = json.loads(PACKAGES.read_text())
    versions = [*found["dependencies"].values(), *found["optionalDependencies"].values()]
    assert [] == [version for version in versions if not EXACT.fullmatch(version)]
    assert {"name", "description", "private", "dependencies", "optionalDependencies"} == set(found)
    assert [] == list(HERE.rglob("*lock*"))


def test_every_package_of_a_client_is_among_them() -> None:
    """Its version on the page is the one that is installed."""
    for client in CLIENTS:
        kind = client.package.partition(":")[0]
        assert (kind in ("pip", "npm")) == (client.pinned() is not None)
    node = {v for k, v in installed.pinned_node().items() if k.startswith("node-")}
    assert 1 == len(node)


def test_installed_once_and_again_when_a_pin_changes(tmp_path: Path) -> None:
    """And again where the last time did not come to its end."""
    done: list[str] = []

    def install() -> None:
        (tmp_path / "there").mkdir(exist_ok=True)
        done.append("x")

    def fail() -> None:
        install()
        raise Missing("no network")

    (tmp_path / "there").mkdir()
    for wanted, count in (("a==1", 1), ("a==1", 1), ("a==2", 2)):
        once(tmp_path / "there", wanted, install)
        assert count == len(done)
    with pytest.raises(Missing):
        once(tmp_path / "there", "a==3", fail)
    once(tmp_path / "there", "a==2", install)
    assert 4 == len(done)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/absent/npm", "install"], "npm: .*No such file"),
        (
            [sys.executable, "-c", "import sys; sys.exit('no network\\n\\n')"],
            "python.* failed: no network",
        ),
        ([sys.executable, "-m", "absent_0"], "^absent_0 failed: .*No module named"),
        ([sys.executable, "-c", "import sys; sys.exit(3)"], "failed: exit status 3"),
    ],
)
def test_what_fails_says_why(command: list[str], said: str) -> None:
    """In one line: a test's reason to skip."""
    with pytest.raises(Missing, match=said) as caught:
        run(command)
    assert "\n" not in str(caught.value)


def test_a_failure_is_told_to_all_who_ask_and_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no network waits for it once, not for each client."""
    tried: list[int] = []

    def install() -> Path:
        tried.append(1)
        raise Missing("npm is not installed")

    monkeypatch.setattr(installed, "FOLDER", tmp_path / "clients")
    for _ in range(2):
        with pytest.raises(Missing, match="npm is not installed"):
            installed.told(install)
    assert [1] == tried


def test_the_ordinary_run_collects_no_client() -> None:
    """They are asked for by name: `python -m tests.clients`."""
    assert ["every_client.py"] == [
        path.name for path in HERE.glob("*client*.py") if path.name != "clients.py"
    ]
    assert not any(path.name.startswith("test_") for path in (HERE / "programs").iterdir())
