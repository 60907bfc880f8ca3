"""The retention of a key, changed in the UI: presets and custom values, what warns and what blocks."""

import pytest
from textual.widgets import Static

from store.retention import LOWER_WARNING, OFF_WARNING, RANGE_RULE, RULE
from tests.tui.builders import CI, LAPTOP, meta
from tests.tui.driving import NARROW, TWO, Driver, opened
from tests.tui.key_scenes import DAY, at_key, keyed
from tui.screens.keys import KeysScreen


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


@pytest.mark.check(114)
async def test_switching_off_the_key_that_is_shown_moves_the_list_on() -> None:
    store = keyed(604_800)
    store.keys.append(CI)
    store.put(meta(3, key_id=CI.id, model="of-ci"))
    async with opened(store, TWO, key="laptop") as ui:
        await ui.shows("key laptop (9Qz1)")
        await at_key(ui, LAPTOP)
        await ui.press("enter", *["left"] * 5, "enter", "enter")
        await ui.shows("laptop: 2 records purged (off)")
        await ui.shows("The key shown lost its retention; showing ci (c1c1).")
        await ui.press("escape")
        await ui.shows("key ci (c1c1)")
        await ui.shows("of-ci")
