"""The list: two lines a record, painted from the window of rows, whatever the size of the store.

Nothing moves under the cursor: the row it is on and the rows in view keep their place while
others come and go, unless the list follows, then it stays at the top. Paints what it is
given and asks for pages by messages; reads nothing.
"""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from collectors.upstream import upstream_of
from store import masks
from store.record import RecordMeta, State
from tui import format as show
from tui.feed import Feed
from tui.safe_text import escape, fit, shorten_middle
from tui.widgets.tones import strip, tone

ROW = 2
"""Lines of a record."""

NEAR = 30
"""Rows before an end of the window at which the next page is asked for."""

_INDENT = " " * 7
_NAME = 12
"""Cells of a key's name."""

_WIDE = 60
"""Cells from which a row has room for tokens and the key's name."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the eye is: the row at the top of the view, and how far into it."""

    record_id: str | None
    offset: int


class RecordList(ScrollView, can_focus=True):
    """Rows of a Feed. The cursor is an id, not a number: rows come in above it."""

    BINDINGS = [
        Binding("enter,l,right", "open", "open", key_display="↵", id="list.open"),
        Binding("j,down", "move(1)", "down", show=False, id="list.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="list.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="list.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="list.half_up"),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False, id="list.page_down"),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False, id="list.page_up"),
        Binding("g,home", "top", "newest", show=False, id="list.top"),
        Binding("G,end", "bottom", "oldest loaded", show=False, id="list.bottom"),
    ]

    class Selected(Message):
        """The cursor is on another record (None: there is none)."""

        def __init__(self, record_id: str | None) -> None:
            super().__init__()
            self.record_id = record_id

    class Opened(Message):
        """The record under the cursor is to be read."""

    class LeftTop(Message):
        """The user moved away from the top, or came back to it."""

        def __init__(self, at_top: bool) -> None:
            super().__init__()
            self.at_top = at_top

    class WantOlder(Message):
        """The end of the window is near: the next page, please."""

    class WantNewer(Message):
        """The top of a window that has let newer rows go is near."""

    def __init__(self, feed: Feed, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.feed = feed
        self.cursor_id: str | None = None
        self.following = True
        self.now_ms = 0
        self.sizes: dict[str, int] = {}
        """Response bytes that have arrived of records in flight, by id."""
        self.key_names: dict[str, str] = {}
        """Names to show in the rows, by key id; empty where all rows are one key's."""
        self._shown: tuple[object, ...] = ()
        self._orphaned = False

    # -- what the screen tells ---------------------------------------------------------------

    def eye(self) -> Anchor:
        """Where the view stands, to be given back to `changed`."""
        index, offset = divmod(round(self.scroll_y), ROW)
        top = self.feed[index].id if index < len(self.feed) else None
        return Anchor(top, offset)

    def changed(self, anchor: Anchor) -> None:
        """The rows changed: take their number, and put the eye back where it was."""
        self._measure()
        if not len(self.feed):
            self._select(None)
        elif self.following or self.cursor_id is None:
            self._select(self.feed[0].id)
        elif self.cursor_id not in self.feed:
            self._select(self.feed[min(self.feed.index(self.cursor_id), len(self.feed) - 1)].id)
        if self.following:
            self.scroll_to(y=0, animate=False)
        elif anchor.record_id is not None:
            self.scroll_to(y=self.feed.index(anchor.record_id) * ROW + anchor.offset, animate=False)
        self.refresh()

    def tick(self, now_ms: int) -> None:
        """The clock moved on: repaint if a row in view reads differently now."""
        self.now_ms = now_ms
        shown = tuple(
            (row.id, show.age(row.started_ms, now_ms), self._clock(row)) for row in self._in_view()
        )
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def set_sizes(self, sizes: dict[str, int]) -> None:
        """More of answers in flight has arrived."""
        if sizes != self.sizes:
            self.sizes = sizes
            self.refresh()

    def set_orphaned(self, orphaned: bool) -> None:
        """No proxy lives: what is in flight by its row is so no more."""
        if orphaned != self._orphaned:
            self._orphaned = orphaned
            self.refresh()

    def flying(self) -> tuple[str, ...]:
        """The ids in view whose exchange is in flight."""
        return tuple(row.id for row in self._in_view() if row.state is State.LIVE)

    def oldest_in_view(self) -> str | None:
        """The id down to which a list read anew must go."""
        rows = self._in_view()
        ids = [row.id for row in rows[-1:]]
        if self.cursor_id is not None:
            ids.append(self.cursor_id)
        return min(ids, default=None)

    def select(self, record_id: str) -> None:
        """Put the cursor on a record, if it is there, and show it."""
        if record_id in self.feed:
            self._select(record_id)
            self._show_cursor()

    @property
    def cursor(self) -> int:
        """The cursor's row, counted from the top."""
        return self.feed.index(self.cursor_id or "") if self.cursor_id in self.feed else 0

    def move_to(self, index: int) -> None:
        """Put the cursor on the index-th row, as a key or the mouse does."""
        if len(self.feed):
            index = max(0, min(index, len(self.feed) - 1))
            self._select(self.feed[index].id)
            self._show_cursor()
            self.post_message(self.LeftTop(index == 0 and self.feed.at_top))
            self._ask()

    # -- keys and mouse ------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        """Rows down."""
        self.move_to(self.cursor + rows)

    def action_page(self, pages: float) -> None:
        """Pages down."""
        rows = max(1, int(self._height() * abs(pages)) // ROW)
        self.move_to(self.cursor + (rows if pages > 0 else -rows))

    def action_top(self) -> None:
        """To the newest."""
        self.move_to(0)

    def action_bottom(self) -> None:
        """To the oldest that is loaded."""
        self.move_to(len(self.feed) - 1)

    def check_action(
        self,
        action: str,
        parameters: tuple[object, ...],  # noqa: ARG002
    ) -> bool | None:
        """There must be a record to open."""
        return action != "open" or self.cursor_id is not None

    def action_open(self) -> None:
        """Read what the cursor is on."""
        if self.cursor_id is not None:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        """A click selects, a second one opens."""
        index = self._row_at(event.y)
        if index is not None:
            if self.feed[index].id == self.cursor_id:
                self.post_message(self.Opened())
            self.move_to(index)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The exact time of the row under the pointer."""
        index = self._row_at(event.y)
        if index is None:
            self.tooltip = None
        else:
            self.tooltip = Content(show.exact_time(self.feed[index].started_ms))

    def on_show(self) -> None:
        """The cursor may have moved while another pane had the screen."""
        self.call_after_refresh(self._show_cursor)

    def on_resize(self) -> None:
        """A page more or less is in view."""
        self._measure()
        self._ask()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolling near an end asks for more."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            if new_value > 0 and self.following:
                self.post_message(self.LeftTop(False))
            self._ask()

    # -- the parts -----------------------------------------------------------------------------

    def _height(self) -> int:
        return int(self.scrollable_content_region.height)

    def _measure(self) -> None:
        tail = 0 if self.feed.at_bottom or not len(self.feed) else 1
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.feed) * ROW + tail)

    def _row_at(self, y: int) -> int | None:
        index = (y + round(self.scroll_y)) // ROW
        return index if index < len(self.feed) else None

    def _in_view(self) -> list[RecordMeta]:
        first = round(self.scroll_y) // ROW
        last = min(len(self.feed), first + self._height() // ROW + 2)
        return [self.feed[index] for index in range(first, last)]

    def _select(self, record_id: str | None) -> None:
        if record_id != self.cursor_id:
            if record_id is None or self.cursor_id is None:
                self.refresh_bindings()  # there is something to open, or nothing more
            self.cursor_id = record_id
            self.post_message(self.Selected(record_id))
            self.refresh()

    def _show_cursor(self) -> None:
        top = self.cursor * ROW
        height = self._height()
        if top < self.scroll_y:
            self.scroll_to(y=top, animate=False)
        elif top + ROW > self.scroll_y + height:
            self.scroll_to(y=top + ROW - height, animate=False)

    def _ask(self) -> None:
        first = round(self.scroll_y) // ROW
        if not self.feed.at_bottom and first + self._height() // ROW + NEAR >= len(self.feed):
            self.post_message(self.WantOlder())
        if not self.feed.at_top and first < NEAR:
            self.post_message(self.WantNewer())

    def _clock(self, row: RecordMeta) -> str:
        if row.state is State.LIVE:
            return show.elapsed(self.now_ms - row.started_ms)
        return ""

    # -- painting --------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of a row; no I/O, nothing parsed."""
        width = self.scrollable_content_region.width
        base = self.rich_style
        index, part = divmod(y + round(self.scroll_y), ROW)
        if index >= len(self.feed):
            older = part == 0 and index == len(self.feed) and index and not self.feed.at_bottom
            parts = [(_INDENT + "  … older", tone("faint"))] if older else []
            return strip(parts, width, base)
        row = self.feed[index]
        over: Style | None = None
        bar: tuple[str, Style] = (" ", Style())
        if row.id == self.cursor_id:
            over = tone("cursor" if self.has_focus else "cursor-blur")
            bar = ("▌", tone("bar" if self.has_focus else "faint"))
        elif show.failed(row):
            over = tone("tinted")
        paint = self._second if part else self._first
        return strip([bar, *paint(row, width - 2)], width, base, over)

    def _first(self, row: RecordMeta, width: int) -> list[tuple[str, Style]]:
        glyph, code, status = show.badge(row, self.now_ms)
        live = row.state is State.LIVE
        if live and self._orphaned:
            glyph, code, status, live = "◐", "cut", show.Tone.CUT, False
        left = f"{glyph} {code:<4} "
        right = show.age(row.started_ms, self.now_ms)
        name = ""
        if width >= _WIDE and self.key_names:
            right = f"{right:>10}"
            name = fit(escape(self.key_names.get(row.key_id, "")), _NAME)
        room = width - len(left) - len(name) - len(right) - 1
        return [
            (left, tone(status)),
            *self._who(row, room),
            (" ", Style()),
            (name, tone("dim")),
            (right, tone("live" if live else "dim")),
        ]

    def _who(self, row: RecordMeta, room: int) -> list[tuple[str, Style]]:
        """The model, and beside it whom it was asked of, if there is room for both."""
        model = escape(row.model or "Unknown")
        style = tone("strong") if row.model else tone("text")
        upstream = upstream_of(row.host)
        name = escape(upstream.name)
        if cell_len(model) + cell_len(name) + 2 > room:
            return [(fit(model, room), style)]
        rest = room - cell_len(model) - 2
        return [(model + "  ", style), (fit(name, rest), tone(f"kind-{upstream.kind}"))]

    def _second(self, row: RecordMeta, width: int) -> list[tuple[str, Style]]:
        metrics = self._metrics(row, width)
        room = width - len(_INDENT) - len(metrics) - 1
        path = escape(masks.mask_path(row.path))
        reason = escape(show.failure(row))
        parts: list[tuple[str, Style]] = [(_INDENT, Style())]
        if reason:
            # Why it failed says more than how its path begins.
            path = path.partition("?")[0]
            if cell_len(path) + cell_len(reason) + 3 > room:
                path = shorten_middle(path.rpartition("/")[2], max(8, room // 3))
            said = fit(reason, room - cell_len(path) - 3)
            parts += [
                (path + " · ", tone("dim")),
                (said, tone(str(show.badge(row, 0)[2]))),
            ]
        else:
            # The query goes before the path's middle does.
            bare = path.partition("?")[0]
            path = shorten_middle(path, room) if cell_len(bare) > room - 2 else path
            parts.append((fit(path, room), tone("dim")))
        parts.append((" " + metrics, tone("neutral")))
        return parts

    def _metrics(self, row: RecordMeta, width: int) -> str:
        """Right-aligned in fixed columns: duration, bytes up, bytes down, tokens where there is room."""
        up: int | None = row.request_bytes
        down: int | None = row.response_bytes if row.status is not None else None
        took = show.duration(row.duration_ms)
        if row.state is State.LIVE and not self._orphaned:
            took = f"{max(0, self.now_ms - row.started_ms) // 1000}s"
            if row.status is not None:
                down = self.sizes.get(row.id, row.response_bytes)
        text = f"{took:>5} ↑{show.size_column(up):>4} ↓{show.size_column(down):>4}"
        if width >= _WIDE:
            total = show.tokens_column(show.total_tokens(row))
            text += f" {total + ' tok' if total else '':>9}"
        return text
