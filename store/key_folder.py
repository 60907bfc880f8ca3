"""Who may touch a key's folder: those who append to it share it, who purges has it alone.

A writer holds it from the first byte it writes for a key until the rows of that are
committed, so a purge meets no bytes between a file and the index, and when it is over none
are on their way. Writers on one key overlap, so a purge would wait for ever: it closes a
gate first (the lock of the folder above), and then none begins anew.
"""

import time

from store.layout import Layout, Lock, make_folder

GATE_S = 1.0
"""How long the gate stays closed at a time: a writer lets go after some 0.2 s, and one that
cannot (its index is stuck) must not stop the writers of other keys."""

PAUSE_S = 0.1
"""How long it is open in between."""

_POLL_S = 0.005


def share(layout: Layout, key_id: str, *, timeout_s: float = 0.0) -> Lock | None:
    """Keep purges of a key out until the lock is released; None while one runs or waits to.

    Makes the folder where it is absent.
    """
    give_up = time.monotonic() + timeout_s
    while (lock := _share_now(layout, key_id)) is None and time.monotonic() < give_up:
        time.sleep(_POLL_S)
    return lock


def _share_now(layout: Layout, key_id: str) -> Lock | None:
    gate = Lock(layout.segments)
    if not gate.take(shared=True, timeout_s=0.0):
        return None
    try:
        folder = layout.key_folder(key_id)
        lock = Lock(folder)
        try:
            taken = lock.take(shared=True, timeout_s=0.0)
        except FileNotFoundError:
            make_folder(folder)
            taken = lock.take(shared=True, timeout_s=0.0)
        return lock if taken else None
    finally:
        gate.release()


def seize(layout: Layout, key_id: str, *, timeout_s: float) -> Lock | None:
    """Have a key's folder alone; None if a writer does not let go of it within `timeout_s`."""
    folder = layout.key_folder(key_id)
    make_folder(folder)
    give_up = time.monotonic() + timeout_s
    lock, gate = Lock(folder), Lock(layout.segments)
    while True:
        if gate.take(timeout_s=GATE_S):
            try:
                if lock.take(timeout_s=min(GATE_S, max(give_up - time.monotonic(), 0.0))):
                    return lock
            finally:
                gate.release()
        if time.monotonic() >= give_up:
            return None
        time.sleep(PAUSE_S)
