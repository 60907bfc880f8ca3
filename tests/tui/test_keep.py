"""Keeping the last minutes from the UI: where a ring is said, what is asked of proxies, what came of it."""

from dataclasses import replace

import pytest

from store.record import Kept, Key, KeyKind
from tests.tui.builders import LAPTOP, NOW_MS, meta
from tests.tui.driving import NARROW, TWO, WIDE, opened
from tests.tui.fakes import PROXY, FakeStore
from tests.tui.key_scenes import CALLER, DAY
from tui.format import clock
from tui.key_words import RING_COMMAND

HOLDING = replace(PROXY, ring_exchanges=12, ring_bytes=3_250_586, ring_since_ms=NOW_MS - 600_000)

NOTHING = Kept(records=0, answered=0, without_ring=0, silent=0)


def some(kept: Kept = NOTHING) -> FakeStore:
    """One record, a proxy with a ring, a caller, and what keeping will answer."""
    store = FakeStore(LAPTOP, proxies=(HOLDING,))
    store.put(meta(1))
    store.seen = [CALLER]
    store.kept = kept
    return store


@pytest.mark.parametrize("size", [NARROW, TWO, WIDE])
async def test_the_status_bar_says_that_a_ring_holds_something(size: tuple[int, int]) -> None:
    store = some()
    async with opened(store, size) as ui:
        await ui.until(lambda: "ring 12" in ui.lines()[0])
        store.proxies = [HOLDING, replace(HOLDING, writer="w2", ring_exchanges=1_200)]
        await ui.until(lambda: "ring 1,212" in ui.lines()[0])
        store.proxies = [PROXY, replace(HOLDING, alive=False)]
        await ui.until(lambda: "ring" not in ui.lines()[0])


async def test_refused_calls_are_said() -> None:
    store = some()
    store.proxies = [replace(PROXY, refused=3)]
    async with opened(store, WIDE) as ui:
        await ui.shows("3 calls refused")


@pytest.mark.parametrize(
    ("keys", "since_ms"),
    [
        ([], NOW_MS - 300_000),
        (["left"], NOW_MS - 60_000),
        (["right"], NOW_MS - 900_000),
        (["right", "right", "right"], 0),
    ],
)
async def test_the_last_minutes_are_kept_straight_from_the_list(
    keys: list[str], since_ms: int
) -> None:
    store = some(Kept(3, 1, 0, 0))
    async with opened(store, NARROW) as ui:
        await ui.press("R")
        await ui.shows("Keep the last minutes")
        await ui.shows(f"In memory: 12 exchanges (3.1 MB) since {clock(NOW_MS - 600_000)}.")
        await ui.shows("Kept for 1d under the key kept.")
        await ui.shows("[5m]")
        await ui.press(*keys, "enter")
        await ui.shows("3 exchanges kept as kept, for 1d")
        assert [("keep", "kept", since_ms, DAY, None)] == store.changes
        # The key is there at once.
        await ui.press("a")
        await ui.shows("kept from memory")


async def test_keeping_works_from_the_detail_and_from_the_empty_list() -> None:
    store = some(Kept(1, 1, 0, 0))
    async with opened(store, NARROW) as ui:
        await ui.press("enter", "R", "enter")
        await ui.shows("1 exchange kept as kept, for 1d")
        assert ui.main.in_detail
    store.rows.clear()
    async with opened(store, NARROW) as ui:
        await ui.shows("R keep")
        await ui.press("R", "escape", "R", "enter")
        await ui.until(lambda: len(store.changes) == 2)


async def test_on_a_caller_only_what_it_sent_is_kept() -> None:
    store = some(Kept(2, 1, 0, 0))
    async with opened(store, NARROW) as ui:
        await ui.press("a", "G", "R")
        await ui.shows("Keep the last minutes of sk-ant-t…0000")
        await ui.press("enter")
        await ui.shows("2 exchanges kept as kept, for 1d")
        await ui.press("g", "R")
        await ui.shows("Keep the last minutes  ")
        await ui.press("enter")
        await ui.until(lambda: len(store.changes) == 2)
    assert ["sk-ant-t…0000", None] == [change[-1] for change in store.changes]


async def test_of_a_caller_without_a_credential_all_is_kept() -> None:
    store = some()
    store.seen = [replace(CALLER, fingerprint=None)]
    async with opened(store, NARROW) as ui:
        await ui.press("a", "G", "R", "enter")
        await ui.until(lambda: store.changes)
        assert None is store.changes[0][-1]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (Kept(0, 1, 0, 0), "Nothing to keep: no exchange of the last 5m is in memory."),
        (Kept(0, 0, 0, 1), "Nothing kept: 1 proxy did not answer."),
        (Kept(0, 0, 1, 0), "Nothing kept: the proxy has no ring."),
        (Kept(0, 0, 0, 0), "Nothing kept: no proxy is running."),
    ],
)
async def test_why_nothing_was_kept(kept: Kept, said: str) -> None:
    async with opened(some(kept), TWO) as ui:
        await ui.press("R", "enter")
        await ui.shows(said)


async def test_without_a_ring_how_to_start_one_is_said_before() -> None:
    store = some()
    store.proxies = []
    async with opened(store, TWO) as ui:
        await ui.press("R")
        await ui.shows(RING_COMMAND)


async def test_a_key_of_another_kind_by_that_name_is_an_error_in_one_line() -> None:
    store = some(Kept(1, 1, 0, 0))
    store.keys.append(replace(LAPTOP, id="f" * 16, name="kept"))
    async with opened(store, NARROW) as ui:
        await ui.press("R", "enter")
        await ui.shows("There is already a key named 'kept'.")
        assert "Keep the last minutes" in ui.text()


async def test_a_retention_its_owner_made_longer_is_said() -> None:
    store = some(Kept(1, 1, 0, 0))
    store.keys.append(Key("f" * 16, "kept", "", 604_800, NOW_MS, KeyKind.KEPT))
    async with opened(store, NARROW) as ui:
        await ui.press("R", "enter")
        await ui.shows("1 exchange kept as kept, for 7d")
