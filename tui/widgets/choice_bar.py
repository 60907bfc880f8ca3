"""One of a few words, on one line: the presets of a retention, how far back, yes or no."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.tones import strip, tone


class ChoiceBar(Widget, can_focus=True):
    """The chosen word stands in brackets, and is marked where the bar has the focus."""

    ALLOW_SELECT = False

    BINDINGS = [
        Binding(
            "left,h",
            "step(-1)",
            "choose",
            show=False,
            tooltip="the choice before",
            id="choice.left",
        ),
        Binding(
            "right,l", "step(1)", "choose", show=False, tooltip="the next choice", id="choice.right"
        ),
        Binding("enter", "settle", "settle", show=False, id="choice.settle"),
    ]

    class Chosen(Message):
        """Another word is chosen."""

        def __init__(self, bar: "ChoiceBar") -> None:
            super().__init__()
            self.bar = bar

        @property
        def control(self) -> "ChoiceBar":
            """Whose it is."""
            return self.bar

    class Settled(Chosen):
        """Enter: it stays at this word."""

    chosen: reactive[int] = reactive(0)

    def __init__(self, words: Sequence[str], chosen: int = 0, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.words = tuple(words)
        self.set_reactive(ChoiceBar.chosen, chosen)
        self._cells: list[range] = []

    @property
    def word(self) -> str:
        """What is chosen."""
        return self.words[self.chosen]

    def watch_chosen(self) -> None:
        """Whoever asks is told."""
        self.post_message(self.Chosen(self))

    def action_step(self, step: int) -> None:
        """To the side; at the end it stays."""
        self.chosen = max(0, min(self.chosen + step, len(self.words) - 1))

    def action_settle(self) -> None:
        """Enter."""
        self.post_message(self.Settled(self))

    def on_click(self, event: events.Click) -> None:
        """A click on a word chooses it."""
        for at, cells in enumerate(self._cells):
            if event.x in cells:
                self.chosen = at

    def render_line(self, y: int) -> Strip:
        """As wide as the words are."""
        width = self.size.width
        if y:
            return Strip.blank(width, self.rich_style)
        parts: list[tuple[str, Style]] = []
        self._cells = []
        at = 0
        for number, word in enumerate(self.words):
            here = number == self.chosen
            text = f"[{word}]" if here else f" {word} "
            style = tone("dim")
            if here:
                style = tone("strong") + tone("cursor" if self.has_focus else "cursor-blur")
            parts.append((text, style))
            self._cells.append(range(at, at + cell_len(text)))
            at += cell_len(text)
        return strip(parts, width, self.rich_style)
