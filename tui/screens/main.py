"""The product's one screen, as it is worked: selecting, opening, keys, copying.

What it shows and how that is kept up to date: tui.screens.followed.
"""

import shlex
from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.message import Message
from textual.notifications import SeverityLevel

from store.record import RecordMeta
from tui import format as show
from tui.clipboard import Copied, copy
from tui.managing import Managing, OpenStore
from tui.screens.followed import HELD, FollowedScreen
from tui.source import OpenReader, Source
from tui.state import client_lines
from tui.widgets.document_view import DocumentView
from tui.widgets.record_list import RecordList
from tui.widgets.record_pane import RecordPane

if TYPE_CHECKING:
    from tui.screens.key_actions import KeyActions
    from tui.screens.keys import KeysScreen

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


class MainScreen(FollowedScreen):
    """The product's one screen; what else there is opens over it."""

    BINDINGS = [
        Binding(
            "f", "follow", "follow", tooltip="stay at the newest record, or not", id="main.follow"
        ),
        Binding(
            "space",
            "pause",
            "pause",
            key_display="space",
            tooltip="hold the list still, or go on",
            id="main.pause",
        ),
        Binding("K", "next_key", "key", tooltip="next key's records", id="main.next_key"),
        Binding("ctrl+k", "pick_key", "choose a key", show=False, id="main.pick_key"),
        Binding(
            "a", "keys", "keys", tooltip="the API keys, and who is not recorded", id="main.keys"
        ),
        Binding("left_square_bracket", "record(-1)", "newer record", show=False, id="main.newer"),
        Binding("right_square_bracket", "record(1)", "older record", show=False, id="main.older"),
        Binding("tab,shift+tab", "other_pane", "other pane", show=False, id="main.other_pane"),
        Binding(
            "y",
            "copy_lines",
            "copy",
            tooltip="copy the command that opens this record",
            id="main.copy",
        ),
        Binding(
            "R",
            "keep",
            "keep",
            tooltip="keep the last minutes of what proxies hold in memory (flowtap_ring)",
            id="main.keep",
        ),
        Binding("z", "zoom", "zoom", tooltip="this pane alone, or both", id="main.zoom"),
        Binding(
            "Y",
            "copy_link",
            "copy the command that opens this record",
            show=False,
            id="main.copy_link",
        ),
        *(
            Binding(
                str(n),
                f"open_at({n - 1})",
                f"open at section {n}",
                show=False,
                tooltip=f"open at section {n}; on the empty list: record caller {n}",
                id=f"main.section_{n}",
            )
            for n in range(1, 5)
        ),
        Binding("question_mark,f1", "help", "help", key_display="?", id="main.help"),
        Binding("q", "leave", "back, or quit", show=False, id="main.leave"),
    ]

    def __init__(
        self, open_reader: OpenReader, open_store: OpenStore, place: str, **options: Any
    ) -> None:
        """`open_store` is called when something is to be changed; `options`: see FollowedScreen."""
        super().__init__(open_reader, place, **options)
        self._managing = Managing(open_store)
        self._keys_screen: KeysScreen | None = None

    def on_unmount(self) -> None:
        """What is being changed is changed to its end, on its thread. (Textual calls the base's as well.)"""
        self._managing.close()

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

    def on_record_list_left_top(self, message: RecordList.LeftTop) -> None:
        """Moving away from the top ends following; only `f` begins it."""
        if not message.at_top:
            self._set_following(False)
        elif self.state.unseen:
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

    def action_open_at(self, section: int) -> None:
        """Straight from the list into a section of the record under the cursor; where there is no
        record, to having the caller of that number recorded."""
        if self.has_class("diagnosis"):
            if section < len(self.state.seen):
                self._key_actions().opt_in(self.state.seen[section], self.state.keys)
            return
        self.on_record_list_opened()
        if self.in_detail:
            self.detail.view.go_to(section)

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

        behind = self._keys_screen or self
        self.app.push_screen(HelpScreen(behind, MainScreen))

    # -- the key selector --------------------------------------------------------------------------

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

    # -- managing keys -----------------------------------------------------------------------------

    def _key_actions(self) -> "KeyActions":
        from tui.screens.key_actions import KeyActions

        return KeyActions(self.app, self._managing, self._clock, self._keys_changed)

    def _keys_changed(self) -> None:
        """Something was changed here: what shows it need not wait for the next look."""
        self._follow.read_again()
        if self._keys_screen is not None:
            self._keys_screen.count_again()

    def action_keys(self) -> None:
        """The keys, on a screen of their own."""
        from tui.screens.keys import KeysScreen

        screen = KeysScreen(
            self.state,
            Source(self._open_reader, "keys"),
            self._key_actions(),
            self._clock,
            self._interval_s,
            self.action_help,
        )

        def left(key_id: str | None) -> None:
            self._keys_screen = None
            if self.keys.get(key_id) is not None and key_id != self.keys.selected:
                self._select_key(key_id)

        self._keys_screen = screen
        self.app.push_screen(screen, left)

    def told(self) -> None:
        """The Keys screen shows it, too."""
        if self._keys_screen is not None:
            self._keys_screen.view = self.state

    def action_keep(self) -> None:
        """Something just went wrong: have what proxies hold in memory recorded."""
        self._key_actions().keep(self.state.proxies)

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
