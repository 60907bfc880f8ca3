"""The size cap: from when on records are kept when the store takes too much. Values in, an instant out.

The oldest go, by when they ended, over all keys alike; what is pinned or in flight is not among
those that are asked about. Where that instant lies a little later than it must, so that whole
segments go instead of being rewritten, it does.

Sizes are estimates: of a segment that goes in part, what stays may grow, since a request that
was a delta to one that goes becomes whole (store.delta). So who deletes looks again afterwards.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

PER_CENT = 95
"""How much of the cap the store is brought down to, so that it is not met again at once."""

SLACK = 5
"""Per cent of the cap that may go beyond that, where it spares rewriting."""


class Stored(NamedTuple):
    """A finished record that may go."""

    completed_ms: int
    size: int
    """Bytes it takes in its segment."""
    segment: str


class Choice(NamedTuple):
    """What is to go."""

    cutoff_ms: int
    """Records that ended before it."""
    records: int
    bytes: int
    """Of them, as far as that can be told before."""


def target(max_bytes: int) -> int:
    """What the store is brought down to once it takes more than `max_bytes`."""
    return max_bytes * PER_CENT // 100


def choose(
    oldest_first: Iterable[Stored],
    in_segment: Callable[[str], int],
    need: int,
    slack: int,
    most: int,
) -> Choice | None:
    """The cutoff that frees `need` bytes; None if there is nothing that may go.

    It is moved on, by at most `slack` bytes more, to where another segment goes whole, if that
    leaves less in segments that go in part. `in_segment` tells how many bytes of a segment may go
    at all. After `most` records it is left at that, however little they free; those that ended in
    the same millisecond go together.
    """
    best: Choice | None = None
    least = 0
    left: dict[str, int] = {}
    left_bytes = records = freed = last_ms = 0
    emptied = False

    def better() -> bool:
        return best is None or (emptied and left_bytes < least and freed <= need + slack)

    for each in oldest_first:
        if records and each.completed_ms > last_ms:
            if (freed >= need or records >= most) and better():
                best, least = Choice(last_ms + 1, records, freed), left_bytes
            if best is not None and (least <= 0 or freed >= need + slack or records >= most):
                return best
            emptied = False
        if each.segment not in left:
            left[each.segment] = in_segment(each.segment)
            left_bytes += left[each.segment]
        left[each.segment] -= each.size
        left_bytes -= each.size
        emptied = emptied or left[each.segment] <= 0
        freed += each.size
        records += 1
        last_ms = each.completed_ms
    if records and better():
        best = Choice(last_ms + 1, records, freed)
    return best
