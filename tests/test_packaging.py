"""What the distribution promises: its short import names are its own, its pins name no address."""

import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PIN = r"[A-Za-z0-9_.\-]+==[\w.+!]+( ; python_version (<|>=) \"3\.\d+\")?"


@pytest.mark.parametrize("name", ["addon", "collectors", "store", "tui"])
def test_no_other_distribution_owns_the_name(name: str) -> None:
    """flowtap is an application with an environment of its own; a clash would shadow one of us."""
    assert {"flowtap"} == set(packages_distributions().get(name, ["flowtap"]))


def test_constraints_are_plain_pins() -> None:
    """Versions only: an address would tie every checkout to one registry."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert lines
    assert [] == [line for line in lines if not re.fullmatch(PIN, line)]


def test_every_dependency_is_pinned() -> None:
    """What pyproject asks for is in constraints.txt, so that two machines run the same."""
    text = (ROOT / "pyproject.toml").read_text()
    wanted = re.findall(r'^    "([a-z0-9\-]+)[><=~]', text, re.MULTILINE)
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }

    assert wanted
    assert set() == set(wanted) - pinned - {"hatchling"}
