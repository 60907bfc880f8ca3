"""Choosing a retention: the presets on one line, and under them what a custom one is typed into."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from store.errors import BadInput
from store.retention import PRESETS, RANGE_RULE, RULE, format_retention, parse_retention, preset_of
from tui.widgets.choice_bar import ChoiceBar

CUSTOM = "Custom…"

_WORDS = (*(name for name, _ in PRESETS), CUSTOM)


class RetentionField(Vertical):
    """Opens at a retention: at its preset, else at Custom with the largest exact unit."""

    class Changed(Message):
        """Another retention is chosen, or typed."""

    def __init__(self, retention_s: int | None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        preset = preset_of(retention_s)
        typed = format_retention(retention_s) if preset == CUSTOM else ""
        self._bar = ChoiceBar(_WORDS, _WORDS.index(preset), id="retention-preset")
        self._input = Input(typed, "30m, 2h, 3d, or seconds", compact=True, id="retention-custom")
        self._input.display = preset == CUSTOM

    def compose(self) -> ComposeResult:
        """The input is not there unless it is needed."""
        yield self._bar
        yield self._input

    @property
    def custom(self) -> bool:
        """What counts is what is typed."""
        return self._bar.word == CUSTOM

    def value(self) -> int | None:
        """Seconds, or None for off; BadInput with the rule, one line, where what is typed is none."""
        if not self.custom:
            return dict(PRESETS)[self._bar.word]
        try:
            return parse_retention(self._input.value)
        except BadInput as error:
            # The rule alone: what was typed stands above it.
            beyond = str(error).startswith(RANGE_RULE)
            raise BadInput(f"{RULE} {RANGE_RULE}" if beyond else RULE) from error

    def on_choice_bar_chosen(self, message: ChoiceBar.Chosen) -> None:
        """Custom wants typing."""
        message.stop()
        self._input.display = self.custom
        self.post_message(self.Changed())

    def on_input_changed(self, message: Input.Changed) -> None:
        """Typed."""
        message.stop()
        self.post_message(self.Changed())
