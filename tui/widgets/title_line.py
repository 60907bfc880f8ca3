"""The first line of a screen that is not the list: what it is, what it says of itself, and the state at the right."""

from rich.cells import cell_len
from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.safe_text import shorten
from tui.widgets.tones import strip, tone

type Words = tuple[tuple[str, str], ...]
"""(safe text, tone) of each piece."""


class TitleLine(Widget):
    """Pieces from the left as far as there is room; of those for the right end the first that fits."""

    ALLOW_SELECT = False

    left: reactive[Words] = reactive[Words](())
    right: reactive[Words] = reactive[Words](())

    def render_line(self, y: int) -> Strip:
        """What is on the left comes first."""
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        parts: list[tuple[str, Style]] = [(" ", Style())]
        room = width - 2
        for at, (text, name) in enumerate(self.left):
            text = ("   " if at else "") + text
            if at and cell_len(text) > room:
                break
            text = shorten(text, room)
            parts.append((text, tone(name)))
            room -= cell_len(text)
        for text, name in self.right:
            if cell_len(text) + 3 <= room:
                parts.append((" " * (room - cell_len(text)), Style()))
                parts.append((text, tone(name)))
                break
        return strip(parts, width, self.rich_style)
