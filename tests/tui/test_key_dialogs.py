"""Changing keys from the UI: each dialog by its keys, what it warns of, and what it says when it fails."""

import sqlite3
import threading
from dataclasses import replace

import pytest

from store.errors import StoreUnavailable
from store.key_rules import claim_rule, glob_rule, header_rule
from store.record import KeyRule
from store.retention import RULE
from tests.tui.builders import CI, LAPTOP, OFF
from tests.tui.driving import NARROW, TWO, opened
from tests.tui.key_scenes import CALLER, DAY, at_caller, at_key, keyed, some
from tui.screens.keys import KeysScreen

SECRET = "sk-ant-test-0000-typed-by-hand"


# -- adding ------------------------------------------------------------------------------------


async def test_a_key_is_added_by_its_secret_which_is_not_shown() -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        await ui.press("a", "a")
        await ui.shows("Add a key")
        await ui.shows("Only a keyed hash of the secret is stored.")
        await ui.press(*"work", "enter", *SECRET, "enter")
        assert SECRET not in ui.text()
        assert "typed" not in ui.text()
        await ui.shows("↵ add")
        await ui.press("enter")
        await ui.shows("work: recorded, kept 1d")
        await ui.shows("3 of 4 keys on")
        assert [("add_key", "work", SECRET, DAY)] == store.changes
        # The list's selector has it too.
        await ui.press("escape", "ctrl+k")
        await ui.shows("work (hand)")


async def test_a_secret_is_given_to_no_clipboard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(some(), NARROW) as ui:
        copied: list[str] = []
        monkeypatch.setattr(type(ui.app), "copy_to_clipboard", lambda _, text: copied.append(text))
        await ui.press("a", "a", "tab", *"sk-x", "ctrl+shift+a", "ctrl+c", "ctrl+x")
        assert [] == copied


@pytest.mark.parametrize(
    ("steps", "typed", "rule", "label"),
    [
        (1, [*"sk-ant-oat01-*", "enter"], glob_rule("sk-ant-oat01-*"), "under one prefix"),
        (
            2,
            [*"ChatGPT-Account-Id", "enter", *"1234-*", "enter"],
            header_rule("chatgpt-account-id", "1234-*"),
            "By a header that says whose request it is",
        ),
        (3, [*"sub", "enter", *"user-*", "enter"], claim_rule("sub", "user-*"), "not verified"),
    ],
)
async def test_a_key_is_added_by_a_rule(
    steps: int, typed: list[str], rule: KeyRule, label: str
) -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        await ui.press("a", "a", "up", *["right"] * steps)
        await ui.shows(label)
        await ui.press("down", *"team", "enter", *typed, "left", "enter")
        await ui.shows("team: recorded, kept 6h")
        assert [("add_rule", "team", rule, 21_600)] == store.changes


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["enter", "enter", "enter"], "Give the key a name."),
        ([*"x", "enter", "enter", "enter"], "Give the API key itself; it is not shown."),
        ([*"x", "enter", *"sk-é", "enter", "enter"], "The secret has characters no API key has."),
        (["up", "right", "down", *"x", "enter", "enter", "enter"], "A credential's glob is empty."),
        (
            ["up", "right", "down", *"x", "enter", *"sk-*", "enter", "enter"],
            "A credential's glob would match nearly anything",
        ),
        (
            ["up", "l", "l", "down", *"x", "enter", *"authorization", "enter", "enter", "enter"],
            "The header authorization carries a secret",
        ),
        ([*"x", "enter", *"sk-x", "enter", *["right"] * 2, *["enter"] * 2], RULE[:50]),
    ],
)
async def test_what_is_missing_or_wrong_is_said_and_nothing_is_done(
    keys: list[str], said: str
) -> None:
    store = some()
    async with opened(store, TWO) as ui:
        await ui.press("a", "a", *keys)
        await ui.shows(said)
        assert [] == store.changes
        await ui.press("escape")
        await ui.hides(said)
        assert [] == store.changes


async def test_a_caller_that_was_seen_is_opted_in() -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        await at_caller(ui, CALLER)
        await ui.press("enter")
        await ui.shows("Record sk-ant-t…0000 from now on")
        await ui.shows("api.anthropic.com  claude-cli/2.1.197  12 calls seen")
        # Its client's name is offered, and typing takes its place.
        assert "claude-cli" in next(line for line in ui.lines() if "│ name" in line)
        await ui.press(*"agent", "enter", "right", "enter")
        await ui.shows("agent: recorded, kept 7d")
        await ui.shows("Nobody: no LLM call without a recorded key has passed.")
        assert [("add_seen", "agent", "sk-ant-t…0000", 604_800)] == store.changes


async def test_an_enter_too_many_goes_neither_back_nor_on() -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        await at_caller(ui, CALLER)
        await ui.press("enter", *"agent")
        # As a held key does: the second one comes before the first has moved the focus.
        ui.app.simulate_key("enter")
        ui.app.simulate_key("enter")
        await ui.shows("↵ add")
        await ui.press("right", "enter")
        await ui.shows("agent: recorded, kept 7d")


async def test_a_caller_whose_key_is_off_is_switched_on() -> None:
    store = some()
    seen = replace(CALLER, key_id=OFF.id)
    store.seen = [seen]
    async with opened(store, NARROW) as ui:
        await at_caller(ui, seen)
        await ui.press("enter")
        await ui.shows("How long to keep the records of old")
        await ui.shows("[24h]")
        await ui.press("enter")
        await ui.shows("old: recorded, kept 1d")
        assert [("set_retention", "old", DAY)] == store.changes


async def test_a_caller_without_a_credential_cannot_be_told_apart() -> None:
    store = some()
    seen = replace(CALLER, fingerprint=None)
    store.seen = [seen]
    async with opened(store, NARROW) as ui:
        await at_caller(ui, seen)
        await ui.press("enter")
        await ui.shows("That caller sent no credential to know it by")
        assert isinstance(ui.app.screen, KeysScreen)


@pytest.mark.check(113)
async def test_the_empty_list_names_the_callers_and_a_number_opts_one_in() -> None:
    store = some(OFF)
    other = replace(CALLER, fingerprint="AIza-tes…0001", host="googleapis.com", client=None)
    store.seen = [CALLER, other, *(replace(CALLER, host=f"h{n}") for n in range(4))]
    async with opened(store, NARROW) as ui:
        await ui.shows("press a caller's number to record it")
        await ui.shows("press 1      12s ago   sk-ant-t…0000  api.anthropic.com  claude-cli/2.1.")
        await ui.shows("press 2      12s ago   AIza-tes…0001  googleapis.com")
        await ui.shows("press 4")
        await ui.shows("2 more: a")
        await ui.press("2")
        await ui.shows("Record AIza-tes…0001 from now on")
        await ui.press(*"gemini", "enter", "enter")
        await ui.shows("gemini: recorded, kept 1d")
        await ui.shows("1 of 2 keys opted in")
        assert [("add_seen", "gemini", "AIza-tes…0001", DAY)] == store.changes


async def test_a_number_without_a_caller_does_nothing() -> None:
    store = some(OFF)
    async with opened(store, NARROW) as ui:
        await ui.shows("press 1")
        await ui.press("4")
        assert ui.main is ui.app.screen


# -- the other changes -------------------------------------------------------------------------


async def test_a_key_is_renamed() -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        screen = await at_key(ui, LAPTOP)
        await ui.press("n")
        await ui.shows("Another name for laptop")
        await ui.press(*"desk", "enter")
        await ui.shows("laptop is now desk")
        await ui.until(lambda: getattr(screen.table.current, "name", "") == "desk")
        await ui.press("n", "ctrl+u", "enter")
        await ui.shows("Give the key a name.")
        assert [("rename_key", "laptop", "desk")] == store.changes


async def test_what_expired_is_purged() -> None:
    store = keyed(3_600)
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("p")
        await ui.shows("laptop: 1 record purged (retention 1h)")
        await ui.press("p")
        await ui.shows("laptop: nothing has expired")


async def test_a_key_is_removed_after_a_warning_and_a_yes() -> None:
    store = keyed(604_800)
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("D")
        await ui.shows("This immediately deletes the records of laptop.")
        await ui.press("enter")  # No stands first
        await ui.hides("This immediately")
        assert [] == store.changes
        await ui.press("delete", "right")
        await ui.shows("[Yes, remove]")
        await ui.press("enter")
        await ui.shows("laptop: removed, 2 records deleted")
        await ui.shows("0 of 0 keys on")
        assert [("remove_key", "laptop")] == store.changes


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreUnavailable("/x/keys.db: database is locked."), "/x/keys.db: database is locked."),
        (StoreUnavailable("two\nlines\x1b]0;x\x07"), "two lines␛]0;x␇"),
        (PermissionError(13, "Permission denied", "/x"), "[Errno 13] Permission denied: '/x'"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
    ],
)
async def test_an_error_is_one_line_and_nothing_typed_is_lost(error: Exception, said: str) -> None:
    store = some()
    store.refusal = error
    async with opened(store, NARROW) as ui:
        await ui.press("a", "a", *"work", "enter", *"sk-x", "enter", "enter")
        await ui.shows(said)
        assert "Add a key" in ui.text()
        store.refusal = None
        await ui.press("enter")
        await ui.shows("work: recorded, kept 1d")
        assert [("add_key", "work", "sk-x", DAY)] == store.changes


async def test_a_name_that_is_taken_is_said_in_the_dialog() -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("n", *"ci", "enter")
        await ui.shows("There is already a key named 'ci'.")
        await ui.press("backspace", "backspace", *"desk", "enter")
        await ui.shows("laptop is now desk")


@pytest.mark.parametrize(
    "keys", [["enter", "right", "enter"], ["n", "x", "enter"], ["D", "right", "enter"], ["p"]]
)
async def test_a_key_that_another_process_removed_meanwhile_is_said(keys: list[str]) -> None:
    store = some(replace(LAPTOP, retention_s=3_600), CI)
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        *first, last = keys
        await ui.press(*first)
        with store.lock:
            store.keys = [CI]  # the screen has not seen it yet
            await ui.press(last)
        await ui.shows("laptop is no longer there: another process removed it.")
        assert [] == store.changes


async def test_a_key_goes_by_its_id_where_another_process_took_its_name() -> None:
    other = replace(CI, name="laptop")
    store = keyed(604_800)
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("D", "right")
        store.keys = [replace(LAPTOP, name="mine"), other]
        await ui.press("enter")
        await ui.shows("mine: removed, 2 records deleted")
        assert [other] == store.keys


@pytest.mark.check(10)
async def test_what_turned_into_deleting_meanwhile_is_not_done_unwarned() -> None:
    store = keyed(3_600)
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter", "right")  # 1h to 6h warns of nothing
        store.keys = [replace(LAPTOP, retention_s=604_800)]
        await ui.press("enter")
        await ui.shows("laptop was set to 7d meanwhile; nothing was changed. Look again.")
        assert [] == store.changes


async def test_a_dialog_that_was_left_says_later_what_came_of_it() -> None:
    store = keyed(604_800)
    store.gate = threading.Event()
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("D", "right", "enter")
        await ui.shows("Working…")
        await ui.press("enter", "enter")  # nothing is done twice
        await ui.press("escape")
        await ui.hides("Working…")
        store.gate.set()
        await ui.shows("laptop: removed, 2 records deleted")
        assert [("remove_key", "laptop")] == store.changes


async def test_an_error_after_the_dialog_was_left_is_said_too() -> None:
    store = keyed(604_800)
    store.gate = threading.Event()
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("n", *"ci", "enter", "escape")
        store.keys.append(CI)
        store.gate.set()
        await ui.shows("There is already a key named 'ci'.")
