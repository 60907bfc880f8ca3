"""Holding the store to its size cap (store.cap): measure, choose, purge, and look again.

What takes much are segments and parts; index and keys are small beside them. A round deletes a
bounded number of records, and a sweep has few rounds: what is left is the next one's. Sizes are
estimates, so each further round of a sweep asks for twice what is still missing: however little a
cut through chains of deltas frees, it comes to whole segments soon.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from itertools import pairwise
from operator import attrgetter

from store.cap import SLACK, Choice, Stored, choose, target
from store.layout import Layout
from store.pins import Pinned
from store.purge import purge_key
from store.purge_index import PurgeIndex
from store.record import Key
from store.sizes import measure

ROUNDS = 6
MOST = 50_000
"""Records of a round, half a second's work."""


def hold_to_cap(
    layout: Layout,
    index: PurgeIndex,
    keys: Sequence[Key],
    pinned: Pinned,
    max_bytes: int,
    now_ms: int,
    log: Callable[[str], None],
) -> int:
    """Delete the oldest records where segments and parts take more than `max_bytes`; returns how
    many went. `keys`: those that are on.

    What was deleted is one line of the log, and that nothing is left which may go is one when it
    begins. Both are told for readers, too (store.contract.Reader.limits).
    """
    used = _used(layout)
    deleted = cutoff_ms = 0
    nothing_left = False
    for number in range(ROUNDS if used > max_bytes else 0):
        missing = used - target(max_bytes)
        if missing <= 0:
            break
        choice = _choose(layout, index, keys, pinned, missing << number, max_bytes)
        if choice is None:
            nothing_left = True
            break
        gone = _purge_before(layout, index, keys, pinned, choice.cutoff_ms, log)
        if not gone:
            # It could not, and has said why.
            break
        deleted += gone
        cutoff_ms = max(cutoff_ms, choice.cutoff_ms)
        used = _used(layout)
    _tell(index, used, max_bytes, deleted, now_ms - cutoff_ms, nothing_left, now_ms, log)
    return deleted


def _tell(
    index: PurgeIndex,
    used: int,
    max_bytes: int,
    deleted: int,
    age_ms: int,
    nothing_left: bool,
    now_ms: int,
    log: Callable[[str], None],
) -> None:
    stuck = max(0, used - max_bytes) if nothing_left else 0
    was_stuck = index.told("cap_stuck")
    told = {"cap_bytes": used, "cap_looked_ms": now_ms, "cap_stuck": stuck}
    if deleted:
        told["cap_deleted"] = index.told("cap_deleted") + deleted
        told["cap_deleted_ms"] = now_ms
    index.tell(told)
    takes = f"{_amount(used)} of {_amount(max_bytes)}"
    if deleted:
        records = "1 record" if deleted == 1 else f"{deleted:,} records"
        log(
            f"flowtap_max_size: {records} deleted, the oldest of all keys, ended"
            f" {_ago(age_ms)} ago or earlier; the store takes {takes}"
        )
    if stuck and not was_stuck:
        log(
            f"flowtap_max_size: the store takes {takes}, all of it pinned or in flight:"
            " nothing else is deleted for it"
        )


def _used(layout: Layout) -> int:
    sizes = measure(layout)
    return sizes.segment_bytes + sizes.part_bytes


def _purge_before(
    layout: Layout,
    index: PurgeIndex,
    keys: Sequence[Key],
    pinned: Pinned,
    cutoff_ms: int,
    log: Callable[[str], None],
) -> int:
    """One key's failure does not keep the others' records."""
    deleted = 0
    for key in keys:
        try:
            index.spare(pinned(key.id))
            if index.expired(key.id, cutoff_ms):
                deleted += purge_key(layout, index, key.id, cutoff_ms, pinned)
        except Exception as exc:
            log(f"flowtap_max_size: key {key.name} failed: {type(exc).__name__}: {exc}")
    return deleted


def _choose(
    layout: Layout,
    index: PurgeIndex,
    keys: Sequence[Key],
    pinned: Pinned,
    need: int,
    max_bytes: int,
) -> Choice | None:
    spared = {record_id for key in keys for record_id in pinned(key.id)}
    index.spare(spared)
    sizes: dict[str, dict[str, int]] = {}

    def sizes_of(segment: str) -> dict[str, int]:
        """Of a segment's records, by id: from where one begins to where the next does."""
        if segment not in sizes:
            rows = index.rows_of(segment)
            end = rows[-1][2] if rows else 0
            with suppress(FileNotFoundError):
                end = max(end, os.lstat(layout.segment(segment)).st_size)
            starts = [*(start for _, start, _, _ in rows), end]
            sizes[segment] = {
                record_id: behind - start
                for (record_id, *_), (start, behind) in zip(rows, pairwise(starts), strict=True)
            }
        return sizes[segment]

    def stored(key: Key) -> Iterator[Stored]:
        for completed_ms, record_id, segment in index.oldest(key.id):
            yield Stored(completed_ms, sizes_of(segment).get(record_id, 0), segment)

    def in_segment(segment: str) -> int:
        found = sizes_of(segment).items()
        return sum(size for record_id, size in found if record_id not in spared)

    oldest_first = merge(*(stored(key) for key in keys), key=attrgetter("completed_ms"))
    return choose(oldest_first, in_segment, need, max_bytes * SLACK // 100, MOST)


def _amount(size: int) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 10_240:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{size:,.1f} GB"


def _ago(age_ms: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if age_ms >= length:
            return f"{age_ms // length}{unit}"
    return f"{max(age_ms, 0) // 1000}s"
