"""Where a line's rows begin at a given width. Pure: text in, offsets out.

A line of ASCII without words is arithmetic; the rest is walked once. The result for a line
that fits is always `(0,)`.
"""

import re

from rich.cells import cell_len, get_character_cell_size

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
    if words:
        return _by_words(text, width, later)
    if text.isascii():
        return [0, *range(width, len(text), later)]
    return _by_cells(text, 0, width, later)


def count(text: str, width: int, hang: int = 0, *, words: bool = False) -> int:
    """How many rows the line takes."""
    if len(text) <= width and text.isascii():
        return 1
    if not words and text.isascii():
        width = max(width, 2)
        later = max(width - hang, width // 2, 2)
        return 1 + -(-(len(text) - width) // later) if len(text) > width else 1
    return len(rows(text, width, hang, words=words))


def _by_cells(text: str, start: int, width: int, later: int) -> list[int]:
    """Rows of the text from `start`, broken at any character."""
    offsets = [start]
    room = width
    for at in range(start, len(text)):
        cells = get_character_cell_size(text[at])
        if cells > room:
            offsets.append(at)
            room = later
        room -= cells
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
