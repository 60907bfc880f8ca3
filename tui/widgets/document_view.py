"""The one widget for much text: sections of lines, one scroll, sticky headings, a line cursor.

Paints the rows in view and nothing else, whatever the size of the document. Knows sections
and layouts, not records: whoever owns the document decides what its keys do.
"""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from tui.document.layout import HEADING, Layout, Place
from tui.document.lines import Section
from tui.safe_text import shorten_middle
from tui.widgets.tones import strip, tone

SIDEWAYS = 8
"""Cells of a step to the side where lines are not wrapped."""


class DocumentView(ScrollView, can_focus=True):
    """Shows sections. The cursor is on a row; what it is on is its Place."""

    BINDINGS = [
        Binding("j,down", "move(1)", "down", show=False, id="detail.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="detail.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="detail.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="detail.half_up"),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False, id="detail.page_down"),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False, id="detail.page_up"),
        Binding("g,home", "top", "top", show=False, id="detail.top"),
        Binding("G,end", "bottom", "end", show=False, id="detail.bottom"),
        *(
            Binding(str(n), f"jump({n - 1})", f"section {n}", show=False, id=f"detail.section_{n}")
            for n in range(1, 5)
        ),
        Binding(
            "left_curly_bracket",
            "section(-1)",
            "previous section",
            show=False,
            id="detail.previous_section",
        ),
        Binding(
            "right_curly_bracket",
            "section(1)",
            "next section",
            show=False,
            id="detail.next_section",
        ),
        Binding("w", "wrap", "wrap", show=False, id="detail.wrap"),
        Binding("shift+left", "sideways(-1)", "left", show=False, id="detail.left"),
        Binding("shift+right", "sideways(1)", "right", show=False, id="detail.right"),
    ]

    class Activated(Message):
        """The row under the cursor was clicked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.wrapped = True
        self.hint = ""
        """Shown at the right end of the cursor's row."""
        self._layout = Layout((), 80)
        self._cursor = 0
        self._aside = 0
        self._section = 0  # where a document that is shown anew opens

    # -- what the owner tells ------------------------------------------------------------------

    def show(self, sections: Sequence[Section], *, keep: bool, tail: bool = False) -> None:
        """Other sections. `keep`: the eye stays on what it is on, else it goes to the section it
        was in; `tail`: if it sees the end, it goes with it.
        """
        old = self._layout
        follow = keep and tail and self.sees_end
        eye = self._eye() if keep and old.height else None
        self._layout = Layout(
            sections, self._width(), wrapped=self.wrapped, old=old if keep else None
        )
        self._settle(eye, old.height if follow else None)
        if not keep and 0 < self._section < len(sections):
            self.go_to(self._section)

    @property
    def sees_end(self) -> bool:
        """The last row is in view."""
        return self.scroll_y + self._height() >= self._layout.height

    @property
    def place(self) -> Place | None:
        """What the cursor is on."""
        return self._layout.place(self._cursor) if self._layout.height else None

    def go_to(self, section: int) -> None:
        """Put a section's heading at the top; if there is none yet, as soon as it is there."""
        self._section = section
        if section < len(self._layout.sections):
            top = self._layout.top(section)
            self._cursor = top
            self.scroll_to(y=top, animate=False)
            self._moved()

    # -- keys and mouse --------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        """Rows down."""
        self._move_to(self._cursor + rows)

    def action_page(self, pages: float) -> None:
        """Pages down; the view moves as far as the cursor."""
        rows = int(max(1, (self._height() - 1) * abs(pages))) * (1 if pages > 0 else -1)
        target = self._cursor + rows  # before scrolling, which moves the cursor into view
        end = max(self.scroll_y, self._layout.height - self._height())
        self.scroll_to(y=max(0, min(self.scroll_y + rows, end)), animate=False)
        self._move_to(target)

    def action_top(self) -> None:
        """To the first row."""
        self._move_to(0)

    def action_bottom(self) -> None:
        """To the last row; a document that grows is followed from there."""
        self._move_to(self._layout.height - 1)

    def action_jump(self, section: int) -> None:
        """To a section."""
        self.go_to(section)

    def action_section(self, step: int) -> None:
        """To the next section, or to the heading of this one and then the previous."""
        if not self._layout.height:
            return
        now = self._layout.section_at(self._cursor)
        if step < 0 and self._cursor > self._layout.top(now):
            step = 0
        self.go_to(max(0, min(now + step, len(self._layout.sections) - 1)))

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self.wrapped = not self.wrapped
        self._aside = 0
        self.show(self._layout.sections, keep=True)

    def action_sideways(self, step: int) -> None:
        """To the side, where lines are not wrapped."""
        if not self.wrapped:
            self._aside = max(0, self._aside + step * SIDEWAYS)
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """The cursor goes where the click was."""
        row = self._row_at(event.y)
        if row < self._layout.height:
            self._cursor = row
            self._moved()
            self.post_message(self.Activated())

    def on_resize(self) -> None:
        """Another width, other rows."""
        if self._layout.sections:
            self.show(self._layout.sections, keep=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The cursor stays in view when the wheel moves the document."""
        super().watch_scroll_y(old_value, new_value)
        top = round(new_value)
        first = top if not self._sticky(top) else top + 1
        last = max(first, top + self._height() - 1)
        inside = max(first, min(self._cursor, last, self._layout.height - 1))
        if inside != self._cursor and self._layout.height:
            self._cursor = inside
            self._moved()

    # -- the parts -------------------------------------------------------------------------------

    def _width(self) -> int:
        return int(self.scrollable_content_region.width) or 80

    def _height(self) -> int:
        return int(self.scrollable_content_region.height)

    def _room(self) -> int:
        """Rows that can be scrolled through: the last heading, too, can stand at the top."""
        layout = self._layout
        if not layout.sections:
            return 0
        return max(layout.height, layout.top(len(layout.sections) - 1) + self._height())

    def _eye(self) -> tuple[Place, Place]:
        """The cursor's place and the top row's."""
        layout = self._layout
        top = min(round(self.scroll_y), layout.height - 1)
        return layout.place(min(self._cursor, layout.height - 1)), layout.place(top)

    def _settle(self, eye: tuple[Place, Place] | None, followed: int | None) -> None:
        """Take the new layout's size and put the eye; `followed` is the height whose end was seen."""
        layout = self._layout
        self.virtual_size = Size(self._width(), self._room())
        cursor, top = 0, 0
        if eye is None:
            self._aside = 0
        else:
            here, above = eye
            cursor, top = self._row_of(here), self._row_of(above)
            if followed is not None:
                top = max(top, layout.height - self._height())
                if self._cursor >= followed - 1:
                    cursor = layout.height - 1
        self._cursor = max(0, min(cursor, layout.height - 1))
        self.scroll_to(y=top, animate=False)
        self.refresh()

    def _row_of(self, place: Place) -> int:
        row = self._layout.row(place.section, place.block, place.line)
        return row + place.part if place.part else row

    def _move_to(self, row: int) -> None:
        if not self._layout.height:
            return
        self._cursor = row = max(0, min(row, self._layout.height - 1))
        top, height = round(self.scroll_y), self._height()
        if row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False)
        elif row < top:
            top = row
            while self._sticky(top) and top > 0 and row - top < 1:
                top -= 1
            self.scroll_to(y=top, animate=False)
        elif row == top and self._sticky(top):
            self.scroll_to(y=top - 1, animate=False)
        self._moved()

    def _moved(self) -> None:
        self._section = self._layout.section_at(self._cursor)
        self.hint = ""
        self.refresh()
        self.post_message(self.CursorMoved())

    class CursorMoved(Message):
        """The cursor is on another row."""

        def can_replace(self, message: Message) -> bool:
            """Only where it is now matters."""
            return isinstance(message, DocumentView.CursorMoved)

    def _sticky(self, top: int) -> bool:
        """The first row in view is covered by its section's heading."""
        layout = self._layout
        return 0 <= top < layout.height and top != layout.top(layout.section_at(top))

    def _row_at(self, y: int) -> int:
        top = round(self.scroll_y)
        if y == 0 and self._sticky(top):
            return self._layout.top(self._layout.section_at(top))
        return top + y

    # -- painting ----------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One row; only the characters in it are styled."""
        width = self.scrollable_content_region.width
        row = self._row_at(y)
        if row >= self._layout.height:
            return Strip.blank(width, self.rich_style)
        place = self._layout.place(row)
        painted = (
            self._heading(place.section, row, width)
            if place.block == HEADING
            else self._row(place, row, width)
        )
        if (selection := self.text_selection) is not None:
            painted = self._selected(painted, selection, row)
        return painted.apply_offsets(0, row)

    def _row(self, place: Place, row: int, width: int) -> Strip:
        block = self._layout.sections[place.section].blocks[place.block]
        start, end = place.start, place.end
        if not self.wrapped:
            start = min(self._aside, end)
            end = min(end, start + width)
        line = block.piece(place.line, start, end)
        indent = self._layout.indent(place)
        parts: list[tuple[str, Style]] = [(" " * indent, Style())]
        at = 0
        for span in line.spans:
            if span.start >= at:
                parts.append((line.text[at : span.start], tone("text")))
                parts.append((line.text[span.start : span.end], tone(span.tone)))
                at = span.end
        parts.append((line.text[at:], tone("text")))
        over = None
        if row == self._cursor:
            over = tone("cursor" if self.has_focus else "cursor-blur")
            used = sum(cell_len(text) for text, _ in parts)
            if self.hint and used + cell_len(self.hint) + 2 <= width:
                parts.append((" " * (width - used - cell_len(self.hint) - 1), Style()))
                parts.append((self.hint, tone("accent")))
        return strip(parts, width, self.rich_style, over)

    def _heading(self, number: int, row: int, width: int) -> Strip:
        section = self._layout.sections[number]
        current = row == self._cursor and self.has_focus
        over = tone("heading-current" if current else "heading")
        parts: list[tuple[str, Style]] = [
            (f" {section.number} ", tone("accent")),
            (section.title, tone("strong")),
        ]
        for view in section.views:
            here = view == section.view
            parts.append(
                (f"  [{view}]" if here else f"  {view}", tone("accent" if here else "dim"))
            )
        used = sum(cell_len(text) for text, _ in parts)
        told = list(section.right)
        while told and used + cell_len(" · ".join(told)) + 3 > width:
            told.pop()
        right = " · ".join(told) + " " if told else ""
        for about in section.about:
            room = width - used - cell_len(right) - 4
            text = about.text
            if room < 4 or not text:
                continue
            shown = shorten_middle(text, room)
            spans = about.spans if shown == text else about.spans[:1]
            parts.append(("  ", Style()))
            at = 0
            for span in spans:
                end = min(span.end, len(shown))
                parts.append((shown[span.start : end], tone(span.tone)))
                at = end
            parts.append((shown[at:], tone("dim")))
            used += cell_len(shown) + 2
        parts.append((" " * max(0, width - used - cell_len(right)), Style()))
        parts.append((right, tone("dim")))
        return strip(parts, width, self.rich_style, over)

    # -- selecting with the mouse --------------------------------------------------------------------

    def _selected(self, painted: Strip, selection: Selection, row: int) -> Strip:
        span = selection.get_span(row)
        if span is None:
            return painted
        start, end = span
        style = self.screen.get_component_rich_style("screen--selection")
        text = painted.text
        first = cell_len(text[:start])
        last = painted.cell_length if end == -1 else cell_len(text[:end])
        middle = painted.crop(first, last)
        lit = Strip([Segment(s.text, (s.style or Style()) + style) for s in middle])
        return Strip.join([painted.crop(0, first), lit, painted.crop(last)])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected rows as text; the rows of one line are one line again."""
        layout = self._layout
        if not layout.height:
            return None
        first = selection.start.y if selection.start is not None else 0
        last = selection.end.y if selection.end is not None else layout.height - 1
        text = ""
        for row in range(max(0, first), min(last, layout.height - 1) + 1):
            place = layout.place(row)
            whole = self.row_text(place)
            span = selection.get_span(row)
            if span is None:
                continue
            start, end = span
            cut = whole[start:] if end == -1 else whole[start:end]
            if place.part and text:
                text += cut.lstrip()
            else:
                text += ("\n" if text else "") + cut
        return text, "\n"

    def row_text(self, place: Place) -> str:
        """A row as it is painted, without the blanks at its end."""
        section = self._layout.sections[place.section]
        if place.block == HEADING:
            return f" {section.number} {section.title}"
        block = section.blocks[place.block]
        return " " * self._layout.indent(place) + block.texts[place.line][place.start : place.end]
