"""The Keys screen's rows: the keys, and under them who was seen and is not recorded.

Paints the rows in view and nothing else, whatever the number of keys. Shows what it is
given; reads nothing. The cursor is on a key or a caller, not on a row: rows come and go
around it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from store.record import Key, Seen
from store.retention import format_retention
from tui import format as show
from tui.key_words import caller_words, match_words
from tui.safe_text import escape, fit, shorten
from tui.widgets.tones import strip, tone

_KEEP, _RECORDS, _AGE = 9, 9, 11
"""Cells of the columns at the right end."""

_LONG_NAME = 28
"""Cells of a name at most, so that what a key goes by has room, too."""

type Mark = tuple[str | None, ...]
"""What a row is of: a key's id, or a caller."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What counting found of a key's records."""

    records: int
    last_ms: int | None
    """When the newest began; None: there is none."""


@dataclass(frozen=True, slots=True)
class _Heading:
    """A group's first row: its title, how many, and what the columns at the right are."""

    title: str
    count: str
    columns: str


type _Row = Key | Seen | _Heading | str
"""A text is what is said in place of rows."""


def mark_of(row: Key | Seen) -> Mark:
    """What stays the same of a row while its numbers change."""
    if isinstance(row, Key):
        return (row.id,)
    return (row.fingerprint, row.host, row.client, row.key_id)


class KeyTable(ScrollView, can_focus=True):
    """Two groups of rows under their headings."""

    BINDINGS = [
        Binding("j,down", "move(1)", "down", show=False, id="key_table.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="key_table.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="key_table.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="key_table.half_up"),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False, id="key_table.page_down"),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False, id="key_table.page_up"),
        Binding("g,home", "top", "first", show=False, id="key_table.top"),
        Binding("G,end", "bottom", "last", show=False, id="key_table.bottom"),
    ]

    class Opened(Message):
        """The row under the cursor was clicked again."""

    class CursorMoved(Message):
        """The cursor is on another row, or other rows are in view."""

        def can_replace(self, message: Message) -> bool:
            """Only where it is now matters."""
            return isinstance(message, KeyTable.CursorMoved)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.keys: tuple[Key, ...] = ()
        self.seen: tuple[Seen, ...] = ()
        self.facts: dict[str, Facts] = {}
        """By key id; what is not in it has not been counted yet."""
        self.now_ms = 0
        self.said = ("", "")
        """What stands where there are no keys, and no callers."""
        self._rows: list[_Row] = []
        self._name_cells = 0
        self._cursor = 0
        self._mark: Mark | None = None

    # -- what the screen tells -------------------------------------------------------------------

    def show(self, keys: Sequence[Key], seen: Sequence[Seen], said: tuple[str, str]) -> None:
        """Other rows; the cursor stays on what it is on, or near it."""
        if (tuple(keys), tuple(seen), said) == (self.keys, self.seen, self.said) and self._rows:
            return
        self.keys, self.seen, self.said = tuple(keys), tuple(seen), said
        columns = f"{'records':>{_RECORDS}}{'last':>{_AGE}}"
        calls = f"{'calls':>{_RECORDS}}{'last':>{_AGE}}"
        self._rows = [
            _Heading(
                "KEYS", show.plural(len(self.keys), "key"), f"{'kept for':>{_KEEP}}" + columns
            ),
            *(self.keys or (said[0],)),
            "",
            _Heading("SEEN, NOT RECORDED", show.plural(len(self.seen), "caller"), calls),
            *(self.seen or (said[1],)),
        ]
        names = (cell_len(escape(key.name)) for key in self.keys)
        self._name_cells = max(8, min(_LONG_NAME, max(names, default=0) + 1))
        self._measure()
        self._find_cursor()
        self.refresh()
        self.post_message(self.CursorMoved())

    def set_facts(self, key_id: str, facts: Facts) -> None:
        """A key was counted."""
        if self.facts.get(key_id) != facts:
            self.facts[key_id] = facts
            self.refresh()

    def tick(self, now_ms: int) -> None:
        """The clock moved on."""
        self.now_ms = now_ms
        self.refresh()

    def select(self, row: Key | Seen) -> None:
        """Put the cursor on a row, if it is there."""
        self._mark = mark_of(row)
        self._find_cursor()
        self._show_cursor()

    @property
    def current(self) -> Key | Seen | None:
        """What the cursor is on."""
        if self._cursor < len(self._rows):
            row = self._rows[self._cursor]
            return row if isinstance(row, Key | Seen) else None
        return None

    def in_view(self) -> list[Key]:
        """The keys on screen."""
        top = round(self.scroll_y)
        rows = self._rows[top : top + self._height() + 1]
        return [row for row in rows if isinstance(row, Key)]

    # -- keys and mouse ----------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        """Rows down, headings left out."""
        at, step = self._cursor, 1 if rows > 0 else -1
        while 0 <= at + step < len(self._rows):
            at += step
            if isinstance(self._rows[at], Key | Seen):
                self._cursor_to(at)
                break
        if step < 0 and at <= 1:
            self.scroll_to(y=0, animate=False)

    def action_page(self, pages: float) -> None:
        """Pages down."""
        rows = max(1, int(self._height() * abs(pages)))
        self._cursor_near(self._cursor + (rows if pages > 0 else -rows))

    def action_top(self) -> None:
        """To the first row."""
        self._cursor_near(0)
        self.scroll_to(y=0, animate=False)

    def action_bottom(self) -> None:
        """To the last row."""
        self._cursor_near(len(self._rows) - 1)

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        at = event.y + round(self.scroll_y)
        if at < len(self._rows) and isinstance(self._rows[at], Key | Seen):
            if at == self._cursor:
                self.post_message(self.Opened())
            self._cursor_to(at)

    def on_resize(self) -> None:
        """More or fewer rows are in view."""
        self._measure()
        self._show_cursor()
        self.post_message(self.CursorMoved())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other keys are in view, and want to be counted."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.CursorMoved())

    # -- the parts -----------------------------------------------------------------------------------

    def _height(self) -> int:
        return int(self.scrollable_content_region.height)

    def _measure(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))

    def _find_cursor(self) -> None:
        """Where what the cursor was on is now; else the row nearest to where it was."""
        if self._mark is not None:
            for at, row in enumerate(self._rows):
                if isinstance(row, Key | Seen) and mark_of(row) == self._mark:
                    self._cursor = at
                    return
        self._cursor_near(self._cursor)

    def _cursor_near(self, at: int) -> None:
        rows = [n for n, row in enumerate(self._rows) if isinstance(row, Key | Seen)]
        if rows:
            self._cursor_to(min(rows, key=lambda n: (abs(n - at), n)))
        else:
            self._cursor, self._mark = 0, None

    def _cursor_to(self, at: int) -> None:
        row = self._rows[at]
        if isinstance(row, Key | Seen):
            self._cursor, self._mark = at, mark_of(row)
            self._show_cursor()
            self.refresh()
            self.post_message(self.CursorMoved())

    def _show_cursor(self) -> None:
        top, height = round(self.scroll_y), self._height()
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif height and self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False)

    # -- painting --------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One row; no I/O."""
        width = self.scrollable_content_region.width
        at = y + round(self.scroll_y)
        if at >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[at]
        over: Style | None = None
        bar: tuple[str, Style] = (" ", Style())
        if isinstance(row, str):
            parts = [("  " + shorten(escape(row), width - 4), tone("dim"))]
        elif isinstance(row, _Heading):
            over = tone("heading")
            parts = self._heading(row, width - 2)
        else:
            if at == self._cursor:
                over = tone("cursor" if self.has_focus else "cursor-blur")
                bar = ("▌", tone("bar" if self.has_focus else "faint"))
            parts = (
                self._key(row, width - 2) if isinstance(row, Key) else self._caller(row, width - 2)
            )
        return strip([bar, *parts], width, self.rich_style, over)

    def _heading(self, row: _Heading, width: int) -> list[tuple[str, Style]]:
        room = width - len(row.title) - len(row.columns) - 2
        return [
            (row.title + "  ", tone("strong")),
            (fit(row.count, room), tone("dim")),
            (row.columns, tone("faint")),
        ]

    def _key(self, key: Key, width: int) -> list[tuple[str, Style]]:
        on = key.retention_s is not None
        facts = self.facts.get(key.id) if on else None
        records = show.thousands(facts.records) if facts else ("…" if on else show.DASH)
        last = show.DASH
        if facts is not None and facts.last_ms is not None:
            last = show.age(facts.last_ms, self.now_ms)
        kept = shorten(format_retention(key.retention_s), _KEEP - 1)
        room = width - 2 - _KEEP - _RECORDS - _AGE - 1
        name = min(self._name_cells, room // 2)
        text, dim = tone("text" if on else "dim"), tone("dim")
        return [
            ("● " if on else "○ ", tone("ok" if on else "dim")),
            (fit(escape(key.name), name), tone("strong") if on else dim),
            (" " + fit(escape(match_words(key)), room - name), dim),
            (f"{kept:>{_KEEP}}", text),
            (f"{records:>{_RECORDS}}", text),
            (f"{last:>{_AGE}}", dim),
        ]

    def _caller(self, seen: Seen, width: int) -> list[tuple[str, Style]]:
        room = width - 2 - _RECORDS - _AGE - 2
        who = max(14, room // 3)
        host = (room - who) * 3 // 5
        calls = show.thousands(seen.count)
        return [
            ("+ " if seen.fingerprint is not None else "  ", tone("accent")),
            (fit(escape(caller_words(seen, self.keys)), who), tone("text")),
            (" " + fit(escape(seen.host), host), tone("dim")),
            (" " + fit(escape(seen.client or ""), room - who - host), tone("dim")),
            (f"{calls:>{_RECORDS}}", tone("text")),
            (f"{show.age(seen.last_ms, self.now_ms):>{_AGE}}", tone("dim")),
        ]
