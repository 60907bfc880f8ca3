"""How line-API widgets paint: named styles, put together to a line of an exact width."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.theme import TONES


def tone(name: str) -> Style:
    """The style of a name (tui.theme)."""
    return TONES[name]


def strip(
    parts: list[tuple[str, Style]], width: int, base: Style, over: Style | None = None
) -> Strip:
    """A line of exactly `width` cells: each part on `base`, all of it under `over`."""
    ground = base + over if over else base
    segments = [
        Segment(text, base + style + over if over else base + style)
        for text, style in parts
        if text
    ]
    return Strip(segments).adjust_cell_length(width, ground)
