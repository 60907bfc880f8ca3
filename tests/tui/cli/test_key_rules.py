"""Keys that go by no secret on the command line: by a rule, or by a caller that was seen."""

import json
from pathlib import Path
from typing import Any

import pytest

from store.location import open_reader
from store.record import KeyKind, KeyRule
from tests.e2e.harness import on_disk
from tests.tui.cli.conftest import Flowtap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def listed(flowtap: Flowtap, root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in flowtap("keys", "list", "--json", store=root).lines]


RULES: list[tuple[str, str, KeyRule, str]] = [
    ("--glob", "sk-ant-oat01-*", KeyRule(KeyKind.GLOB, "", "sk-ant-oat01-*"), "sk-ant-oat01-*"),
    (
        "--header",
        "ChatGPT-Account-Id=12345-*",
        KeyRule(KeyKind.HEADER, "chatgpt-account-id", "12345-*"),
        "header chatgpt-account-id: 12345-*",
    ),
    (
        "--header",
        "x-team= red=blue ",
        KeyRule(KeyKind.HEADER, "x-team", "red=blue"),
        "header x-team: red=blue",
    ),
    (
        "--claim",
        "https://api.openai.com/auth.chatgpt_account_id=12345-*",
        KeyRule(KeyKind.CLAIM, "https://api.openai.com/auth.chatgpt_account_id", "12345-*"),
        "JWT claim https://api.openai.com/auth.chatgpt_account_id = 12345-* (not verified)",
    ),
]


@pytest.mark.parametrize(("option", "given", "rule", "words"), RULES)
def test_a_key_by_a_rule(
    flowtap: Flowtap, root: Path, option: str, given: str, rule: KeyRule, words: str
) -> None:
    """Added off or on, said and listed with what it goes by; stdin is not asked for a secret."""
    stdin = b"sk-ant-test-0000-canary-stdin"
    ran = flowtap("keys", "add", "team", option, given, store=root, stdin=stdin)
    assert (0, "") == (ran.status, ran.err)
    assert ran.out.startswith("team: off, nothing is recorded; ")
    assert ran.out.endswith(f"{words}\n")
    (line,) = flowtap("keys", "list", store=root).lines
    assert line.startswith("team  ")
    assert line.endswith(f"{words}  off")
    (as_json,) = listed(flowtap, root)
    assert (str(rule.kind), {"name": rule.name, "pattern": rule.pattern}, "", None) == (
        as_json["kind"],
        as_json["rule"],
        as_json["last4"],
        as_json["retention_s"],
    )
    reader = open_reader(str(root))
    try:
        assert [(rule.kind, rule)] == [(key.kind, key.rule) for key in reader.keys()]
    finally:
        reader.close()
    assert [] == on_disk(root, stdin)


def test_a_rules_life(flowtap: Flowtap, root: Path) -> None:
    """As any key's: on at once, changed, renamed, removed."""
    add = ("keys", "add", "team", "--header", "x-team=red-*", "--retention", "24h")
    ran = flowtap(*add, store=root)
    assert "team: recorded, kept 1d; header x-team: red-*\n" == ran.out
    assert "team: recorded, kept 7d; header x-team: red-*\n" == (
        flowtap("keys", "set", "team", "7d", store=root).out
    )
    assert "t: recorded, kept 7d; header x-team: red-*\n" == (
        flowtap("keys", "rename", "team", "t", store=root).out
    )
    again = flowtap("keys", "add", "other", "--header", "X-Team=red-*", store=root)
    assert (2, "") == (again.status, again.out)
    assert "'t' goes by this already" in again.err
    assert "t: removed\n" == flowtap("keys", "remove", "t", "--yes", store=root).out
    assert [] == listed(flowtap, root)


def test_the_list_shows_every_kind(flowtap: Flowtap, root: Path) -> None:
    """In columns."""
    flowtap("keys", "add", "a-secret", store=root, stdin=b"sk-ant-test-0000-9Qz1")
    for number, (option, given, _, _) in enumerate(RULES):
        flowtap("keys", "add", f"rule{number}", option, given, store=root)
    lines = flowtap("keys", "list", store=root).lines
    assert 5 == len(lines)
    assert lines[0].startswith("a-secret  secret …9Qz1  ")
    assert 1 == len({line.rindex("off") for line in lines})
    kinds = [key["kind"] for key in listed(flowtap, root)]
    assert ["secret", "glob", "header", "header", "claim"] == kinds


@pytest.mark.parametrize("option", ["--glob", "--seen"])
def test_a_secret_on_the_command_line_is_not_repeated(
    flowtap: Flowtap, root: Path, option: str
) -> None:
    """Nor taken: it is in the shell's history already, and need not be in a log as well."""
    flowtap("keys", "add", "work", store=root, stdin=b"sk-ant-test-0000-9Qz1")
    ran = flowtap("keys", "add", "other", option, "sk-ant-test-0000-canary", store=root)
    assert 2 == ran.status
    assert "canary" not in ran.out + ran.err
    assert [] == on_disk(root, b"canary")


def test_the_help_says_what_a_claim_is(flowtap: Flowtap) -> None:
    text = " ".join(flowtap("keys", "add", "--help").out.split())
    assert "Decoded, not verified" in text
    for option, _, _, _ in RULES:
        assert option in text
