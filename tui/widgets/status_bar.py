"""The first line: the state, whose records these are, how many, and whether the list follows."""

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from store.contract import Counts
from tui.format import plural, thousands
from tui.safe_text import escape, shorten
from tui.state import View, follow_mark, headline, losses, ring
from tui.widgets.tones import strip, tone


class StatusBar(Widget):
    """Paints a View. A click on the key opens the key selector, one on the right end follows."""

    ALLOW_SELECT = False

    class KeyClicked(Message):
        """The key selector is wanted."""

    class FollowClicked(Message):
        """Following is wanted."""

    view: reactive[View] = reactive(View(0))
    counts: reactive[Counts | None] = reactive(None)
    key_name: reactive[str] = reactive("all keys")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._key_cells = range(0)
        self._follow_cells = range(0)

    def render_line(self, y: int) -> Strip:
        """The line, what matters less left out first where it is narrow."""
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        state, state_tone = headline(self.view)
        mark, mark_tone = follow_mark(self.view)
        right = f"{mark} "
        if self.view.lost is not None:
            right = ""
        state = shorten(state, width - 2)
        key = f"key {shorten(escape(self.key_name), 24)} ▾"
        left: list[tuple[str, Style]] = [
            (" ", Style()),
            (state, tone(state_tone) + Style(bold=True)),
            ("  flowtap   ", tone("faint")),
        ]
        room = width - sum(cell_len(text) for text, _ in left) - cell_len(right) - 1
        if cell_len(key) <= room:
            start = sum(cell_len(text) for text, _ in left)
            self._key_cells = range(start, start + cell_len(key))
            left.append((key, tone("text")))
            room -= cell_len(key)
        for text, name in self._numbers(width):
            if cell_len(text) + 3 <= room:
                left.append(("   " + text, tone(name)))
                room -= cell_len(text) + 3
        used = sum(cell_len(text) for text, _ in left)
        left.append((" " * max(0, width - used - cell_len(right)), Style()))
        left.append((right, tone(mark_tone)))
        self._follow_cells = range(width - cell_len(right), width)
        return strip(left, width, self.rich_style)

    def _numbers(self, width: int) -> list[tuple[str, str]]:
        found = []
        if lost := losses(self.view):
            found.append((lost, "error"))
        if self.counts is not None:
            records = plural(self.counts.records, "record")
            found.append(
                (records if width >= 100 else f"{thousands(self.counts.records)} rec", "dim")
            )
            if self.counts.errors:
                found.append((f"{thousands(self.counts.errors)} err", "error"))
            if self.counts.live:
                found.append((f"{thousands(self.counts.live)} in flight", "live"))
        if held := ring(self.view):
            found.append((held, "accent"))
        return found

    def on_click(self, event: events.Click) -> None:
        """The segments act like their keys."""
        if event.x in self._key_cells:
            self.post_message(self.KeyClicked())
        elif event.x in self._follow_cells:
            self.post_message(self.FollowClicked())
