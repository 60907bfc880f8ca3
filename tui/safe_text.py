r"""Captured text made fit for a terminal. Pure: knows no widget, no record, no colour.

Terminals obey what they are sent, and so a captured header can set the clipboard or the
window's title, hide text, or turn it around. Everything captured passes through here before
it becomes a cell on screen: what a terminal would act on, or could not show, becomes a
visible escape. Nothing is dropped in silence and nothing is interpreted.

    C0 controls          their pictures: ESC is ␛, NUL is ␀
    DEL, C1 controls     ␡, \x9b
    bidi, zero-width,    \u202e, \u200b, \ufeff: invisible, or they move what is visible
    other format characters
    variation selectors  \ufe0e, \U000e0100, save one U+FE0F right after a symbol (a plain emoji)
    the tag block        \U000e0041: text that only a model reads
    lone surrogates      \udc80: json.loads makes them, no terminal can show them
    noncharacters        \uffff
"""

import re
import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len, set_cell_size

TAB = 4
"""Cells a tab may take: captured text is code and JSON more often than a table."""

ELLIPSIS = "…"

_BATCH = 1 << 16
"""Characters escaped at a time, about a millisecond's worth."""


def _visible(char: str) -> str:
    """The escape that stands for one unsafe character."""
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_UNSAFE = re.compile(
    "["
    r"\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"  # format characters
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"  # letters that show nothing
    r"\u180b-\u180d\u180f\ufe00-\ufe0f"  # variation selectors
    r"\U000e0000-\U000e0fff"  # tags, more variation selectors
    r"\ud800-\udfff"  # lone surrogates
    r"\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"\\U{p:04x}fffe\\U{p:04x}ffff" for p in range(1, 17))
    + "]"
)
_EMOJI_STYLE = "\ufe0f"


def _replace(match: re.Match[str]) -> str:
    char = match[0]
    if char == _EMOJI_STYLE and match.start():
        before = match.string[match.start() - 1]
        if unicodedata.category(before) == "So":
            return ""
    return _visible(char)


def escape(text: str) -> str:
    """`text` with everything a terminal acts on made visible, line breaks and tabs too."""
    return text if _is_plain(text) else _UNSAFE.sub(_replace, text)


def is_safe(text: str) -> bool:
    """True if `escape` would leave `text` as it is."""
    return _is_plain(text) or _UNSAFE.search(text) is None


def _is_plain(text: str) -> bool:
    """Printable ASCII: most of what is captured, and told twenty times as fast."""
    return text.isascii() and text.isprintable()


def escape_lines(text: str) -> list[str]:
    r"""The lines of a text, each escaped; \n and \r\n end a line, tabs become spaces.

    Done in batches of whole lines: one call of `re` holds the interpreter lock, and the
    screen wants its turn.
    """
    return [line for batch in _batches(text.split("\n")) for line in _escape_batch(batch)]


def _batches(lines: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line) + 1
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _escape_batch(lines: list[str]) -> list[str]:
    if is_safe("".join(lines)):
        return lines
    return [
        line if is_safe(line) else escape(line.removesuffix("\r").expandtabs(TAB)) for line in lines
    ]


def shorten(text: str, width: int) -> str:
    """At most `width` cells of a safe text, the cut marked at the end."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + ELLIPSIS if width > 0 else ""


def shorten_middle(text: str, width: int) -> str:
    """At most `width` cells of a safe text, cut in the middle: a path tells most at both ends."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    tail = text[len(text) - (width - 1) // 2 :]
    while cell_len(tail) > (width - 1) // 2:
        tail = tail[1:]
    return set_cell_size(text, width - 1 - cell_len(tail)) + ELLIPSIS + tail


def fit(text: str, width: int) -> str:
    """Exactly `width` cells of a safe text: shortened or filled up."""
    text = shorten(text, width)
    return text + " " * (width - cell_len(text))
