"""A few fields in a box: Enter goes on from field to field and acts in the last one.

It stays open until what it asked for was done, so that nothing typed is lost to an error,
and says the error in one line.
"""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.managing import Change
from tui.safe_text import escape
from tui.widgets.choice_bar import ChoiceBar
from tui.widgets.key_bar import KeyBar

_STYLES = {
    "dim": "$foreground 60%",
    "warning": "$warning",
    "error": "$error",
}


class Hints(KeyBar):
    """What Enter and Escape do here: they act on whatever field has the focus."""

    def __init__(self, verb: str) -> None:
        super().__init__(id="dialog-keys")
        self._verb = verb

    def _keys(self) -> list[tuple[str, str, str, str]]:
        last = self.screen.focused is _last_field(self.screen.focus_chain)
        fields = len(self.screen.focus_chain) > 1
        found = [("↵", self._verb if last else "next", "enter", "go_on")]
        if isinstance(self.screen.focused, ChoiceBar):
            found.append(("←/→", "choose", "right", "choose"))
        if fields:
            found.append(("tab", "field", "tab", "field"))
        return [*found, ("esc", "cancel", "escape", "cancel")]


class Secret(Input):
    """Typed without echo, and never given to a clipboard."""

    def action_copy(self) -> None:
        """Not this."""

    def action_cut(self) -> None:
        """Nor this."""


class Dialog(ModalScreen[None]):
    """The box. `act` does what is asked for, and says to the dialog how it went."""

    BINDINGS = [
        Binding("escape", "cancel", "cancel", key_display="esc", id="dialog.cancel"),
        Binding("down", "app.focus_next", "next field", show=False, id="dialog.next"),
        Binding("up", "app.focus_previous", "previous field", show=False, id="dialog.previous"),
    ]

    verb = "save"
    """What Enter does in the last field."""

    def __init__(self, title: str, act: Callable[["Dialog", Change], None]) -> None:
        """`title` may be anybody's text."""
        super().__init__()
        self._heading = title
        self._act = act
        self._busy = False

    def compose(self) -> ComposeResult:
        """Title, fields, a note, the keys."""
        with Vertical(id="dialog"):
            yield Static(Content(escape(self._heading)), id="dialog-title")
            yield from self.fields()
            yield Static(id="dialog-note")
            yield Hints(self.verb)

    def on_mount(self) -> None:
        """The first note."""
        self.changed()

    # -- what each dialog is ---------------------------------------------------------------------

    def fields(self) -> ComposeResult:
        """What is asked."""
        raise NotImplementedError

    def changed(self) -> None:
        """A field changed: what is to be noted now."""

    def save(self) -> None:
        """Enter in the last field."""
        raise NotImplementedError

    # -- parts for them --------------------------------------------------------------------------

    def row(self, label: str, field: Widget) -> Horizontal:
        """A field with its label."""
        return Horizontal(Static(Content(label), classes="label"), field, classes="row")

    def note(self, *lines: str, tone: str = "dim") -> None:
        """Say something under the fields."""
        text = "\n".join(escape(line) for line in lines)
        self.query_one("#dialog-note", Static).update(Content.styled(text, _STYLES[tone]))

    def missing(self, field: Widget, text: str) -> None:
        """Something must be filled in first."""
        field.focus()
        self.note(text, tone="error")

    def do(self, change: Change) -> None:
        """Have it done; the dialog closes when it is."""
        self._busy = True
        self.note("Working…")
        self._act(self, change)

    def failed(self, reason: str) -> None:
        """It was not done."""
        self._busy = False
        self.note(reason, tone="error")

    # -- keys ------------------------------------------------------------------------------------

    def action_cancel(self) -> None:
        """Close; what is being done is done all the same, and said."""
        self.dismiss(None)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter in an input."""
        self._go_on(message.input)

    def on_choice_bar_settled(self, message: ChoiceBar.Settled) -> None:
        """Enter at a choice."""
        self._go_on(message.bar)

    def _go_on(self, field: Widget) -> None:
        if self._busy or field is not self.focused:
            # Keys that were typed ahead reach the field they were typed into after it was left.
            return
        if field is _last_field(self.focus_chain):
            self.save()
        else:
            self.focus_next()

    def on_input_changed(self) -> None:
        """Typed."""
        self._change()

    def on_choice_bar_chosen(self) -> None:
        """Chosen."""
        self._change()

    def on_retention_field_changed(self) -> None:
        """A retention."""
        self._change()

    def _change(self) -> None:
        if not self._busy:
            self.changed()
        self.refresh_bindings()  # which field is the last one may have changed


def _last_field(chain: list[Widget]) -> Widget | None:
    return chain[-1] if chain else None
