"""Changing keys from the UI: each dialog by its keys, what it warns of, and what it says when it fails."""

import sqlite3
import threading
from dataclasses import replace

import pytest

from store.errors import StoreUnavailable
from store.key_rules import claim_rule, glob_rule, header_rule
from store.record import Key, KeyRule, Seen
from store.retention import LOWER_WARNING, OFF_WARNING, RANGE_RULE, RULE
from tests.tui.builders import CI, LAPTOP, NOW_MS, OFF, meta
from tests.tui.driving import NARROW, TWO, Driver, opened
from tests.tui.fakes import FakeStore
from tui.screens.keys import KeysScreen

CALLER = Seen(
    "sk-ant-t…0000", "api.anthropic.com", "claude-cli/2.1.197", 12, NOW_MS - 60_000, NOW_MS - 12_000
)
SECRET = "sk-ant-test-0000-typed-by-hand"
DAY = 86_400


def some(*keys: Key) -> FakeStore:
    """Two keys that are on and one that is off, and a caller."""
    store = FakeStore(*(keys or (CI, LAPTOP, OFF)))
    store.seen = [CALLER]
    return store


def keyed(retention_s: int | None) -> FakeStore:
    """One key, with a record of half an hour ago and one of two hours ago."""
    store = some(replace(LAPTOP, retention_s=retention_s))
    if retention_s is not None:
        for number, hours in ((1, 2.0), (2, 0.5)):
            at = NOW_MS - int(hours * 3_600_000)
            store.put(meta(number, started_ms=at, completed_ms=at))
    return store


async def at_key(ui: Driver, key: Key) -> KeysScreen:
    """The Keys screen with the cursor on a key."""
    await ui.press("a")
    screen = ui.app.screen
    assert isinstance(screen, KeysScreen)
    await ui.until(lambda: any(one.id == key.id for one in screen.table.keys))
    screen.table.select(key)
    return screen


async def at_caller(ui: Driver, seen: Seen) -> None:
    """The same on a caller."""
    await ui.press("a")
    screen = ui.app.screen
    assert isinstance(screen, KeysScreen)
    await ui.until(lambda: seen in screen.table.seen)
    screen.table.select(seen)


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


# -- retention ---------------------------------------------------------------------------------


@pytest.mark.check(9)
@pytest.mark.parametrize(
    ("retention_s", "shown"),
    [
        (None, "[Off] 1h  6h  24h  7d  Custom…"),
        (3_600, "Off [1h] 6h  24h  7d  Custom…"),
        (21_600, "Off  1h [6h] 24h  7d  Custom…"),
        (DAY, "Off  1h  6h [24h] 7d  Custom…"),
        (604_800, "Off  1h  6h  24h [7d] Custom…"),
        (45, "[Custom…]|45s"),
        (7_200, "[Custom…]|2h"),
        (1_800, "[Custom…]|30m"),
        (259_200, "[Custom…]|3d"),
        (5_401, "[Custom…]|5401s"),
    ],
)
async def test_the_editor_opens_at_the_preset_or_at_custom(
    retention_s: int | None, shown: str
) -> None:
    async with opened(keyed(retention_s), NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter")
        for text in shown.split("|"):
            await ui.shows(text)


CHANGES: list[tuple[int | None, list[str], int | None, str | None, int]] = [
    # before, keys, after, the warning, records deleted
    (604_800, ["left"] * 4, None, OFF_WARNING, 2),
    (604_800, ["h", "h", "h"], 3_600, LOWER_WARNING, 1),
    (604_800, ["left"], DAY, LOWER_WARNING, 0),
    (3_600, ["right"], 21_600, None, 0),
    (3_600, ["l", "right", "right"], 604_800, None, 0),
    (3_600, [], 3_600, None, 0),
    (None, ["right"] * 3, DAY, None, 0),
    (604_800, ["right", "enter", *"30m"], 1_800, LOWER_WARNING, 1),
    (3_600, [*["right"] * 4, "enter", *"7200"], 7_200, None, 0),
    (45, ["enter", "ctrl+u", *"2 H"], 7_200, None, 0),
]


@pytest.mark.check(10)
@pytest.mark.parametrize(("before", "keys", "after", "warning", "deleted"), CHANGES)
async def test_what_deletes_warns_before_it_is_saved(
    before: int | None, keys: list[str], after: int | None, warning: str | None, deleted: int
) -> None:
    store = keyed(before)
    async with opened(store, TWO) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter", *keys)
        for text in (OFF_WARNING, LOWER_WARNING):
            assert (text in ui.text()) is (text == warning)
        if warning is not None:
            # A second Enter, so that none deletes by being one too many.
            await ui.press("enter")
            await ui.shows("Press ↵ again to save.")
            assert [] == store.changes
        await ui.press("enter")
        await ui.until(lambda: store.changes)
        assert [("set_retention", "laptop", after)] == store.changes
        await ui.shows(f"{deleted} record" if deleted else "laptop: ")
        await ui.until(lambda: isinstance(ui.app.screen, KeysScreen))


async def test_another_choice_must_be_confirmed_anew() -> None:
    store = keyed(604_800)
    async with opened(store, TWO) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter", "left", "enter")
        await ui.shows("Press ↵ again to save.")
        await ui.press("left")
        await ui.hides("Press ↵ again to save.")
        await ui.press("enter")
        await ui.shows("Press ↵ again to save.")
        assert [] == store.changes


@pytest.mark.check(8, 11)
@pytest.mark.parametrize("typed", ["", "soon", "5x", "1h30m", "-5m", "3.5h"])
async def test_a_custom_value_that_is_none_blocks_saving_with_the_rule(typed: str) -> None:
    assert (
        "Retention must be an integer number of seconds, or a value like 30m / 2h / 3d."  # the text
        == RULE
    )
    store = keyed(None)
    async with opened(store, (120, 35)) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter", *["right"] * 5, "enter", *typed, "enter")
        await ui.until(lambda: RULE in _note(ui), RULE)
        assert RULE == _note(ui)
        assert [] == store.changes
        # Mended, it saves.
        await ui.press("ctrl+u", *"30m", "enter")
        await ui.shows("laptop: recorded, kept 30m")


@pytest.mark.check(3, 11)
@pytest.mark.parametrize("typed", ["0", "0d", "315360001", "3651d"])
async def test_a_custom_value_out_of_range_says_the_range_too(typed: str) -> None:
    store = keyed(None)
    async with opened(store, TWO) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter", *["right"] * 5, "enter", *typed, "enter")
        await ui.until(lambda: f"{RULE} {RANGE_RULE}" == _note(ui), RANGE_RULE)
        assert [] == store.changes


def _note(ui: Driver) -> str:
    from textual.widgets import Static

    return str(ui.app.screen.query_one("#dialog-note", Static).content)


async def test_a_click_chooses_a_preset() -> None:
    store = keyed(None)
    async with opened(store, NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter")
        await ui.pilot.click("#retention-preset", offset=(6, 0))
        await ui.shows("[1h]")
        await ui.pilot.click("#retention-preset", offset=(60, 0))
        await ui.press("enter")
        await ui.shows("laptop: recorded, kept 1h")


async def test_the_hints_are_keys_as_well() -> None:
    async with opened(keyed(None), NARROW) as ui:
        await at_key(ui, LAPTOP)
        await ui.press("enter")
        await ui.shows("↵ save   ←/→ choose   esc cancel")
        await ui.press("right")
        await ui.pilot.click("#dialog-keys", offset=(3, 0))
        await ui.shows("laptop: recorded, kept 1h")


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
