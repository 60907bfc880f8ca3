"""`flowtap stats` on the stage's store."""

import json
import re

import pytest

from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import EXCHANGES, HOSTILE, Stage
from tests.tui.cli.test_json_page import check, section
from tui.cli.root import COMMANDS


def told(flowtap: Flowtap, stage: Stage, *args: str) -> dict[str, object]:
    ran = flowtap("stats", "--json", *args, store=stage.root)
    assert (0, "", 1) == (ran.status, ran.err, len(ran.lines))
    found = json.loads(ran.out)
    assert isinstance(found, dict)
    return found


def test_as_json(flowtap: Flowtap, stage: Stage) -> None:
    """docs/json.md, both ways."""
    values = [
        told(flowtap, stage),
        told(flowtap, stage, "--by", "model", "--by", "day", "--since", "3650d"),
        told(flowtap, stage, "--by", "client", "--key", "work"),
    ]
    check(values, section("Usage"))
    whole = values[0]["total"]
    assert isinstance(whole, dict)
    assert len(EXCHANGES) == whole["requests"]
    assert 1 == whole["live"]
    assert whole["errors"] == sum(whole["verdicts"].values()) - whole["verdicts"]["complete"]
    assert [whole] == [value["total"] for value in values[1:2]]


def test_the_words_of_by_are_on_the_page(flowtap: Flowtap, stage: Stage) -> None:
    by = ("key", "model", "day", "client")
    value = told(flowtap, stage, *(word for name in by for word in ("--by", name)))
    assert list(by) == value["by"]
    groups = value["groups"]
    assert isinstance(groups, list)
    assert all(set(by) <= group.keys() for group in groups)


def test_as_text(flowtap: Flowtap, stage: Stage) -> None:
    ran = flowtap("stats", "--by", "model", store=stage.root)
    assert (0, "") == (ran.status, ran.err)
    assert "claude-test-1" in ran.out
    assert ran.lines[0].startswith("model ")
    assert not set(HOSTILE) & set(ran.out)
    assert re.search(rf"^records +{len(EXCHANGES)}, 1 in flight$", ran.out, re.MULTILINE)


def test_since(flowtap: Flowtap, stage: Stage) -> None:
    ran = flowtap("stats", "--since", "1s", store=stage.root)
    assert (0, "No records.") == (ran.status, ran.lines[0])


def test_a_key_that_is_off(flowtap: Flowtap, stage: Stage) -> None:
    assert "No records." == flowtap("stats", "--key", "idle", store=stage.root).lines[0]


@pytest.mark.parametrize("word", ["req", "hit", "ratio", "ttft", "wire, kept"])
def test_the_help_says_what_the_columns_mean(flowtap: Flowtap, word: str) -> None:
    assert word in flowtap("stats", "--help").out
    assert "stats" in COMMANDS
