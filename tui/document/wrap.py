"""Where a line's rows begin at a given width. Pure: text in, offsets out.

A line of ASCII without words is arithmetic; the rest is walked once. The result for a line
that fits is always `(0,)`.
"""

import re

from rich.cells import cell_len, get_character_cell_size

GIANT = 1 << 16
"""Characters from which a line is not walked: its rows are made as if each character were wide."""

_RUN = re.compile(
    # Scripts whose characters all take one cell, or all take two; the rest is asked one by one.
    r"(?P<narrow>[\x20-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0377\u038e-\u03a1\u03a3-\u0482"
    r"\u2010-\u2027\u2190-\u21ff\u2500-\u259f]+)"
    r"|(?P<wide>[\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60]+)"
    r"|.",
    re.DOTALL,
)

_WORD = re.compile(r"\S+\s*|\s+")


def rows(text: str, width: int, hang: int = 0, *, words: bool = False) -> list[int]:
    """The offset at which each row of the line begins, the first is 0.

    `width` is the cells of the first row, at least 2 (a wide character must fit); rows after
    it have `hang` fewer, but not fewer than half.
    """
    width = max(width, 2)
    later = max(width - hang, width // 2, 2)
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        return [0]
    if len(text) > GIANT and not text.isascii():
        width, later = width // 2, later // 2
    elif words:
        return _by_words(text, width, later)
    elif not text.isascii():
        return _by_cells(text, 0, width, later)
    return [0, *range(width, len(text), later)]


def count(text: str, width: int, hang: int = 0, *, words: bool = False) -> int:
    """How many rows the line takes."""
    if 2 * len(text) <= width:
        return 1
    if text.isascii() and (not words or len(text) <= width):
        width = max(width, 2)
        later = max(width - hang, width // 2, 2)
        return 1 + -(-(len(text) - width) // later) if len(text) > width else 1
    return len(rows(text, width, hang, words=words))


def _by_cells(text: str, start: int, width: int, later: int) -> list[int]:
    """Rows of the text from `start`, broken at any character."""
    offsets = [start]
    room = width
    for match in _RUN.finditer(text, start):
        at, end = match.span()
        each = 1 if match["narrow"] else 2 if match["wide"] else get_character_cell_size(text[at])
        while each and (end - at) * each > room:
            at += room // each
            offsets.append(at)
            room = later
        room -= (end - at) * each
    return offsets


def _by_words(text: str, width: int, later: int) -> list[int]:
    """Rows broken between words; a word longer than a row is broken like code."""
    offsets = [0]
    room = width
    for match in _WORD.finditer(text):
        word = match[0]
        cells = cell_len(word.rstrip())
        if cells > room and match.start() > offsets[-1]:
            offsets.append(match.start())
            room = later
        if cells > room:
            inner = _by_cells(text[: match.end()], match.start(), room, later)
            offsets += inner[1:]
            room = later if len(inner) > 1 else room
            room -= cell_len(text[inner[-1] : match.end()])
        else:
            room -= cell_len(word)
    return offsets
