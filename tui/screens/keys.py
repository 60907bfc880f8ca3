"""The Keys screen: which keys are recorded and for how long, and who was seen and is not.

What it shows is told to it (`view`), but for the numbers of each key's records, which are
counted on a thread of its own, and only of the keys on screen: counting walks a key's rows.
What it changes: tui.screens.key_actions.
"""

import asyncio
from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Static

from store.contract import Reader
from store.errors import StoreError
from store.record import Key, Seen
from tui.format import plural, thousands
from tui.key_words import ring_words
from tui.safe_text import escape
from tui.screens.key_actions import KeyActions
from tui.source import Source
from tui.state import View, ring
from tui.widgets.key_bar import KeyBar
from tui.widgets.key_table import Facts, KeyTable
from tui.widgets.title_line import TitleLine, Words

COUNT_AGAIN_S = 2.0
"""Between two counts of the keys on screen."""

COUNT_SHARE = 10
"""Counting rests this many times as long as it took: a tenth of a core at most."""

NO_KEYS = "No keys yet: a adds one by its secret, or ↵ one of those seen below."
NO_STORE = "No store yet: adding a key makes it."
NO_CALLERS = "Nobody: no LLM call without a recorded key has passed."


class KeysScreen(Screen[str | None]):
    """Dismissed with the id of the key whose records are wanted, or None."""

    BINDINGS = [
        Binding("enter,l,right", "retention", "retention", key_display="↵", id="key_screen.open"),
        Binding(
            "enter,l,right",
            "opt_in",
            "record it",
            key_display="↵",
            tooltip="a caller: record it from now on",
            id="key_screen.opt_in",
        ),
        Binding(
            "a", "add", "add", tooltip="add a key by its secret, or by a rule", id="key_screen.add"
        ),
        Binding("n", "rename", "rename", id="key_screen.rename"),
        Binding(
            "D,delete",
            "remove",
            "remove",
            key_display="D",
            tooltip="delete the key's records, then the key",
            id="key_screen.remove",
        ),
        Binding(
            "R",
            "keep",
            "keep",
            tooltip="keep the last minutes of what proxies hold in memory; on a caller: of its alone",
            id="key_screen.keep",
        ),
        Binding(
            "escape,q,h,left", "dismiss(None)", "back", key_display="esc", id="key_screen.back"
        ),
        Binding(
            "p", "purge", "purge", tooltip="delete what has expired, now", id="key_screen.purge"
        ),
        Binding(
            "s", "records", "records", tooltip="show this key's records", id="key_screen.records"
        ),
        Binding("question_mark,f1", "help", "help", key_display="?", id="key_screen.help"),
    ]

    view: reactive[View] = reactive(View(0), init=False)

    def __init__(
        self,
        view: View,
        source: Source,
        actions: KeyActions,
        clock: Callable[[], int],
        interval_s: float,
        show_help: Callable[[], None],
    ) -> None:
        """`source` is this screen's own and closed with it; `interval_s` is the pace of following."""
        super().__init__()
        self.set_reactive(KeysScreen.view, view)
        self._source = source
        self._actions = actions
        self._clock = clock
        self._show_help = show_help
        self._pace_s = 10 * interval_s * COUNT_AGAIN_S
        self._wake = asyncio.Event()
        self._counted: set[str] = set()
        """Ids of keys whose numbers are fresh enough."""
        self.title_line = TitleLine(id="keys-title")
        self.table = KeyTable(id="key-table")

    def compose(self) -> ComposeResult:
        """Title, rows, keys."""
        yield self.title_line
        yield self.table
        yield Static("needs 60×10", id="too-small")  # noqa: RUF001
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Counting starts with the first paint."""
        self.table.tick(self._clock())
        self.watch_view()
        self.table.focus()
        self.set_interval(1.0, lambda: self.table.tick(self._clock()))
        self.run_worker(self._count(), group="count")

    def on_unmount(self) -> None:
        """The reader is freed on its own thread."""
        self._source.close()

    # -- what is shown ---------------------------------------------------------------------------

    def watch_view(self) -> None:
        """Keys, callers or the store's state changed."""
        view = self.view
        if view.keys != self.table.keys:
            self._counted.clear()
        empty = NO_KEYS if view.opened else NO_STORE
        self.table.show(view.keys, view.seen, (empty, NO_CALLERS))
        self.title_line.left = _title(view)
        held = ring(view)
        long = f"ring {ring_words(view.proxies)}"
        self.title_line.right = ((long, "accent"), (held, "accent")) if held else ()
        self.set_class(view.lost is not None, "lost")
        self._wake.set()

    def on_key_table_cursor_moved(self) -> None:
        """Other actions apply, other keys may be in view."""
        self.refresh_bindings()
        self._wake.set()

    def count_again(self) -> None:
        """Records were deleted, or kept."""
        self._counted.clear()
        self._wake.set()

    async def _count(self) -> None:
        """Count the keys on screen, again and again, at a measured pace."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._count_once()
            rest = max(self._pace_s, COUNT_SHARE * (loop.time() - began))
            try:
                # A key that came into view and was not counted yet does not wait for that.
                await asyncio.wait_for(self._anything_wanted(), rest)
            except TimeoutError:
                self._counted.clear()

    async def _count_once(self) -> None:
        for key in self._wanted():
            self._counted.add(key.id)
            try:
                facts = await self._source.read(_facts_of(key.id))
            except StoreError:
                # Whoever follows meets the same store, and says so.
                continue
            self.table.set_facts(key.id, facts)

    async def _anything_wanted(self) -> None:
        while not self._wanted():
            self._wake.clear()
            await self._wake.wait()

    def _wanted(self) -> list[Key]:
        on = (key for key in self.table.in_view() if key.retention_s is not None)
        return [key for key in on if key.id not in self._counted]

    # -- keys --------------------------------------------------------------------------------------

    def check_action(
        self,
        action: str,
        parameters: tuple[object, ...],  # noqa: ARG002
    ) -> bool | None:
        """What cannot act on what the cursor is on is not offered."""
        row = self.table.current
        if action == "opt_in":
            return isinstance(row, Seen)
        if action in ("retention", "rename", "purge", "remove"):
            return isinstance(row, Key)
        if action == "records":
            return isinstance(row, Key) and row.retention_s is not None
        return True

    def action_retention(self) -> None:
        """How long a key's records are kept."""
        if isinstance(row := self.table.current, Key):
            self._actions.set_retention(row)

    def action_opt_in(self) -> None:
        """A caller as a key."""
        if isinstance(row := self.table.current, Seen):
            self._actions.opt_in(row, self.view.keys)

    def on_key_table_opened(self) -> None:
        """As its key."""
        self.action_retention()
        self.action_opt_in()

    def action_add(self) -> None:
        """A key by its secret, or by a rule."""
        self._actions.add()

    def action_rename(self) -> None:
        """Another name."""
        if isinstance(row := self.table.current, Key):
            self._actions.rename(row)

    def action_purge(self) -> None:
        """What has expired."""
        if isinstance(row := self.table.current, Key):
            self._actions.purge(row)

    def action_remove(self) -> None:
        """The records, then the key."""
        if isinstance(row := self.table.current, Key):
            self._actions.remove(row)

    def action_records(self) -> None:
        """Back to the list, at this key."""
        if isinstance(row := self.table.current, Key):
            self.dismiss(row.id)

    def action_keep(self) -> None:
        """What proxies hold in memory; of the caller the cursor is on alone."""
        row = self.table.current
        self._actions.keep(self.view.proxies, row if isinstance(row, Seen) else None)

    def action_help(self) -> None:
        """All keys."""
        self._show_help()


def _title(view: View) -> Words:
    if view.lost is not None:
        return ((f"✗ STORE: {escape(view.lost)} (retrying 1s)", "error"),)
    on = sum(key.retention_s is not None for key in view.keys)
    words = [
        ("API KEYS", "strong"),
        (f"{thousands(on)} of {plural(len(view.keys), 'key')} on", "text"),
    ]
    if view.seen:
        words.append((f"{plural(len(view.seen), 'caller')} seen, not recorded", "warning"))
    return tuple(words)


def _facts_of(key_id: str) -> Callable[[Reader], Facts]:
    def facts(reader: Reader) -> Facts:
        newest = reader.records(key_id=key_id, limit=1)
        return Facts(reader.counts(key_id).records, newest[0].started_ms if newest else None)

    return facts
