"""The last line: the most used keys of the focused pane; each can be clicked. The rest is under `?`.

One widget that paints what is bound, where Textual's Footer mounts one for every key at
each change of focus.
"""

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.tones import strip, tone

LAST = "help"
"""The action that stands at the right end."""


class KeyBar(Widget):
    """The shown bindings of whatever has the focus."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cells: list[tuple[range, str]] = []

    def on_mount(self) -> None:
        """Repaint when the focus, and with it the bindings, changes."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def _keys(self) -> list[tuple[str, str, str, str]]:
        """(display, description, key, action) of every shown binding that can act now."""
        found: dict[str, tuple[str, str, str, str]] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled and binding.action not in found:
                display = self.app.get_key_display(binding)
                found[binding.action] = (display, binding.description, binding.key, binding.action)
        return list(found.values())

    def render_line(self, y: int) -> Strip:
        """As many as there is room for."""
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        self._cells = []
        parts: list[tuple[str, Style]] = [(" ", Style())]
        keys = self._keys()
        last = [key for key in keys if key[3] == LAST]
        reserved = sum(cell_len(key[0]) + cell_len(key[1]) + 2 for key in last)
        at = 1
        for display, description, key, action in keys:
            cells = cell_len(display) + cell_len(description) + 1
            if action == LAST or at + cells + 2 + reserved > width:
                continue
            parts += self._part(display, description)
            parts.append(("   ", Style()))
            self._cells.append((range(at, at + cells), key))
            at += cells + 3
        for display, description, key, _ in last:
            parts.append((" " * (width - reserved - at), Style()))
            parts += self._part(display, description)
            self._cells.append((range(width - reserved, width), key))
        return strip(parts, width, self.rich_style)

    def _part(self, display: str, description: str) -> list[tuple[str, Style]]:
        return [(display, tone("accent")), (f" {description}", tone("dim"))]

    def on_click(self, event: events.Click) -> None:
        """A click on a key is that key."""
        for cells, key in self._cells:
            if event.x in cells:
                self.app.simulate_key(key)
