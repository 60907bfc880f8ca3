"""Header rows: names aligned, values verbatim in their order, secrets masked row by row. Pure."""

from collections.abc import Sequence

from store.masks import mask_header
from store.record import Headers
from tui.document.lines import Line, Span
from tui.document.lines import cut as cut_line
from tui.safe_text import escape

_LONGEST_NAME = 28
"""Cells to which names are aligned at most; a longer one pushes its value to the right."""


class HeaderBlock:
    """The rows of one direction. What is revealed is forgotten with the block."""

    words = False
    indent = 2

    def __init__(self, headers: Headers, secrets: Sequence[str]) -> None:
        """`secrets` are masked wherever they stand in a value."""
        self._headers = headers
        self._masked: list[str | None] = []
        names = []
        for name, raw in headers:
            value = raw.decode("latin-1")
            masked = mask_header(name, value, secrets)
            self._masked.append(None if masked == value else masked)
            names.append(escape(name.decode("latin-1")))
        longest = max((len(name) for name in names), default=0)
        self._column = min(longest, _LONGEST_NAME) + 2
        self.hang = self._column
        self._names = [name.ljust(self._column - 2) + "  " for name in names]
        self.revealed: set[int] = set()
        self.texts: list[str] = []
        self._lay()

    def __len__(self) -> int:
        return len(self._headers)

    def maskable(self, row: int) -> bool:
        """The row has a secret in it."""
        return self._masked[row] is not None

    def toggle(self, row: int) -> bool:
        """Reveal or mask a row; True if it has a secret."""
        if not self.maskable(row):
            return False
        self.revealed ^= {row}
        self._lay()
        return True

    def toggle_all(self) -> None:
        """Reveal every row, or mask them all if they are revealed."""
        secret = {row for row in range(len(self)) if self.maskable(row)}
        self.revealed = set() if self.revealed >= secret else secret
        self._lay()

    def adopt(self, old: "HeaderBlock") -> None:
        """Reveal what `old` revealed, if it has the same rows."""
        if old._headers == self._headers:
            self.revealed = set(old.revealed)
            self._lay()

    def value(self, row: int) -> str:
        """A value as it is shown, unescaped: what is copied."""
        masked = self._masked[row]
        if masked is not None and row not in self.revealed:
            return masked
        return self._headers[row][1].decode("latin-1")

    def copied(self, row: int) -> str:
        """`name: value`, masked unless revealed."""
        return f"{self._headers[row][0].decode('latin-1')}: {self.value(row)}"

    @property
    def hidden(self) -> int:
        """Rows that are masked now."""
        return sum(
            masked is not None and row not in self.revealed
            for row, masked in enumerate(self._masked)
        )

    def _lay(self) -> None:
        self.texts = [name + escape(self.value(row)) for row, name in enumerate(self._names)]

    def piece(self, index: int, start: int, end: int) -> Line:
        """As tui.document.lines.Block says."""
        text, name = self.texts[index], self._names[index]
        tone = "text"
        if self.maskable(index):
            tone = "accent" if index in self.revealed else "masked"
        spans = (Span(0, len(name), "name"), Span(len(name), len(text), tone))
        return cut_line(Line(text, spans), start, end)
