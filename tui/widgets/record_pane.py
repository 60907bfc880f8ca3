"""The detail: one record's bar and document, loaded away from the screen, live while in flight.

Each opening has a token (tui.record_loader); what comes back for an older one is dropped, so a
quick A to B never shows A. Workers post messages, only the handlers here touch widgets.
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.worker import Worker

from tui.document.layout import HEADING, Place
from tui.document.names import BODIES, COLLECTED, EVENTS, JSON, RAW, RESPONSE_BODY
from tui.record_loader import LIVE_S, RecordArrived, RecordGrew, RecordLoader
from tui.safe_text import escape
from tui.source import Source
from tui.widgets.detail_bar import Told
from tui.widgets.detail_bar import bar as detail_bar
from tui.widgets.document_view import DocumentView

if TYPE_CHECKING:
    # Collectors and documents come with the first record, after the first paint.
    from tui.document.headers import HeaderBlock
    from tui.document.record_document import RecordDocument

SLOW_S = 0.3
"""A load that takes longer says so."""


class RecordPane(Vertical):
    """Shows one record; knows nothing of the list."""

    BINDINGS = [
        Binding("escape,h", "back", "back", key_display="esc", id="detail.back"),
        Binding("left", "back", "back", show=False, id="detail.out"),
        Binding(
            "e", "events", "events", tooltip="events, or the collected answer", id="detail.events"
        ),
        Binding(
            "c",
            "cycle",
            "json",
            tooltip="the collected answer as JSON, or to read",
            id="detail.cycle",
        ),
        Binding("r", "raw", "raw", tooltip="the bytes as they are, or formatted", id="detail.raw"),
        Binding(
            "space",
            "reveal",
            "show",
            key_display="space",
            tooltip="show or hide the secret in this row",
            id="detail.reveal",
        ),
        Binding(
            "X",
            "reveal_section",
            "show all",
            show=False,
            tooltip="show or hide every secret of this section",
            id="detail.reveal_section",
        ),
        Binding(
            "y", "copy", "copy", tooltip="copy this header row, or this section", id="detail.copy"
        ),
    ]

    class Back(Message):
        """To the list."""

    class CopyWanted(Message):
        """Text for the clipboard; `masked` secrets in it are hidden."""

        def __init__(self, text: str, what: str, masked: int) -> None:
            super().__init__()
            self.text = text
            self.what = what
            self.masked = masked

    def __init__(self, source: Source, *, live_s: float = LIVE_S, id: str | None = None) -> None:
        super().__init__(id=id)
        self._loader = RecordLoader(source, self.post_message, live_s)
        self._worker: Worker[None] | None = None
        self._document: RecordDocument | None = None
        self._notice = ""
        self._offered = (False, 0)
        self.record_id: str | None = None
        self.title = ""
        """Where the record stands, for the bar's right end."""
        self.key_names: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """The bar over the document."""
        yield Static(id="detail-bar")
        yield DocumentView(id="document")

    @property
    def view(self) -> DocumentView:
        """The document's widget."""
        return self.query_one(DocumentView)

    @property
    def document(self) -> "RecordDocument | None":
        """What is shown."""
        return self._document

    # -- opening -----------------------------------------------------------------------------------

    def open(self, record_id: str | None) -> None:
        """Show another record, or none; the old one is taken away at once."""
        if record_id == self.record_id and (self._document is not None or record_id is None):
            return
        self.record_id = record_id
        self._start(keep=False)

    def reload(self) -> None:
        """Read the record again: the store came back, or it may be gone."""
        if self.record_id is not None:
            self._start(keep=True)

    def _start(self, *, keep: bool) -> None:
        self._loader.token += 1
        if self._worker is not None:
            self._worker.cancel()
            self._worker = None
        if not keep:
            self._document = None
            self._notice = ""
            self.view.show((), keep=False)
        self._bar()
        if self.record_id is not None:
            token = self._loader.token
            # Not a coroutine: of a worker that is cancelled before it began none would be awaited.
            self._worker = self.run_worker(
                partial(self._loader.run, token, self.record_id), group="detail"
            )
            self.set_timer(SLOW_S, partial(self._slow, token))

    def _slow(self, token: int) -> None:
        if token == self._loader.token and self._document is None and not self._notice:
            self._notice = "Loading…"
            self._bar()

    def on_record_arrived(self, message: RecordArrived) -> None:
        """A document is there, if it is still wanted."""
        message.stop()
        if message.token != self._loader.token:
            return
        if message.loaded is None:
            self._gone(message.error)
            return
        fresh, old = message.loaded.document, self._document
        if fresh is old:
            return
        if old is not None:
            fresh.adopt(old)
        self._document = fresh
        self._notice = ""
        self._show(keep=old is not None, tail=True)
        self._build()

    def _gone(self, error: str | None) -> None:
        if error is not None:
            self._notice = f"✗ {escape(error)}"
        elif self._document is not None:
            self._notice = "This record passed its retention and was deleted."
        else:
            self._notice = "No such record."
        self._bar()

    def on_record_grew(self, message: RecordGrew) -> None:
        """More of the stream: the tail is painted anew, the rest stays measured."""
        message.stop()
        if message.token == self._loader.token:
            self._show(keep=True, tail=True)

    def _build(self) -> None:
        """Make the views that are too large to be made here."""
        document, token = self._document, self._loader.token
        if document is None:
            return
        wanted = [(n, document.view[n]) for n in BODIES if not document.built(n)]

        async def build() -> None:
            for number, view in wanted:
                await asyncio.to_thread(document.build, number, view)
            self.post_message(RecordGrew(token))

        if wanted:
            self.run_worker(build(), group="format")

    # -- showing -----------------------------------------------------------------------------------

    def _show(self, *, keep: bool, tail: bool = False) -> None:
        if self._document is not None:
            self.view.show(self._document.sections(), keep=keep, tail=tail)
        self._hint()
        self._bar()
        self.refresh_bindings()

    def refresh_bar(self) -> None:
        """The record's place in the list changed."""
        self._bar()

    def _bar(self) -> None:
        if not self.is_mounted:
            return
        bar = self.query_one("#detail-bar", Static)
        if self.record_id is None:
            bar.update(Content(""))
            return
        document = self._document
        meta = document.meta if document is not None else None
        told = Told(
            self.record_id,
            self.title,
            self._notice,
            meta,
            document is not None and document.live,
            self.key_names.get(meta.key_id, "") if meta is not None else "",
        )
        bar.update(detail_bar(told, self.size.width))

    def on_resize(self) -> None:
        """The bar is as wide as the pane."""
        self._bar()

    def on_document_view_cursor_moved(self, message: DocumentView.CursorMoved) -> None:
        """The hint and the keys belong to the row."""
        message.stop()
        self._hint()
        place = self.view.place
        offered = (self._maskable() is not None, place.section if place is not None else 0)
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def on_document_view_activated(self, message: DocumentView.Activated) -> None:
        """A click on a masked row reveals it."""
        message.stop()
        if self._maskable() is not None:
            self.action_reveal()

    def _maskable(self) -> "tuple[HeaderBlock, int] | None":
        place = self.view.place
        if place is None or self._document is None or place.block == HEADING:
            return None
        rows = (
            self._document.headers(place.section + 1) if place.section + 1 not in BODIES else None
        )
        if rows is None or not rows.maskable(place.line):
            return None
        return rows, place.line

    def _hint(self) -> None:
        found = self._maskable()
        hint = ""
        if found is not None:
            rows, row = found
            hint = "␣ hide" if row in rows.revealed else "␣ show"
        if self.view.hint != hint:
            self.view.hint = hint
            self.view.refresh()

    # -- keys --------------------------------------------------------------------------------------

    def check_action(
        self,
        action: str,
        parameters: tuple[object, ...],  # noqa: ARG002
    ) -> bool | None:
        """Only what can act is offered."""
        document = self._document
        if action in ("events", "cycle"):
            views = document.views(RESPONSE_BODY) if document is not None else ()
            return (EVENTS if action == "events" else JSON) in views and COLLECTED in views
        if action == "raw":
            return document is not None and RAW in document.views(self._body())
        if action == "reveal":
            return self._maskable() is not None
        return True

    def _body(self) -> int:
        """The body that view keys mean: the cursor's, else the response's."""
        place = self.view.place
        number = place.section + 1 if place is not None else RESPONSE_BODY
        return number if number in BODIES else RESPONSE_BODY

    def _see(self, number: int, view: str) -> None:
        document = self._document
        if document is None or view not in document.views(number):
            return
        document.view[number] = view
        if not document.built(number) and len(document.record.response_body.data) < SMALL:
            document.build(number, view)
        self._show(keep=True)
        self._build()

    def _flip(self, number: int, view: str) -> None:
        """To a view, or from it to the one it opened with."""
        document = self._document
        if document is not None:
            here = document.view[number] == view
            self._see(number, document.views(number)[0] if here else view)

    def action_back(self) -> None:
        """To the list."""
        self.post_message(self.Back())

    def action_events(self) -> None:
        """Events, or collected."""
        self._flip(RESPONSE_BODY, EVENTS)

    def action_cycle(self) -> None:
        """The collected answer as JSON, or to be read."""
        self._flip(RESPONSE_BODY, JSON)

    def action_raw(self) -> None:
        """The bytes as they are."""
        self._flip(self._body(), RAW)

    def action_reveal(self) -> None:
        """Reveal or mask the row under the cursor."""
        found = self._maskable()
        if found is not None:
            rows, row = found
            rows.toggle(row)
            self._show(keep=True)

    def action_reveal_section(self) -> None:
        """Reveal or mask all of the section under the cursor."""
        place, document = self.view.place, self._document
        if place is None or document is None:
            return
        number = place.section + 1
        if number in BODIES:
            document.toggle_body(number)
            if not document.built(number) and document.record.meta.request_bytes < SMALL:
                document.build(number, document.view[number])
        elif (rows := document.headers(number)) is not None:
            rows.toggle_all()
        self._show(keep=True)
        self._build()

    def action_copy(self) -> None:
        """The header row under the cursor, else the section it is in."""
        place, document = self.view.place, self._document
        if place is None or document is None:
            return
        self.post_message(self._copied(document, place))

    def _copied(self, document: "RecordDocument", place: Place) -> "RecordPane.CopyWanted":
        number = place.section + 1
        rows = document.headers(number) if number not in BODIES else None
        if rows is not None and place.block != HEADING:
            hidden = rows.maskable(place.line) and place.line not in rows.revealed
            return self.CopyWanted(rows.copied(place.line), "row", int(hidden))
        text, masked = document.copied(number)
        names = ("request headers", "request body", "response headers", "response body")
        return self.CopyWanted(text, names[place.section], masked)


SMALL = 256 * 1024
"""Bytes up to which a view is made at once."""
