"""All keys: the focused pane's first, then the rest, then what the glyphs mean.

Made from the bindings themselves, so it cannot say what is not so.
"""

from collections.abc import Iterable
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from tui.document.lines import Block, Line, Section, Span, SpanBlock
from tui.screens.dialog import Dialog
from tui.screens.keys import KeysScreen
from tui.widgets.choice_bar import ChoiceBar
from tui.widgets.document_view import DocumentView
from tui.widgets.key_table import KeyTable
from tui.widgets.record_list import RecordList
from tui.widgets.record_pane import RecordPane

LEGEND = (
    ("ok", "✓ 200", "answered"),
    ("warning", "▲ 429", "refused: 4xx"),
    ("error", "✗ 529", "failed: 5xx"),
    ("error", "✗ ERR", "no response: connect, TLS, timeout"),
    ("live", "… 0:12", "in flight, for how long"),
    ("cut", "◐ cut", "ended without the protocol's last word"),
    ("cut", "◐ 200!", "an error inside a 200"),
)

_NAMES = {
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "question_mark": "?",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "enter": "↵",
    "space": "␣",
    "escape": "esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def bindings_of(widget: type, *more: type) -> list[tuple[str, str]]:
    """(keys, what they do) of each action of some classes, in the order they are bound."""
    found: dict[str, tuple[list[str], str]] = {}
    bound: Iterable[BindingType] = [
        one for owner in (widget, *more) for one in vars(owner).get("BINDINGS", ())
    ]
    for one in bound:
        if isinstance(one, Binding):
            keys = [_NAMES.get(key, key) for key in one.key.split(",")]
            known = found.setdefault(one.action, ([], one.tooltip or one.description))
            known[0].extend(keys)
    return [(" ".join(keys), said) for keys, said in found.values()]


class HelpScreen(ModalScreen[None]):
    """A document of keys."""

    BINDINGS = [
        Binding("escape,q,question_mark,f1", "dismiss", "back", key_display="esc", id="help.back")
    ]

    def __init__(self, behind: Screen[Any], main: type[Screen[Any]]) -> None:
        """`behind` is the screen whose focus says what comes first; `main` is the list's."""
        super().__init__()
        self._in_detail = isinstance(behind.focused, DocumentView)
        self._in_keys = isinstance(behind, KeysScreen)
        self._main = main

    def compose(self) -> ComposeResult:
        """A box over the screen."""
        with Vertical(id="help"):
            yield Static("keys", id="help-title", markup=False)
            yield DocumentView(id="help-document")

    def on_mount(self) -> None:
        """Fill it."""
        view = self.query_one(DocumentView)
        view.show(self.sections(), keep=False)
        view.focus()

    def sections(self) -> list[Section]:
        """The document."""
        panes = [
            ("LIST", bindings_of(RecordList)),
            ("DETAIL", bindings_of(RecordPane, DocumentView)),
        ]
        if self._in_detail:
            panes.reverse()
        panes.append(("EVERYWHERE", [*bindings_of(self._main), ("ctrl+q", "quit")]))
        legend = [
            Line(f"{glyph:<8}{said}", (Span(0, len(glyph), tone), Span(8, 8 + len(said), "dim")))
            for tone, glyph, said in LEGEND
        ]
        rest = [*((title, _keys(bound)) for title, bound in panes), ("STATUS", SpanBlock(legend))]
        keys: list[tuple[str, Block]] = [
            ("KEYS SCREEN (a)", _keys(bindings_of(KeysScreen, KeyTable))),
            ("ITS DIALOGS", _keys(_of_dialogs())),
        ]
        made = [*keys, *rest] if self._in_keys else [*rest, *keys]
        return [Section(at, title, blocks=[block]) for at, (title, block) in enumerate(made, 1)]


def _of_dialogs() -> list[tuple[str, str]]:
    """Enter means the same in every field, whatever it is bound as."""
    bound = [one for one in bindings_of(ChoiceBar, Dialog) if one[0] != "↵"]
    return [("↵", "next field; in the last one: do it"), *bound]


def _keys(keys: list[tuple[str, str]]) -> Block:
    width = max(len(one) for one, _ in keys) + 2
    return SpanBlock(
        [
            Line(
                f"{key:<{width}}{said}",
                (Span(0, len(key), "accent"), Span(width, width + len(said), "text")),
            )
            for key, said in keys
        ]
    )
