"""Keys and callers as the tests of the Keys screen want them, and the way to one of them."""

from dataclasses import replace

from store.record import Key, Seen
from tests.tui.builders import CI, LAPTOP, NOW_MS, OFF, meta
from tests.tui.driving import Driver
from tests.tui.fakes import FakeStore
from tui.screens.keys import KeysScreen

CALLER = Seen(
    "sk-ant-t…0000", "api.anthropic.com", "claude-cli/2.1.197", 12, NOW_MS - 60_000, NOW_MS - 12_000
)
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
