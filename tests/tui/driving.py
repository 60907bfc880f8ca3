"""Driving the app: opened on a fake store with a fixed clock, waited for by what it shows."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from textual.pilot import Pilot

from tests.tui.builders import NOW_MS
from tests.tui.fakes import FakeStore
from tui.app import FlowtapApp
from tui.screens.main import MainScreen

NARROW, TWO, WIDE = (80, 24), (120, 35), (200, 50)

PACE_S = 0.01
"""Between two looks at the store: a test need not wait for a tenth of a second."""


class Driver:
    """An open app, its keys and its screen as text."""

    def __init__(self, app: FlowtapApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def main(self) -> MainScreen:
        """The main screen, whatever is open over it."""
        screen = self.app.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    async def press(self, *keys: str) -> None:
        """Keys, one after the other, each with all messages it sets off.

        Pilot's own press waits for an idle process, which one that follows a store never is.
        """
        for key in keys:
            self.app.simulate_key(key)
            for _ in range(3):
                await self.pilot.pause(0)

    async def until(self, condition: Callable[[], Any], what: str = "") -> None:
        """Wait until something holds; the screen is shown if it never does."""
        for _ in range(1000):
            if condition():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"never: {what}\n" + "\n".join(self.lines()))

    async def shows(self, text: str) -> None:
        """Wait until the screen has a text."""
        await self.until(lambda: text in self.text(), text)

    async def hides(self, text: str) -> None:
        """Wait until the screen has it no more."""
        await self.until(lambda: text not in self.text(), f"gone: {text}")

    def lines(self) -> list[str]:
        """The screen as it is painted, a string a row."""
        width, height = self.app.size
        screen = self.app.screen
        strips = screen._compositor.render_strips(screen.size)
        return ["".join(segment.text for segment in strip)[:width] for strip in strips][:height]

    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines())


@asynccontextmanager
async def opened(
    store: FakeStore,
    size: tuple[int, int] = TWO,
    *,
    ready: bool = True,
    crash_folder: Path | None = None,
    clock: Callable[[], int] = lambda: NOW_MS,
    **link: Any,
) -> AsyncIterator[Driver]:
    """The app over a store, closed at the end; `ready` waits for the first list."""
    app = FlowtapApp(
        store.reader,
        store.managing,
        "somewhere",
        clock=clock,
        interval_s=PACE_S,
        crash_folder=crash_folder or Path(gettempdir()) / "flowtap-test-crash",
        **link,
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        driver = Driver(app, pilot)
        if ready:
            await driver.until(lambda: driver.main.state.opened, "the store is opened")
            await driver.until(lambda: not driver.main.has_class("opening"), "the list is read")
            await pilot.pause(0)
        yield driver
