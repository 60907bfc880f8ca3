"""The memory ring of a running proxy: who asks for what it holds, and giving it to the store.

Runs on the proxy's loop, so what is kept is told in small pieces: at most STEP_CALLS at a time,
and never more than half of what the store's queue has room for, the other half being live
traffic's. A disk that cannot keep up makes it slow, and after PATIENCE_S without room it is told
all the same: then the recording counts what did not fit, as it does for any exchange.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from addon.ring import Held, Ring
from store.contract import Writer
from store.record import Ask

POLL_S = 0.5
"""How often asks are looked for, and counters told, while there is a ring."""

STEP_S = 0.005
"""From one piece to the next, so that traffic comes in between."""

STEP_CALLS = 250
"""Chunks, heads and ends of one piece: half a millisecond of the loop. A ring of 64 MB that is full of
events takes three seconds so, if the disk keeps up; it is the store's thread that costs more."""

BEGIN_CALLS = 20
"""What beginning a record costs, in those."""

PATIENCE_S = 10.0
"""How long a full queue is waited for."""

KEY_POLLS = 10
"""Looks for the key of an ask, which this proxy may not have heard of yet."""


class _Job:
    """One ask, and what is still to be kept for it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.looked = 0
        """For its key."""
        self.left: deque[Held] | None = None
        """None: not chosen yet."""
        self.begun = 0


class Keeping:
    """At most one ring, and the asks that are being answered. `ring` is what holds; None: nothing does."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears of what raised on the clock, where no hook's guard is."""
        self._failed = failed
        self._limit = 0
        self._writer: Writer | None = None
        self._jobs: deque[_Job] = deque()
        self._poll_handle: asyncio.TimerHandle | None = None
        self._step_handle: asyncio.TimerHandle | None = None
        self._no_room_since: float | None = None
        self.ring: Ring | None = None

    def configure(self, limit: int) -> None:
        """So many bytes of memory from now on; 0: no ring, and what it held is forgotten."""
        self._limit = limit
        if self.ring is not None and limit:
            self.ring.limit = limit
        elif self.ring is not None:
            self._drop_ring()
        else:
            self._make_ring()

    def opened(self, writer: Writer) -> None:
        """There is a store: what can be kept can be held."""
        self._writer = writer
        self._make_ring()

    def close(self) -> None:
        """The store is about to be closed: what was being kept is told at once, the rest forgotten."""
        if self.ring is not None:
            try:
                while self._jobs and self._step(monotonic(), hurry=True):
                    pass
            finally:
                self._drop_ring()
        self._writer = None

    def poll(self) -> None:
        """Take in what is asked, and tell the counters."""
        writer, ring = self._writer, self.ring
        if writer is None or ring is None:
            return
        self._jobs.extend(map(_Job, writer.asks()))
        counters = writer.counters
        counters.ring_exchanges = len(ring)
        counters.ring_bytes = ring.bytes
        counters.ring_since_ms = ring.since_ms
        for job in [job for job in self._jobs if job.left is None]:
            self._choose(job, writer, ring)
        if self._step_handle is None and any(job.left is not None for job in self._jobs):
            self._step_handle = asyncio.get_running_loop().call_later(0, self._on_step)

    def step(self, now_s: float) -> bool:
        """Tell the store one piece of what is to be kept; False: nothing is left to tell."""
        return self._step(now_s, hurry=False)

    # -- the clock ------------------------------------------------------------------------------

    def _on_poll(self) -> None:
        self._poll_handle = asyncio.get_running_loop().call_later(POLL_S, self._on_poll)
        try:
            self.poll()
        except Exception as error:  # The next look may go well.
            self._failed(error)

    def _on_step(self) -> None:
        self._step_handle = None
        more = True
        try:
            more = self.step(monotonic())
        except Exception as error:  # What raised is left out; the rest is kept.
            self._failed(error)
        if more and self.ring is not None:
            self._step_handle = asyncio.get_running_loop().call_later(STEP_S, self._on_step)

    def _make_ring(self) -> None:
        if not self._limit or self._writer is None or self.ring is not None:
            return
        self.ring = Ring(self._limit)
        self._writer.counters.has_ring = True
        self._poll_handle = asyncio.get_running_loop().call_later(POLL_S, self._on_poll)

    def _drop_ring(self) -> None:
        """Forget what is held and answer what was asked."""
        ring, self.ring = self.ring, None
        for handle in (self._poll_handle, self._step_handle):
            if handle is not None:
                handle.cancel()
        self._poll_handle = self._step_handle = None
        if ring is not None:
            ring.clear()
        jobs, self._jobs = self._jobs, deque()
        if self._writer is None:
            return
        counters = self._writer.counters
        counters.has_ring = False
        counters.ring_exchanges = counters.ring_bytes = 0
        counters.ring_since_ms = None
        for job in jobs:
            self._writer.answer(job.ask, job.begun)

    # -- keeping --------------------------------------------------------------------------------

    def _choose(self, job: _Job, writer: Writer, ring: Ring) -> None:
        """What is to be kept for an ask, once its key is there; nothing if that does not come."""
        job.looked += 1
        key = writer.keys.by_id(job.ask.key_id)
        if key is not None and key.retention_s is not None:
            job.left = deque(ring.want(job.ask.since_ms, job.ask.fingerprint))
        elif job.looked >= KEY_POLLS:
            job.left = deque()

    def _step(self, now_s: float, *, hurry: bool) -> bool:
        writer = self._writer
        if writer is None:
            return False
        calls, room = STEP_CALLS, writer.room // 2
        while calls > 0:
            job = next((job for job in self._jobs if job.left is not None), None)
            if job is None or job.left is None:
                return False
            if not job.left:
                self._jobs.remove(job)
                writer.answer(job.ask, job.begun)
                continue
            held = job.left[0]
            if held.gone:
                calls -= 1
                job.left.popleft()
                continue
            size = held.next_bytes
            if size <= room:
                self._no_room_since = None
            elif not (hurry or self._impatient(now_s)):
                return True
            try:
                if held.recording is None:
                    calls -= BEGIN_CALLS
                    self._begin(job, held, writer)
                else:
                    calls -= 1
                    room -= size
                    held.tell_next()
            except Exception as error:
                held.give_up(f"Keeping it failed ({type(error).__name__}); the call went on.")
                raise
        return True

    def _impatient(self, now_s: float) -> bool:
        """There has been no room for so long that what does not fit is to be counted as lost."""
        if self._no_room_since is None:
            self._no_room_since = now_s
        return now_s - self._no_room_since >= PATIENCE_S

    def _begin(self, job: _Job, held: Held, writer: Writer) -> None:
        """Begin its record, under the id it has had from its begin."""
        key = writer.keys.by_id(job.ask.key_id)
        if key is None:
            raise LookupError("the key went away while exchanges were kept under it")
        held.keep(writer.begin(key, held.started_ms, held.request, held.protocol, held.id))
        job.begun += 1
        # As if it had been on: what is seen is recorded, unmatched, refused or lost.
        if held.counted:
            writer.counters.unmatched -= 1
        else:
            writer.counters.seen += 1
