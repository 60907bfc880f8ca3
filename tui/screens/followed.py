"""What is followed, on screen: the window of rows, the store's state, the record that is open.

All reading is done by `Follow`, `Pager` and the detail's workers; their messages arrive here.
The window of rows (`Feed`) is changed here and nowhere else. Keys and the mouse: tui.screens.main.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widgets import Static

from store.record import RecordMeta
from tui import follow as news
from tui import format as show
from tui.feed import Feed
from tui.follow import Follow
from tui.key_choice import KeyChoice
from tui.paging import PageLost, Pager, PageRead
from tui.safe_text import escape
from tui.source import OpenReader, Source
from tui.state import View, alive
from tui.widgets.diagnosis import Diagnosis
from tui.widgets.key_bar import KeyBar
from tui.widgets.record_list import RecordList
from tui.widgets.record_pane import RecordPane
from tui.widgets.status_bar import StatusBar

HELD = 2_000
"""News kept while paused; beyond it the list is read anew on resuming."""

SLOW_S = 0.3
"""An opening that takes longer is said; before, saying it would only flicker."""

EMPTY = "No requests recorded yet."


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class FollowedScreen(Screen[None]):
    """Status, list beside detail, keys; kept up to date by what following finds."""

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
        self._open_reader = open_reader
        self._sources = [Source(open_reader, name) for name in ("list", "detail", "count")]
        self._interval_s = interval_s
        self.feed = Feed()
        self._began_ms = clock()
        self.state = View(self._began_ms, place=place)
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
        self.rows.focus()
        self.set_interval(1.0, self.tick)
        self._begin()
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
        """The view's state changed: what paints it does so anew."""
        before = self.state
        self.state = replace(
            before,
            now_ms=self._clock(),
            following=self.rows.following,
            **changes,  # type: ignore[arg-type]
        )
        opening = self.has_class("opening") and self.state.lost is None
        empty = not len(self.feed)
        alone = empty and not opening and (not self.state.records or self.state.lost is not None)
        slow = self.state.now_ms - self._began_ms >= 1000 * SLOW_S
        self.set_class(empty and not alone and (slow or not opening), "empty")
        if self.has_class("diagnosis") != alone:
            self.set_class(alone, "diagnosis")
            self.refresh_bindings()
        if empty and not alone:
            self._empty.update(Content("Opening store…" if opening else EMPTY))
        if alone or replace(self.state, now_ms=before.now_ms) != before:
            self.bar.view = self.state
            self._diagnosis.view = self.state
            self.told()

    def told(self) -> None:
        """The state is another: for what else shows it."""

    def _begin(self) -> None:
        """A list is being read; if it takes long, that is said."""
        self._began_ms = self._clock()
        self.add_class("opening")
        self.set_timer(SLOW_S, self._tell)

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

    def on_callers_read(self, message: news.CallersRead) -> None:
        """Who passes unrecorded."""
        self._tell(seen=tuple(message.callers))

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

    # -- what is shown of it -----------------------------------------------------------------------

    def _enter(self) -> None:
        # Reading a record while the list follows would take it away.
        self._set_following(False)
        self.add_class("detail")
        self.detail.view.focus()
        self._place()

    def _set_following(self, following: bool) -> None:
        if self.rows.following != following:
            self.rows.following = following
            self._tell(unseen=0)

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
        self._begin()
        self._tell(unseen=0, held=0)

    def _toast(self, text: str, severity: SeverityLevel, timeout_s: float = 5.0) -> None:
        # markup=False: it may quote a key's name or an error's text.
        self.notify(escape(text), severity=severity, timeout=timeout_s, markup=False)
