"""The key selector: the keys with a retention as `name (last4)`, and all of them together."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from store.record import Key
from tui.format import key_label
from tui.safe_text import escape

ALL = ""
"""The choice of all keys; None is no choice."""


class KeyPicker(ModalScreen[str | None]):
    """Dismissed with a key's id, ALL, or None."""

    BINDINGS = [
        Binding("escape,q", "dismiss(None)", "back", key_display="esc", id="keys.back"),
        Binding("j", "cursor(1)", "down", show=False, id="keys.down"),
        Binding("k", "cursor(-1)", "up", show=False, id="keys.up"),
    ]

    def __init__(self, keys: list[Key], selected: str | None) -> None:
        super().__init__()
        self._ids = [ALL, *(key.id for key in keys)]
        self._labels = ["all keys", *(escape(key_label(key)) for key in keys)]
        self._selected = selected or ALL

    def compose(self) -> ComposeResult:
        """A list in a box."""
        with Vertical(id="key-picker"):
            yield OptionList(
                *(Option(Content(label), id=f"key-{at}") for at, label in enumerate(self._labels))
            )

    def on_mount(self) -> None:
        """The cursor is on what is shown now."""
        options = self.query_one(OptionList)
        if self._selected in self._ids:
            options.highlighted = self._ids.index(self._selected)

    def action_cursor(self, step: int) -> None:
        """Down or up."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.dismiss(self._ids[event.option_index])
