"""The screen: status, list beside detail, keys. Wires what is followed to what is shown.

All reading is done by `Follow` and by workers; their messages arrive here. The window of rows
(`Feed`) is changed here and nowhere else.
"""

import shlex
import time
from collections.abc import Callable
from dataclasses import replace

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import Static

from store.record import RecordMeta
from tui import follow as news
from tui import format as show
from tui.clipboard import Copied, copy
from tui.feed import Feed
from tui.follow import Follow
from tui.key_choice import KeyChoice
from tui.paging import PageLost, Pager, PageRead
from tui.safe_text import escape
from tui.source import OpenReader, Source
from tui.state import View, alive, client_lines
from tui.widgets.diagnosis import Diagnosis
from tui.widgets.document_view import DocumentView
from tui.widgets.key_bar import KeyBar
from tui.widgets.record_list import RecordList
from tui.widgets.record_pane import RecordPane
from tui.widgets.status_bar import StatusBar

SETTLE_S = 0.05
"""The detail follows the cursor after it rested this long: a held key loads nothing on its way."""


class CopyDone(Message):
    """How copying went; `send` is for the terminal."""

    def __init__(self, send: str, said: str, ok: bool) -> None:
        super().__init__()
        self.send = send
        self.said = said
        self.ok = ok

    @classmethod
    def after(cls, done: Copied, text: str, what: str) -> "CopyDone":
        """The message for what the clipboard said."""
        return cls(text if done.send else "", f"{done.said} ({what})", done.ok)


HELD = 2_000
"""News kept while paused; beyond it the list is read anew on resuming."""

EMPTY = "No requests recorded yet."


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class MainScreen(Screen[None]):
    """The product's one screen; what else there is opens over it."""

    BINDINGS = [
        Binding("f", "follow", "follow", id="main.follow"),
        Binding("space", "pause", "pause", key_display="space", id="main.pause"),
        Binding("K", "next_key", "key", id="main.next_key"),
        Binding("ctrl+k", "pick_key", "choose a key", show=False, id="main.pick_key"),
        Binding("left_square_bracket", "record(-1)", "newer record", show=False, id="main.newer"),
        Binding("right_square_bracket", "record(1)", "older record", show=False, id="main.older"),
        Binding("tab,shift+tab", "other_pane", "pane", show=False, id="main.other_pane"),
        Binding("z", "zoom", "zoom", id="main.zoom"),
        Binding("y", "copy_lines", "copy", id="main.copy"),
        Binding("Y", "copy_link", "copy link", show=False, id="main.copy_link"),
        Binding("question_mark,f1", "help", "help", key_display="?", id="main.help"),
        Binding("q", "leave", "quit", show=False, id="main.leave"),
    ]

    def __init__(
        self,
        open_reader: OpenReader,
        place: str,
        *,
        key: str | None = None,
        record: str | None = None,
        clock: Callable[[], int] = now_ms,
        interval_s: float = news.INTERVAL_S,
    ) -> None:
        """`place` is the store's name for the user; `key` and `record` say where to open."""
        super().__init__()
        self._clock = clock
        self._wanted_key = key
        self._wanted_record = record
        self._sources = [Source(open_reader, name) for name in ("list", "detail", "count")]
        self._interval_s = interval_s
        self.feed = Feed()
        self.state = View(clock(), place=place)
        self.keys = KeyChoice()
        self._held: list[RecordMeta] = []
        self.pager = Pager(self._sources[0], self.feed, self.post_message)
        self.bar = StatusBar(id="status")
        self.rows = RecordList(self.feed, id="list")
        self.detail = RecordPane(self._sources[1], live_s=interval_s, id="detail")
        self._empty = Static(id="empty")
        self._diagnosis = Diagnosis(id="diagnosis")
        self._follow = Follow(
            self._sources[0], self._sources[2], self.post_message, self._sight, interval_s
        )

    def compose(self) -> ComposeResult:
        """All of it at once: what is not needed is hidden by a class."""
        yield self.bar
        with Horizontal(id="panes"):
            yield self.rows
            yield self.detail
        yield self._empty
        yield self._diagnosis
        yield Static("needs 60×10", id="too-small")  # noqa: RUF001
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Following starts with the first paint."""
        self.set_class(True, "opening")
        self.rows.focus()
        self.set_interval(1.0, self.tick)
        self.run_worker(self._follow.run(), group="follow")
        self._tell()

    def on_unmount(self) -> None:
        """Readers are freed on their own threads."""
        for source in self._sources:
            source.close()

    # -- parts ---------------------------------------------------------------------------------------

    @property
    def in_detail(self) -> bool:
        """The detail has the reader's attention."""
        return self.has_class("detail")

    def _tell(self, **changes: object) -> None:
        """The view's state changed: everything that paints it does so anew."""
        self.state = replace(
            self.state,
            now_ms=self._clock(),
            following=self.rows.following,
            **changes,  # type: ignore[arg-type]
        )
        self.bar.view = self.state
        self._diagnosis.view = self.state
        empty = not len(self.feed)
        alone = empty and (not self.state.records or self.state.lost is not None)
        self.set_class(empty and not alone, "empty")
        self.set_class(alone, "diagnosis")
        self.refresh_bindings()
        if empty:
            self._empty.update(Content(EMPTY if self.state.opened else "Opening store…"))

    def tick(self) -> None:
        """Once a second: ages, the clocks of what is in flight."""
        now = self._clock()
        self.rows.tick(now)
        if self.state.now_ms // 1000 != now // 1000 and (
            self.has_class("diagnosis") or self.state.lost
        ):
            self._tell()

    def _sight(self) -> news.Sight:
        """What following has to know of the view."""
        oldest = self._wanted_record or self.rows.oldest_in_view()
        return news.Sight(oldest, () if self.state.paused else self.rows.flying())

    # -- what following found ----------------------------------------------------------------------

    def on_list_read(self, message: news.ListRead) -> None:
        """The list anew, as far down as the view reaches."""
        if message.key_id != self.keys.selected:
            return
        eye = self.rows.eye()
        held = self.state.paused
        self.feed.snapshot(message.rows, whole=message.whole)
        self.feed.seq = message.seq
        self._held.clear()
        self.rows.now_ms = self._clock()
        if self._wanted_record is not None and self.rows.cursor_id is None:
            self._open_wanted(self._wanted_record)
        self.rows.changed(eye)
        self.remove_class("opening")
        self._tell(held=0, paused=held, records=max(self.state.records, len(self.feed)))
        if self.detail.record_id is not None and self.detail.record_id not in self.feed:
            self.detail.reload()
        self._place()

    def _open_wanted(self, record_id: str) -> None:
        """The deep link: the record is opened, and found in the list if it was read that far."""
        self._wanted_record = None
        self.rows.following = False
        self.detail.open(record_id)
        self.rows.select(record_id)
        self._enter()

    def on_news_arrived(self, message: news.NewsArrived) -> None:
        """New and changed rows; held back while paused."""
        if message.key_id != self.keys.selected:
            return
        if self.state.paused:
            self._held += message.rows
            fresh = {row.id for row in self._held if row.id not in self.feed}
            self._tell(held=len(fresh))
            if len(self._held) > HELD:
                del self._held[:-HELD]
            return
        self._take(message.rows)

    def _take(self, rows: list[RecordMeta]) -> None:
        eye = self.rows.eye()
        fresh = self.feed.news(rows)
        self.rows.now_ms = self._clock()
        self.rows.changed(eye)
        unseen = 0 if self.rows.following else self.state.unseen + fresh
        self._tell(unseen=unseen, records=max(self.state.records, len(self.feed)))
        self._place()

    def on_keys_read(self, message: news.KeysRead) -> None:
        """The keys changed: the selector, the rows' names, and what is selected."""
        keys = self.keys
        kept = keys.update(message.keys)
        self.detail.key_names = keys.names
        if self._wanted_key is not None:
            wanted, self._wanted_key = self._wanted_key, None
            found = keys.named(wanted)
            if found is not None:
                self._select_key(found.id, keep_record=True)
            else:
                self._toast(f"Key {wanted} has no retention; showing all keys.", "warning")
        elif not kept:
            first = keys.first
            shown = f"showing {show.key_label(first)}" if first else "no key is left"
            self._toast(f"The key shown lost its retention; {shown}.", "warning")
            self._select_key(first.id if first else None)
        self._name_key()
        self._tell(keys=tuple(message.keys))

    def on_proxies_read(self, message: news.ProxiesRead) -> None:
        """Who records, and whether they live."""
        self.rows.set_orphaned(alive(message.proxies) is None)
        self._tell(proxies=tuple(message.proxies))

    def on_counts_read(self, message: news.CountsRead) -> None:
        """The totals."""
        if message.key_id == self.keys.selected:
            self.bar.counts = message.counts
            records = message.counts.records
            if self.keys.selected is not None:
                records = max(records, self.state.records)
            self._tell(records=records)

    def on_bytes_read(self, message: news.BytesRead) -> None:
        """Rows in flight grow."""
        if not self.state.paused:
            self.rows.set_sizes(message.sizes)

    def on_store_lost(self, message: news.StoreLost) -> None:
        """Said, and the rows stay, dimmed."""
        self.set_class(True, "lost")
        self._tell(lost=message.reason)

    def on_store_back(self) -> None:
        """Good again; the detail reads what it could not."""
        self.remove_class("lost")
        self._tell(lost=None, opened=True)
        if self.detail.record_id is not None and self.detail.document is None:
            self.detail.reload()

    # -- paging --------------------------------------------------------------------------------------

    def on_record_list_want_older(self) -> None:
        """The page below."""
        self._page(older=True)

    def on_record_list_want_newer(self) -> None:
        """The page above, where rows were let go."""
        self._page(older=False)

    def _page(self, *, older: bool) -> None:
        before = self.pager.cursor(older=older)
        if before is not None:
            self.run_worker(self.pager.run(self.keys.selected, before, older=older), group="page")

    def on_page_read(self, message: PageRead) -> None:
        """Put in, unless the window has changed since."""
        if message.key_id == self.keys.selected:
            eye = self.rows.eye()
            self.pager.take(message)
            self.rows.changed(eye)
            self._place()

    def on_page_lost(self, message: PageLost) -> None:
        """The list stays as it is; the next scroll asks again."""
        self._toast(f"Failed to load older records: {message.reason}", "error")

    # -- selecting and opening ---------------------------------------------------------------------

    def on_record_list_selected(self, message: RecordList.Selected) -> None:
        """The detail comes along, once the cursor rests."""
        record_id = message.record_id
        if record_id is None:
            self.detail.open(None)
        elif not self.in_detail:
            self.set_timer(SETTLE_S, lambda: self._rested(record_id))

    def _rested(self, record_id: str) -> None:
        if self.rows.cursor_id == record_id and not self.in_detail and self.detail.display:
            self.detail.open(record_id)
            self._place()

    def on_record_list_opened(self) -> None:
        """Into the detail."""
        if self.rows.cursor_id is not None:
            self.detail.open(self.rows.cursor_id)
            self._enter()

    def _enter(self) -> None:
        # Reading a record while the list follows would take it away.
        self._set_following(False)
        self.add_class("detail")
        self.detail.view.focus()
        self._place()

    def on_record_pane_back(self) -> None:
        """Back to the list, at the record that was read."""
        self.remove_class("detail")
        self.rows.focus()

    def on_descendant_focus(self) -> None:
        """A click focuses a pane, too."""
        inside = isinstance(self.focused, DocumentView)
        if inside and not self.in_detail:
            self._set_following(False)
        self.set_class(inside, "detail")
        self.refresh_bindings()

    def _place(self) -> None:
        """`2 / 10` in the detail's bar."""
        pane = self.detail
        pane.title = ""
        if pane.record_id is not None and pane.record_id in self.feed:
            total = show.thousands(max(len(self.feed), self._total()))
            pane.title = f"{show.thousands(self.feed.index(pane.record_id) + 1)} / {total}"
        pane.refresh_bar()

    def _total(self) -> int:
        counts = self.bar.counts
        return counts.records if counts is not None else 0

    def on_record_list_left_top(self, message: RecordList.LeftTop) -> None:
        """Moving away from the top ends following; only `f` begins it."""
        if not message.at_top:
            self._set_following(False)
        elif self.state.unseen:
            self._tell(unseen=0)

    def _set_following(self, following: bool) -> None:
        if self.rows.following != following:
            self.rows.following = following
            self._tell(unseen=0)

    # -- keys ------------------------------------------------------------------------------------------

    def check_action(
        self,
        action: str,
        parameters: tuple[object, ...],  # noqa: ARG002
    ) -> bool | None:
        """What cannot act where the focus is is not offered."""
        if action in ("pause", "next_key", "follow", "zoom"):
            return not self.has_class("diagnosis") and (action == "zoom" or not self.in_detail)
        if action == "copy_lines":
            return not self.in_detail
        return True

    def action_follow(self) -> None:
        """Stay at the newest; again: stay here."""
        self._set_following(not self.rows.following)
        if self.rows.following:
            if self.state.paused:
                self.action_pause()
            if not self.feed.at_top:
                self._follow.watch(self.keys.selected)
            self.rows.changed(self.rows.eye())

    def on_status_bar_follow_clicked(self) -> None:
        """As its key."""
        self.action_follow()

    def action_pause(self) -> None:
        """Hold the list still; what comes is counted."""
        if not self.state.paused:
            self._tell(paused=True, held=0)
            return
        held = self._held
        self._held = []
        self._tell(paused=False, held=0)
        if len(held) >= HELD:
            self._follow.read_again()
        else:
            self._take(held)

    def action_record(self, step: int) -> None:
        """The record above or below, without leaving the detail."""
        self.rows.move_to(self.rows.cursor + step)
        if self.rows.cursor_id is not None:
            self.detail.open(self.rows.cursor_id)
        self._place()

    def action_other_pane(self) -> None:
        """To the list or to the detail."""
        if self.in_detail:
            self.on_record_pane_back()
        else:
            self.on_record_list_opened()

    def action_zoom(self) -> None:
        """The focused pane alone, or both."""
        self.toggle_class("zoom")

    def action_leave(self) -> None:
        """Back, or out."""
        if self.in_detail:
            self.on_record_pane_back()
        else:
            self.app.exit(return_code=0)

    def action_help(self) -> None:
        """All keys."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self))

    # -- the key selector --------------------------------------------------------------------------

    def _name_key(self) -> None:
        self.bar.key_name = self.keys.label
        self.rows.key_names = self.keys.mixed
        self.rows.refresh()

    def _select_key(self, key_id: str | None, *, keep_record: bool = False) -> None:
        """Show another key's records; the selected record is let go."""
        self.keys.selected = key_id
        self.feed.snapshot([], whole=False)
        self._held.clear()
        self.rows.cursor_id = None
        self.rows.following = True
        if not keep_record:
            self.detail.open(None)
            self.remove_class("detail")
            self.rows.focus()
        self.bar.counts = None
        self._name_key()
        self._follow.watch(key_id)
        self.add_class("opening")
        self._tell(unseen=0, held=0)

    def action_next_key(self) -> None:
        """All keys, then each key in turn."""
        if self.keys.after != self.keys.selected:
            self._select_key(self.keys.after)

    def action_pick_key(self) -> None:
        """Choose from the list of keys."""
        from tui.screens.key_picker import KeyPicker

        def chosen(key_id: str | None) -> None:
            if key_id is not None and (key_id or None) != self.keys.selected:
                self._select_key(key_id or None)

        self.app.push_screen(KeyPicker(self.keys.keys, self.keys.selected), chosen)

    def on_status_bar_key_clicked(self) -> None:
        """As its key."""
        self.action_pick_key()

    # -- copying ---------------------------------------------------------------------------------------

    def on_record_pane_copy_wanted(self, message: RecordPane.CopyWanted) -> None:
        """From the detail."""
        note = f", {show.plural(message.masked, 'secret')} masked" if message.masked else ""
        self._copy(message.text, f"{message.what}{note}")

    def action_copy_lines(self) -> None:
        """From the list: the client's lines where they are shown, else the link."""
        if self.has_class("diagnosis"):
            self._copy("\n".join(client_lines(self.state)) + "\n", "client lines")
        else:
            self.action_copy_link()

    def action_copy_link(self) -> None:
        """The command that opens at this record."""
        record_id = self.detail.record_id if self.in_detail else self.rows.cursor_id
        row = self._row(record_id)
        if row is None:
            return
        key = self.keys.get(row.key_id)
        name = f"--key {shlex.quote(key.name)} " if key else ""
        self._copy(f"flowtap {name}--record {row.id}", "link")

    def _row(self, record_id: str | None) -> RecordMeta | None:
        if record_id is None:
            return None
        if record_id in self.feed:
            return self.feed[self.feed.index(record_id)]
        document = self.detail.document
        return document.meta if document is not None else None

    def _copy(self, text: str, what: str) -> None:
        if text:
            # On a thread of its own: a tool may hang for seconds.
            self.run_worker(
                lambda: self.post_message(CopyDone.after(copy(text), text, what)),
                thread=True,
                group="copy",
            )
        else:
            self._toast(f"Nothing to copy: {what}", "warning")

    def on_copy_done(self, message: CopyDone) -> None:
        """Said for as long as it takes to read."""
        if message.send:
            self.app.copy_to_clipboard(message.send)
        severity: SeverityLevel = "information" if message.ok else "error"
        self._toast(message.said, severity, 1.5 if message.ok else 2.0)

    def _toast(self, text: str, severity: SeverityLevel, timeout_s: float = 5.0) -> None:
        # markup=False: it may quote a key's name or an error's text.
        self.notify(escape(text), severity=severity, timeout=timeout_s, markup=False)
