"""The net under everything on screen: no control character leaves through a widget.

`tui.safe_text` escapes captured text where lines are built. This filter sees each segment
the compositor is about to write, whoever made it, and escapes what slipped through: a
toast, a title, a widget somebody gave a plain string. Textual itself strips five codes only.
"""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from tui.safe_text import escape, is_safe


class ControlFilter(LineFilter):
    """Escapes the text of segments; a control segment (Textual's own) is left alone."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """The same list if all of it is safe, else a new one of the same width.

        A width that changed would shift the row on screen, so the escape of a character
        that had cells is cut to them: the net shows that something was there, no more.
        """
        if all(control or is_safe(text) for text, _, control in segments):
            return segments
        return [
            segment if segment.control or is_safe(segment.text) else _caught(segment)
            for segment in segments
        ]


def _caught(segment: Segment) -> Segment:
    width = segment.cell_length
    escaped = Segment(escape(segment.text), segment.style)
    return Segment.split_cells(escaped, width)[0] if escaped.cell_length > width else escaped
