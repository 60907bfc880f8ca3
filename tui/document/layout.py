"""Which row of the document is which line of which section, at one width. Pure.

Rows are counted from the top of the document; each section's heading is one row. Heights of
unchanged blocks are kept from one layout to the next: a tail that grows measures its end only.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat

from tui.document import wrap
from tui.document.lines import Block, Section

HEADING = -1
"""The block index of a section's heading row."""

_KEPT = 256
"""Lines whose row offsets are kept: more than a screen has."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one row shows: characters start..end of a line; `part` counts a line's rows."""

    section: int
    block: int
    line: int
    part: int
    start: int
    end: int


def _hang(block: Block, text: str) -> int:
    """Cells a line's later rows are moved in: code keeps to its own indent."""
    return block.hang if block.words else block.hang + len(text) - len(text.lstrip(" "))


def _heights(block: Block, texts: Sequence[str], room: int) -> list[int]:
    """The rows of each line. Most lines fit: that is told without a call, of half a million."""
    words, half = block.words, room // 2
    return [
        1
        if len(text) <= half or (len(text) <= room and text.isascii())
        else wrap.count(text, room, _hang(block, text), words=words)
        for text in texts
    ]


class _Measured:
    """A block's rows: the total, and where each line begins if some line takes several."""

    def __init__(self, block: Block, width: int, wrapped: bool, old: "_Measured | None") -> None:
        self.block = block
        self.texts = texts = block.texts
        self.width = room = max(2, width - block.indent)
        self.starts: array[int] | None = None
        self._offsets: dict[int, list[int]] = {}
        self.total = len(texts)
        if not wrapped:
            return
        keep = old.same(self) if old is not None else 0
        if keep and old is not None and old.starts is not None:
            starts = old.starts[: keep + 1]
            for height in _heights(block, texts[keep:], room):
                starts.append(starts[-1] + height)
            self.starts, self.total = starts, starts[-1]
        else:
            heights = _heights(block, texts[keep:], room)
            if max(heights, default=1) > 1:
                self.starts = array("L", accumulate(chain(repeat(1, keep), heights), initial=0))
                self.total = self.starts[-1]

    def same(self, new: "_Measured") -> int:
        """How many lines from the first on are the very same in the new measure."""
        block = new.block
        if (self.width, self.block.hang, self.block.words) != (new.width, block.hang, block.words):
            return 0
        if self.texts is new.texts:
            return len(self.texts)
        at = 0
        for mine, theirs in zip(self.texts, new.texts, strict=False):
            if mine is not theirs and mine != theirs:
                break
            at += 1
        return at

    def find(self, row: int) -> tuple[int, int]:
        """(line, part) of a row."""
        if self.starts is None:
            return row, 0
        line = bisect_right(self.starts, row) - 1
        return line, row - self.starts[line]

    def offsets(self, line: int) -> list[int]:
        """Where the rows of a line begin; kept for the lines looked at last."""
        found = self._offsets.get(line)
        if found is None:
            if len(self._offsets) >= _KEPT:
                self._offsets.clear()
            block, text = self.block, self.texts[line]
            found = wrap.rows(text, self.width, _hang(block, text), words=block.words)
            self._offsets[line] = found
        return found

    def row(self, line: int) -> int:
        """The first row of a line."""
        return line if self.starts is None else self.starts[line]


class Layout:
    """The rows of some sections at a width; `wrapped` False: every line is one row."""

    def __init__(
        self,
        sections: Sequence[Section],
        width: int,
        *,
        wrapped: bool = True,
        old: "Layout | None" = None,
    ) -> None:
        self.sections = sections
        self.wrapped = wrapped
        self._measured: list[list[_Measured]] = []
        self._tops: list[int] = []
        self._blocks: list[list[int]] = []
        row = 0
        for number, section in enumerate(sections):
            self._tops.append(row)
            row += 1
            measured, tops = [], []
            for index, block in enumerate(section.blocks):
                known = old.known(number, index, wrapped) if old is not None else None
                one = _Measured(block, width, wrapped, known)
                measured.append(one)
                tops.append(row)
                row += one.total
            self._measured.append(measured)
            self._blocks.append(tops)
        self.height = row

    def known(self, section: int, block: int, wrapped: bool) -> "_Measured | None":
        """The measure of a block, if it can be of use to a layout of that sort."""
        if wrapped != self.wrapped or section >= len(self._measured):
            return None
        blocks = self._measured[section]
        return blocks[block] if block < len(blocks) else None

    def top(self, section: int) -> int:
        """The row of a section's heading."""
        return self._tops[section]

    def section_at(self, row: int) -> int:
        """The section a row belongs to."""
        return max(0, bisect_right(self._tops, row) - 1)

    def place(self, row: int) -> Place:
        """What a row (0 <= row < height) shows."""
        section = self.section_at(row)
        if row == self._tops[section]:
            return Place(section, HEADING, 0, 0, 0, 0)
        tops = self._blocks[section]
        index = bisect_right(tops, row) - 1
        measured = self._measured[section][index]
        line, part = measured.find(row - tops[index])
        text = measured.texts[line]
        if not self.wrapped or measured.starts is None:
            return Place(section, index, line, 0, 0, len(text))
        offsets = measured.offsets(line)
        end = offsets[part + 1] if part + 1 < len(offsets) else len(text)
        return Place(section, index, line, part, offsets[part], end)

    def indent(self, place: Place) -> int:
        """Cells left of a row."""
        measured = self._measured[place.section][place.block]
        block = measured.block
        if not place.part:
            return block.indent
        hang = _hang(block, measured.texts[place.line])
        # As wrap.rows has it: later rows keep half of the width at least.
        return block.indent + max(0, min(hang, measured.width - max(measured.width // 2, 2)))

    def row(self, section: int, block: int, line: int) -> int:
        """The first row of a line, or of a heading; the nearest there is if it is gone."""
        section = min(section, len(self._tops) - 1)
        if block == HEADING or not self._blocks[section]:
            return self._tops[section]
        block = min(block, len(self._blocks[section]) - 1)
        measured = self._measured[section][block]
        line = max(0, min(line, len(measured.texts) - 1))
        return self._blocks[section][block] + measured.row(line)
