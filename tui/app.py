"""The application: what holds on every screen. Start-up imports nothing that first paint can do without.

Two nets hang here: the filter that lets no control character out through any widget, and the
crash hook that lets no variable's value out through a traceback.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs
from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.filter import LineFilter

from store.contract import Reader, Store
from tui.control_filter import ControlFilter
from tui.crash import crash_line, write_crash_file
from tui.managing import OpenStore
from tui.screens.followed import now_ms
from tui.screens.main import MainScreen
from tui.source import OpenReader
from tui.theme import FLOWTAP

CRASHED = 1


class FlowtapApp(App[None]):
    """Opens the main screen over a store."""

    TITLE = "flowtap"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    ENABLE_COMMAND_PALETTE = False

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-two"), (170, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (10, "-low"), (16, "-tall")]

    BINDINGS = [
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit"),
        Binding("ctrl+l", "redraw", "redraw", show=False, id="app.redraw"),
    ]

    def __init__(
        self,
        open_reader: OpenReader,
        open_store: OpenStore,
        place: str = "",
        *,
        key: str | None = None,
        record: str | None = None,
        clock: Callable[[], int] = now_ms,
        interval_s: float | None = None,
        crash_folder: Path | None = None,
    ) -> None:
        """`open_reader` and `open_store` are called on the threads that will use what they open;
        `place` names the store."""
        super().__init__()
        self._net = ControlFilter()
        self._crash_folder = crash_folder
        self._crash_said = False
        pace = {} if interval_s is None else {"interval_s": interval_s}
        self._main = MainScreen(
            open_reader, open_store, place, key=key, record=record, clock=clock, **pace
        )
        self.register_theme(FLOWTAP)
        self.theme = FLOWTAP.name

    def get_default_screen(self) -> MainScreen:
        """The one screen."""
        return self._main

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and the net under them."""
        return [*super().get_line_filters(), self._net]

    def action_redraw(self) -> None:
        """Paint all of it anew."""
        self.refresh(layout=True)

    def _fatal_error(self) -> None:
        """One line and a private file, where Textual would print the frames with their locals."""
        if self._crash_said:
            return
        self._crash_said = True
        error = self._exception or RuntimeError("unknown")
        folder = self._crash_folder or platformdirs.user_state_path("flowtap")
        line = crash_line(error, write_crash_file(error, folder))
        self._exit_renderables.append(Text(line))
        self._close_messages_no_wait()

    def panic(self, *renderables: object) -> None:  # noqa: ARG002
        """What would be printed may quote captured text: the crash file has it instead."""
        self._fatal_error()


def run(location: str | None, key: str | None = None, record: str | None = None) -> int:
    """Open the UI on a store, at a key and a record if given; returns the exit status.

    The store may be absent or broken: that is shown, and tried again.
    """

    def opener() -> Reader:
        # On the reader's thread, while the first screen is painted.
        from store.location import open_reader

        return open_reader(location)

    def manager() -> Store:
        # With the first change: what writes is too heavy for a start.
        from store.location import open_store

        return open_store(location)

    app = FlowtapApp(opener, manager, location or "", key=key, record=record)
    app.run()
    return app.return_code or 0
