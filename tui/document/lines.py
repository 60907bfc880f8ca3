"""What a document is made of: sections of blocks of lines, each line text with named spans.

Pure. Text in a Line is escaped already (tui.safe_text): whoever builds a block does that, once.
Spans name a tone, not a colour. A block tells its lines one at a time: a body of 660,000 lines
is never styled as a whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Span(NamedTuple):
    """Characters start..end of a line, in a tone."""

    start: int
    end: int
    tone: str


class Line(NamedTuple):
    """One logical line, before wrapping."""

    text: str
    spans: tuple[Span, ...] = ()


LONG = 8192
"""Characters from which a line is not styled as a whole: a row of it is styled for itself."""

type Highlight = Callable[[str], tuple[Span, ...]]


def plain(text: str) -> tuple[Span, ...]:  # noqa: ARG001
    """No spans: the highlighter of what is only text."""
    return ()


def toned(tone: str) -> Highlight:
    """A highlighter that gives a whole line one tone."""
    return lambda text: (Span(0, len(text), tone),)


class Block(Protocol):
    """A run of lines that are wrapped and styled alike."""

    @property
    def texts(self) -> Sequence[str]:
        """The lines' texts, for measuring, searching and selecting."""

    @property
    def words(self) -> bool:
        """Wrap between words (prose), or at the edge (JSON, code)."""

    @property
    def indent(self) -> int:
        """Cells left of every row."""

    @property
    def hang(self) -> int:
        """Further cells left of a line's second and later rows."""

    def piece(self, index: int, start: int, end: int) -> Line:
        """Characters start..end of a line with their spans; made when they are painted."""


def cut(line: Line, start: int, end: int) -> Line:
    """Characters start..end of a line, the spans moved and clipped."""
    text = line.text[start:end]
    spans = [
        Span(max(span.start - start, 0), min(span.end - start, len(text)), span.tone)
        for span in line.spans
        if span.end > start and span.start < end
    ]
    return Line(text, tuple(spans))


@dataclass(slots=True)
class TextBlock:
    """Lines of one kind."""

    texts: Sequence[str]
    highlight: Highlight = plain
    words: bool = False
    indent: int = 2
    hang: int = 0

    def piece(self, index: int, start: int, end: int) -> Line:
        """As Block says."""
        text = self.texts[index]
        if len(text) > LONG:
            text = text[start:end]
            return Line(text, self.highlight(text))
        return cut(Line(text, self.highlight(text)), start, end)


@dataclass(slots=True)
class SpanBlock:
    """A few lines whose spans are known: banners, labels, one-liners."""

    lines: Sequence[Line]
    words: bool = True
    indent: int = 2
    hang: int = 0

    @property
    def texts(self) -> Sequence[str]:
        """As Block says."""
        return [line.text for line in self.lines]

    def piece(self, index: int, start: int, end: int) -> Line:
        """As Block says."""
        return cut(self.lines[index], start, end)


@dataclass(slots=True)
class Section:
    """One of the four parts of a record: a heading row, and blocks under it."""

    number: int
    title: str
    about: tuple[Line, ...] = ()
    """Beside the title: method and path, status; parts are set apart by blanks."""
    right: tuple[str, ...] = ()
    """At the right end: sizes, counts, usage; as many from the first on as there is room for."""
    views: tuple[str, ...] = ()
    """The ways to see the body, where there are several."""
    view: str = ""
    """The one that is shown."""
    blocks: list[Block] = field(default_factory=list)
