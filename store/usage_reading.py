"""The index's rows into store.usage_stats, a page at a time: an open cursor would keep the log growing."""

from collections import defaultdict
from collections.abc import Callable, Collection

from store.errors import StoreUnavailable
from store.layout import Layout, is_held
from store.reader import LocalReader
from store.retention import cutoff_ms
from store.usage_stats import DIMENSIONS, Added, Adding, UsageRow

ROWS = 5_000
"""Of a page: 20 ms."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def read_usage(
    reader: LocalReader,
    layout: Layout,
    by: Collection[str],
    now_ms: int,
    *,
    key_id: str | None = None,
    since_ms: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Added:
    """What the records add up to that a list would show now, of one key or of all; those alone that
    began at `since_ms` or later. `progress` is told how many rows are done, and of how many.

    StoreUnavailable where the index cannot be read.
    """
    keys = [key for key in reader.keys() if key_id in (None, key.id)]
    cutoffs = {
        key.id: cutoff_ms(now_ms, key.retention_s) for key in keys if key.retention_s is not None
    }
    pinned = reader.select("SELECT seq FROM keyring.pins CROSS JOIN records ON id = record_id")
    adding = Adding(
        by,
        cutoffs,
        since_ms=since_ms,
        dead=_left_behind(reader, layout),
        pinned={seq for (seq,) in pinned},
    )
    # Ids begin with the time: the rows before the first of them all began earlier.
    first, last = reader.select(
        "SELECT coalesce((SELECT min(seq) FROM records WHERE id >= ?), 0),"
        " coalesce(max(seq), 0) FROM records",
        (first_id(since_ms),),
    )[0]
    if not first:
        return adding.result({})
    seq = begin = first - 1
    columns = ", ".join(
        name if name in by or name not in DIMENSIONS else "NULL" for name in UsageRow._fields
    )
    # With a plus SQLite leaves the key's index alone: rows are wanted in the order of seq.
    wanted, parameters = ("AND +key_id = ?", [key_id]) if key_id is not None else ("", [])
    while rows := reader.select(
        f"SELECT {columns} FROM records WHERE seq > ? AND seq <= ? {wanted}"  # noqa: S608 - constants
        f" ORDER BY seq LIMIT {ROWS}",
        [seq, last, *parameters],
    ):
        try:
            for row in rows:
                adding.add(row)
        except (TypeError, ValueError, OverflowError) as exc:
            raise StoreUnavailable(
                f"{layout.index}: a row makes no sense ({exc}); `flowtap rebuild` makes the index"
                " anew from the segments."
            ) from exc
        seq = rows[-1][0]
        if progress is not None:
            progress(seq - begin, last - begin)
    return adding.result(dict(reader.select("SELECT name, indexed FROM segments")))


def _left_behind(reader: LocalReader, layout: Layout) -> set[int]:
    """The rows in flight whose writer is gone, by their seq."""
    by_writer = defaultdict(set)
    for seq, writer in reader.select("SELECT seq, writer FROM records WHERE state = 'live'"):
        by_writer[writer].add(seq)
    dead = (writer for writer in by_writer if not is_held(layout.live / writer / "lock"))
    return {seq for writer in dead for seq in by_writer[writer]}


def first_id(at_ms: int) -> str:
    """The least record id of that millisecond."""
    digits = [_CROCKFORD[at_ms >> shift & 31] for shift in range(45, -1, -5)]
    return "".join(digits) + "0" * 16
