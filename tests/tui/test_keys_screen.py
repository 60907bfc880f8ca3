"""The Keys screen: what it shows, every key of it, and the states it is in."""

from dataclasses import replace
from functools import partial

import pytest

from store.errors import StoreUnavailable
from store.key_rules import claim_rule, glob_rule, header_rule
from store.record import Key, KeyKind, Seen
from tests.tui.builders import CI, LAPTOP, NOW_MS, OFF, meta
from tests.tui.driving import NARROW, TWO, Driver, opened
from tests.tui.fakes import PROXY, FakeStore
from tests.tui.hostile_app import ATTACKS, PAYLOAD
from tests.tui.key_scenes import CALLER
from tui.format import DASH
from tui.safe_text import is_safe
from tui.screens.help import bindings_of
from tui.screens.keys import KeysScreen
from tui.widgets.key_table import KeyTable

GOOGLE = Seen(
    "AIza-tes…0001", "generativelanguage.googleapis.com", None, 3, NOW_MS - 60_000, NOW_MS - 20_000
)
NOBODY = Seen(None, "localhost", "curl/8.5.0", 1, NOW_MS - 7_200_000, NOW_MS - 7_200_000)

GLOB = Key("1" * 16, "claude", "", 86_400, NOW_MS, KeyKind.GLOB, glob_rule("sk-ant-oat01-*"))
HEADER = Key(
    "2" * 16, "codex", "", 45, NOW_MS, KeyKind.HEADER, header_rule("chatgpt-account-id", "1234-*")
)
CLAIM = Key("3" * 16, "team", "", 21_600, NOW_MS, KeyKind.CLAIM, claim_rule("sub", "user-*"))
KEPT = Key("4" * 16, "kept", "", 86_400, NOW_MS, KeyKind.KEPT)


def some() -> FakeStore:
    """Keys of every kind, two records, and callers that are not recorded."""
    store = FakeStore(LAPTOP, OFF, GLOB, HEADER, CLAIM, KEPT)
    store.put(meta(1, model="of-laptop"))
    store.put(meta(2, started_ms=NOW_MS - 14_000))
    store.seen = [CALLER, GOOGLE, NOBODY]
    return store


async def keys_of(ui: Driver) -> KeysScreen:
    """The screen, opened."""
    await ui.press("a")
    screen = ui.app.screen
    assert isinstance(screen, KeysScreen)
    return screen


def row_of(ui: Driver, text: str) -> str:
    """The line that has a text, blanks squeezed."""
    return next((" ".join(line.split()) for line in ui.lines() if text in line), "")


def current(screen: KeysScreen) -> Key | Seen | None:
    """What the cursor is on."""
    return screen.table.current


def has_row(ui: Driver, text: str, row: str) -> bool:
    """It reads like that."""
    return row == row_of(ui, text)


# -- what is shown -----------------------------------------------------------------------------


@pytest.mark.check(5, 6)
async def test_keys_and_callers_are_rows_with_their_numbers() -> None:
    async with opened(some(), TWO) as ui:
        await keys_of(ui)
        await ui.shows("API KEYS   5 of 6 keys on   3 callers seen, not recorded")
        for text, row in {
            "laptop": "● laptop secret …9Qz1 7d 2 14s ago",
            "old": f"○ old secret …0ld0 off {DASH} {DASH}",
            "claude ": f"▌● claude credential sk-ant-oat01-* 1d 0 {DASH}",
            "codex": f"● codex header chatgpt-account-id: 1234-* 45s 0 {DASH}",
            "team": f"● team JWT claim sub = user-* (not verified) 6h 0 {DASH}",
            "kept from": f"● kept kept from memory 1d 0 {DASH}",
            "0000": "+ sk-ant-t…0000 api.anthropic.com claude-cli/2.1.197 12 12s ago",
            "0001": "+ AIza-tes…0001 generativelanguage.googleapis.com 3 20s ago",
            "curl": "no credential localhost curl/8.5.0 1 2h ago",
        }.items():
            await ui.until(partial(has_row, ui, text, row), row)


@pytest.mark.check(5)
async def test_what_another_process_changes_is_shown_at_once() -> None:
    store = some()
    async with opened(store, TWO) as ui:
        await keys_of(ui)
        await ui.until(lambda: "2 14s ago" in row_of(ui, "laptop"))
        store.set_keys(replace(LAPTOP, retention_s=None), replace(OFF, retention_s=60))
        await ui.until(
            lambda: row_of(ui, "laptop").endswith(f"laptop secret …9Qz1 off {DASH} {DASH}")
        )
        await ui.until(lambda: "1m 0" in row_of(ui, "old"))
        store.put(meta(3, started_ms=NOW_MS - 3_000, key_id=OFF.id))
        await ui.until(lambda: "1m 1 3s ago" in row_of(ui, "old"), "counted again")
        store.seen = []
        await ui.shows("Nobody: no LLM call without a recorded key has passed.")


async def test_the_cursor_stays_on_its_key_and_on_its_caller() -> None:
    store = some()
    async with opened(store, TWO) as ui:
        screen = await keys_of(ui)
        await ui.press("j", "j", "j")
        assert LAPTOP == current(screen)
        store.set_keys(CI, LAPTOP, OFF)
        await ui.shows("…c1c1")
        assert LAPTOP == current(screen)
        await ui.press("G")
        store.seen = [GOOGLE, NOBODY]
        await ui.hides("sk-ant-t…0000")
        assert NOBODY == current(screen)
        # What it was on is gone: the nearest row.
        store.seen = []
        await ui.hides("curl")
        assert OFF == current(screen)


async def test_keys_move_over_the_rows_and_leave_headings_out() -> None:
    async with opened(some(), TWO) as ui:
        table = (await keys_of(ui)).table
        for keys, current in (
            (["j"], HEADER),
            (["down"], KEPT),
            (["k", "up"], GLOB),
            (["k"], GLOB),
            (["G"], NOBODY),
            (["k", "k"], CALLER),
            (["k"], CLAIM),
            (["g"], GLOB),
            (["end"], NOBODY),
            (["home"], GLOB),
            (["pagedown"], NOBODY),
            (["ctrl+b"], GLOB),
            (["ctrl+f"], NOBODY),
            (["pageup"], GLOB),
            (["ctrl+d"], NOBODY),
            (["ctrl+u"], GLOB),
        ):
            await ui.press(*keys)
            assert current == table.current, keys


async def test_a_click_selects_and_a_second_one_acts() -> None:
    async with opened(some(), TWO) as ui:
        table = (await keys_of(ui)).table
        await ui.pilot.click(table, offset=(10, 4))
        await ui.until(lambda: LAPTOP == table.current)
        await ui.pilot.click(table, offset=(10, 4))
        await ui.shows("How long to keep the records of laptop")
        await ui.press("escape")
        await ui.pilot.click(table, offset=(10, 0))  # a heading
        await ui.pilot.click(table, offset=(10, 9))
        await ui.until(lambda: CALLER == table.current)
        await ui.pilot.click(table, offset=(10, 9))
        await ui.shows("Record sk-ant-t…0000 from now on")


@pytest.mark.parametrize("key", ["escape", "q", "h", "left"])
async def test_back_to_the_list(key: str) -> None:
    async with opened(some(), TWO) as ui:
        await keys_of(ui)
        await ui.press(key)
        await ui.shows("of-laptop")
        assert ui.main is ui.app.screen


async def test_the_keys_open_from_the_detail_and_from_the_empty_list() -> None:
    store = some()
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await ui.shows("REQUEST HEADERS")
        await keys_of(ui)
        await ui.shows("API KEYS")
        await ui.press("escape")
        await ui.shows("REQUEST HEADERS")
    store.rows.clear()
    async with opened(store, NARROW) as ui:
        await ui.shows("a keys")
        await keys_of(ui)
        await ui.shows("API KEYS")


async def test_the_records_of_a_key_are_a_key_away() -> None:
    store = some()
    store.put(meta(3, model="of-claude", key_id=GLOB.id))
    async with opened(store, TWO) as ui:
        await keys_of(ui)
        await ui.press("s")
        await ui.shows("key claude ▾")
        await ui.shows("of-claude")
        await ui.hides("of-laptop")
        # Of a key that is off there are none.
        screen = await keys_of(ui)
        await ui.press("j", "j", "j", "j")
        assert OFF == screen.table.current
        await ui.press("s")
        assert screen is ui.app.screen


async def test_the_keys_offered_are_those_that_act() -> None:
    async with opened(some(), TWO) as ui:
        await keys_of(ui)
        for text in ("↵ retention", "n rename", "D remove", "p purge", "s records", "a add"):
            await ui.shows(text)
        await ui.press("G")
        await ui.shows("↵ record it")
        for text in ("↵ retention", "n rename", "D remove", "p purge", "s records"):
            assert text not in ui.text()
        # Nor do they act unseen.
        await ui.press("n", "p", "D", "s")
        await ui.shows("↵ record it")


async def test_help_lists_every_binding_of_the_screen_and_its_dialogs() -> None:
    async with opened(some(), (120, 150)) as ui:
        for where in ("main", "keys"):
            if where == "keys":
                await keys_of(ui)
            await ui.press("question_mark")
            await ui.shows("KEYS SCREEN (a)")
            shown = ui.text()
            for key, said in [*bindings_of(KeysScreen), *bindings_of(KeyTable)]:
                assert any(key in line and said[:40] in line for line in ui.lines()), key
            for text in ("next field; in the last one: do it", "cancel", "the next choice"):
                assert text in shown
            first = shown.index("KEYS SCREEN") < shown.index("EVERYWHERE")
            assert first is (where == "keys")
            await ui.press("escape")


# -- states ------------------------------------------------------------------------------------


@pytest.mark.check(113)
async def test_no_store_yet_is_said_and_a_key_can_be_added() -> None:
    store = FakeStore()
    store.keys = []
    store.error = StoreUnavailable("No store at /nowhere.")
    async with opened(store, NARROW, ready=False) as ui:
        await ui.shows("No store at /nowhere.")
        await keys_of(ui)
        await ui.shows("✗ STORE: No store at /nowhere. (retrying 1s)")
        await ui.shows("No store yet: adding a key makes it.")
        await ui.press("a", *"new", "enter", *"sk-x", "enter", "enter")
        store.error = None
        await ui.shows("1 of 1 key on")


async def test_without_keys_the_way_to_one_is_said() -> None:
    store = FakeStore()
    store.keys = []
    async with opened(store, NARROW) as ui:
        await keys_of(ui)
        await ui.shows("0 of 0 keys on")
        await ui.shows("No keys yet: a adds one by its secret")
        # Nothing to act on.
        await ui.press("enter", "n", "p", "D", "s", "j", "k", "g", "G", "ctrl+d", "pageup")
        await ui.shows("No keys yet")


@pytest.mark.check(86)
async def test_a_lost_store_is_said_and_comes_back_by_itself() -> None:
    store = some()
    async with opened(store, TWO) as ui:
        await keys_of(ui)
        await ui.shows("2    14s ago")
        store.error = StoreUnavailable("database is locked\x1b]0;x\x07")
        await ui.shows("✗ STORE: database is locked␛]0;x␇ (retrying 1s)")
        assert "laptop" in ui.text()
        store.error = None
        await ui.shows("5 of 6 keys on")
        await ui.hides("STORE:")


async def test_of_a_thousand_keys_those_on_screen_are_counted() -> None:
    store = FakeStore(
        *(Key(f"{n:016x}", f"key-{n:04d}", "abcd", 3600, NOW_MS) for n in range(1000))
    )
    async with opened(store, NARROW) as ui:
        screen = await keys_of(ui)
        await ui.shows("1,000 of 1,000 keys on")
        await ui.until(lambda: row_of(ui, "key-0019").endswith(f"0 {DASH}"), "counted")
        counted = set(store.counted) - {None}
        assert len(counted) <= 24
        await ui.press("G")
        await ui.shows("key-0999")
        await ui.until(lambda: f"{999:016x}" in store.counted, "what came into view is counted")
        await ui.press("g")
        assert "key-0000" == getattr(screen.table.current, "name", None)
        assert len(set(store.counted)) < 100


@pytest.mark.parametrize("size", [(60, 10), NARROW, TWO])
async def test_hostile_text_is_shown_as_what_it_is(size: tuple[int, int]) -> None:
    name = f"k{PAYLOAD}"
    hostile = Key(
        "5" * 16, name, "\x1b[2J", 3600, NOW_MS, KeyKind.HEADER, header_rule("x-a", "[/]aaaa*")
    )
    store = FakeStore(hostile)
    store.seen = [replace(CALLER, fingerprint=PAYLOAD, host=PAYLOAD, client=PAYLOAD)]
    store.proxies = [replace(PROXY, seen=3, unmatched=3)]
    async with opened(store, size) as ui:
        for keys in (["a"], ["enter"], ["escape", "n"], ["escape", "D"], ["escape", "j", "enter"]):
            await ui.press(*keys)
            for line in ui.lines():
                assert is_safe(line), (keys, line)
        await ui.press("escape", "R")
        assert all(is_safe(line) for line in ui.lines())
        await ui.press("escape", "escape", "1")
        await ui.shows("Record ")
        assert all(is_safe(line) for line in ui.lines())
        assert not any(attack in ui.text() for attack in ATTACKS[:8])


@pytest.mark.parametrize("size", [(59, 24), (80, 9)])
async def test_a_terminal_too_small_says_what_it_needs(size: tuple[int, int]) -> None:
    async with opened(some(), TWO) as ui:
        await keys_of(ui)
        await ui.pilot.resize_terminal(*size)
        await ui.shows("needs 60\u00d710")
        await ui.pilot.resize_terminal(80, 24)
        await ui.shows("API KEYS")


async def test_ten_rows_are_enough_for_every_dialog() -> None:
    async with opened(some(), (60, 10)) as ui:
        await keys_of(ui)
        for keys, texts in (
            (["enter", "right", "right", "right"], ["kept for", "Custom…]", "30m, 2h, 3d"]),
            (["a", "up", "right", "right"], ["goes by", "name", "header", "like", "kept for"]),
            (["n"], ["name", "Its records stay"]),
            (["D"], ["[No]", "This immediately deletes the records of claude."]),
            (["R"], ["the last", "[5m]", "With a ring"]),
            (["G", "k", "enter"], ["Record AIza-tes…0001", "name", "kept for"]),
        ):
            await ui.press(*keys)
            for text in texts:
                await ui.shows(text)
            await ui.press("escape")
            await ui.shows("API KEYS")
