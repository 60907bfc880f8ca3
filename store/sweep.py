"""What is due every minute: of all keys what their retentions no longer cover, and what is too much.

Readers hide what expired at once, so nothing depends on a sweep's being on time.
"""

from collections.abc import Callable

from store.asks import LEFT_MS
from store.capping import hold_to_cap
from store.layout import Layout, Lock, is_held
from store.pins import Pinned
from store.purge import CHECKPOINT_WAIT_S, purge_key
from store.purge_index import EVERYTHING, PurgeIndex
from store.quarantine import any_expired
from store.record import Key
from store.recovery import drop_copies
from store.retention import cutoff_ms
from store.seen import ENTRIES, SEEN_DAYS
from store.segments import segment_names

JUMP_S = 300.0
"""A clock is set by seconds, a mistake is made by days; a machine that slept looks the same."""


class SteadyClock:
    """Tells when the wall clock ran ahead of the time that passed."""

    def __init__(self, wall_s: float, passed_s: float) -> None:
        self._last = (wall_s, passed_s)

    def jumped(self, wall_s: float, passed_s: float) -> bool:
        """Whether it did since the last call; the new time is the measure of the next."""
        last, self._last = self._last, (wall_s, passed_s)
        return (wall_s - last[0]) - (passed_s - last[1]) > JUMP_S


def sweep(
    layout: Layout,
    index: PurgeIndex,
    keys: list[Key],
    pinned: Pinned,
    now_ms: int,
    log: Callable[[str], None],
    max_bytes: int | None = None,
) -> int:
    """Purge every key's expired records, and the leftovers of keys that are off; then, above the
    smallest of `max_bytes` and the caps of running proxies, the oldest. Returns how many went.

    Nothing (0) while another process sweeps. One key's failure is logged and does not stop
    the others: the next key's owner is owed his deletion all the same.
    """
    lock = Lock(layout.sweep_lock)
    if not lock.take(timeout_s=0.0):
        return 0
    deleted = 0
    on = {key.id for key in keys if key.retention_s is not None}
    try:
        for key in keys:
            cutoff = None if key.retention_s is None else cutoff_ms(now_ms, key.retention_s)
            try:
                if _has_work(layout, index, key.id, cutoff, pinned):
                    deleted += purge_key(layout, index, key.id, cutoff, pinned)
                drop_copies(layout, index, key.id, on)
            except Exception as exc:
                log(f"sweep of key {key.name} failed: {type(exc).__name__}: {exc}")
        cap = _cap(layout, index, max_bytes)
        if cap is not None:
            try:
                kept = [key for key in keys if key.id in on]
                deleted += hold_to_cap(layout, index, kept, pinned, cap, now_ms, log)
            except Exception as exc:
                log(f"flowtap_max_size: {type(exc).__name__}: {exc}")
        index.forget_answers("", now_ms - LEFT_MS)
        index.forget_seen(now_ms - SEEN_DAYS * 24 * 60 * 60 * 1000, ENTRIES)
        # A reader in mid-read kept a purge from clearing the log: what it deleted goes now.
        index.checkpoint(wait_s=CHECKPOINT_WAIT_S, truncate=True)
    finally:
        lock.release()
    return deleted


def _cap(layout: Layout, index: PurgeIndex, max_bytes: int | None) -> int | None:
    """Whoever sweeps holds the store to what any proxy wants: the others find the sweep done."""
    caps = [cap for writer, cap in index.caps().items() if is_held(layout.live / writer / "lock")]
    return min([*caps, *([] if max_bytes is None else [max_bytes])], default=None)


def _has_work(
    layout: Layout, index: PurgeIndex, key_id: str, cutoff: int | None, pinned: Pinned
) -> bool:
    """Something expired, something left of a key that is off, or a purge that was cut short."""
    index.spare(() if cutoff is None else pinned(key_id))
    return (
        index.expired(key_id, EVERYTHING if cutoff is None else cutoff)
        or (cutoff is None and bool(segment_names(layout.segments, key_id)))
        or any_expired(layout, key_id, cutoff)
    )
