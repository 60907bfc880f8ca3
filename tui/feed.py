"""The rows on screen: a window over the list, newest first, each id once, bounded. Pure: no I/O, no widget.

The reader's list has one cursor, `before`, and so the window grows downwards by pages and at
its top by news. What leaves the window (there is a bound) leaves at the end far from the
reader's eye; rows dropped above leave a cursor behind and can be read again. Ids are ULIDs:
their order is the order of the list, whatever the order of commits.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from store.contract import PAGE
from store.record import RecordMeta

CAPACITY = 10_000
"""Rows held; a hundred pages, some ten megabytes. Also the bound on the ids seen."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def above(record_id: str) -> str:
    """The next ULID: the exclusive cursor that just lets `record_id` through."""
    digits = list(record_id)
    for at in range(len(digits) - 1, -1, -1):
        value = _ALPHABET.index(digits[at]) + 1
        digits[at] = _ALPHABET[value % 32]
        if value < 32:
            break
    return "".join(digits)


class Feed:
    """A window of rows. `seq` is the newest commit taken in; following goes on from there."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        """`capacity`: rows held at most, at least three pages."""
        self._capacity = max(capacity, 3 * PAGE)
        self._ids: list[str] = []  # ascending
        self._rows: dict[str, RecordMeta] = {}
        self._dropped: list[str] = []  # `before` cursors of the pages let go above, lowest last
        self._hidden: set[str] = set()  # ids that came while the window was away from the top
        self.seq = 0
        self.at_bottom = False
        """The oldest record is in the window: there is nothing to page in."""

    # -- what is there ---------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> RecordMeta:
        """The index-th row from the top."""
        if not 0 <= index < len(self._ids):
            raise IndexError(index)
        return self._rows[self._ids[-1 - index]]

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._rows

    @property
    def at_top(self) -> bool:
        """The newest record is in the window, and news is put in."""
        return not self._dropped

    @property
    def newest(self) -> str | None:
        """The id of the top row."""
        return self._ids[-1] if self._ids else None

    @property
    def oldest(self) -> str | None:
        """The id of the last row, the cursor of the next older page."""
        return self._ids[0] if self._ids else None

    @property
    def newer_cursor(self) -> str | None:
        """The `before` that reads the page just above the window; None at the top."""
        return self._dropped[-1] if self._dropped else None

    def index(self, record_id: str) -> int:
        """How many rows stand above the id: its index, or the next older row's if it is not there."""
        return len(self._ids) - bisect_right(self._ids, record_id)

    # -- what comes in ---------------------------------------------------------------------

    def snapshot(self, rows: Sequence[RecordMeta], *, whole: bool) -> None:
        """Start over from the newest rows; `whole`: there are no older ones.

        A purge or a change of keys comes in this way, so nothing of before is kept.
        """
        self._rows = {row.id: row for row in rows}
        self._ids = sorted(self._rows)
        self._dropped.clear()
        self._hidden.clear()
        self.at_bottom = whole

    def older(self, rows: Sequence[RecordMeta], *, whole: bool) -> None:
        """The page below the window; what is too much leaves at the top."""
        for row in rows:
            self._put(row)
        self.at_bottom = whole
        while len(self._ids) > self._capacity:
            self._dropped.append(above(self._ids[-1]))
            self._forget(self._ids[-PAGE:])
            del self._ids[-PAGE:]

    def newer(self, rows: Sequence[RecordMeta]) -> None:
        """The page just above the window, read with `newer_cursor`; what is too much leaves below."""
        for row in rows:
            self._put(row)
        if self._dropped:
            self._dropped.pop()
        if not self._dropped:
            self._hidden.clear()
        self._trim_bottom()

    def news(self, rows: Iterable[RecordMeta]) -> int:
        """What was committed, in commit order; returns how many records it began to show or count.

        A row seen before is updated where it stands. A new one goes to its place by id,
        if that is inside the window; `seq` moves on in any case.
        """
        new = 0
        for row in rows:
            self.seq = max(self.seq, row.seq)
            if row.id in self._rows:
                self._rows[row.id] = row
            elif self._dropped and row.id > self._ids[-1]:
                new += self._hide(row.id)
            elif self.at_bottom or not self._ids or row.id > self._ids[0]:
                self._put(row)
                new += 1
        self._trim_bottom()
        return new

    # -- the parts ---------------------------------------------------------------------------

    def _put(self, row: RecordMeta) -> None:
        if row.id not in self._rows:
            if not self._ids or row.id > self._ids[-1]:
                self._ids.append(row.id)
            else:
                self._ids.insert(bisect_left(self._ids, row.id), row.id)
        self._rows[row.id] = row

    def _forget(self, ids: Iterable[str]) -> None:
        for record_id in ids:
            del self._rows[record_id]

    def _trim_bottom(self) -> None:
        excess = len(self._ids) - self._capacity
        if excess > 0:
            self._forget(self._ids[:excess])
            del self._ids[:excess]
            self.at_bottom = False

    def _hide(self, record_id: str) -> int:
        """Count a record above a window that was scrolled away from the top; 1 if it is new.

        Its page gets a cursor, so that scrolling up meets it. The topmost cursor is raised
        until it stands for a page.
        """
        if record_id in self._hidden or record_id < self._dropped[0]:
            return 0
        if not self._hidden or len(self._hidden) % PAGE == 0:
            self._dropped.insert(0, above(record_id))
        else:
            self._dropped[0] = max(self._dropped[0], above(record_id))
        self._hidden.add(record_id)
        return 1
