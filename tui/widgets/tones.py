"""The names under which widgets ask for a colour; `app.tcss` says what each looks like.

Line-API widgets paint segments, so they need Rich styles: a component class is a style with
a name, and every such widget takes the same names.
"""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

TONES = {
    # statuses, as tui.format.Tone names them
    "tone--ok",
    "tone--warning",
    "tone--error",
    "tone--cut",
    "tone--live",
    "tone--neutral",
    # text
    "tone--text",
    "tone--strong",
    "tone--dim",
    "tone--faint",
    "tone--accent",
    # JSON and headers
    "tone--name",
    "tone--key",
    "tone--string",
    "tone--number",
    "tone--literal",
    "tone--masked",
    # an answer's parts
    "tone--label",
    "tone--thinking",
    "tone--tool",
    # banners
    "tone--banner-error",
    "tone--banner-warning",
    # rows
    "tone--heading",
    "tone--heading-current",
    "tone--cursor",
    "tone--cursor-blur",
    "tone--tinted",
    "tone--bar",
}


def tone(widget: Widget, name: str) -> Style:
    """The style of a tone, without what it inherits, so that a row's background stays."""
    return widget.get_component_rich_style(f"tone--{name}", partial=True)


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
