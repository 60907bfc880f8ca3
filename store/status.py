"""What a proxy says of itself, in a row that every reader sees; the writer's thread alone."""

import os
import time

from store.contract import Counters
from store.index import Index
from store.record import ProxyStatus
from store.verdict import one_line

HEARTBEAT_S = 2.0
CHANGED_STATUS_S = 0.5
TROUBLE_S = 2.0
"""How long trouble is told after it was last met, so that a reader sees it at all."""


class Status:
    """What the proxy says of itself, and when it last said it."""

    def __init__(self, writer: str, counters: Counters) -> None:
        self.address: str | None = None
        """None until the proxy listens: there is nothing to say before."""
        self.lost_records = 0
        self.lost_bytes = 0
        self.error: str | None = None
        """Why records are being lost now, one line; another thread may read it at any time."""
        self._trouble_at = 0.0
        self._writer = writer
        self._counters = counters
        self._started_ms = time.time_ns() // 1_000_000
        self._said_at = -HEARTBEAT_S
        self._said: tuple[ProxyStatus, bool] | None = None

    def trouble(self, exc: BaseException, now: float) -> str:
        """Say from now on why records are being lost; returns it, one line."""
        self.error = one_line(f"{type(exc).__name__}: {exc}")
        self._trouble_at = now
        return self.error

    def well(self, now: float) -> None:
        """Nothing is waiting for the disk: after a while there is no trouble to be told."""
        if now - self._trouble_at >= TROUBLE_S:
            self.error = None

    def publish(self, index: Index, now: float, *, at_once: bool = False) -> None:
        """Write the row if it is time: a change is told within half a second, or at once where this
        is the last word of a proxy that stops; sameness every HEARTBEAT_S."""
        too_early = now - self._said_at < CHANGED_STATUS_S and not at_once
        if self.address is None or too_early:
            return
        status = (self._now(), self._counters.has_ring)
        if status == self._said and now - self._said_at < HEARTBEAT_S:
            return
        self._said_at = now
        index.put_status(status[0], time.time_ns() // 1_000_000, has_ring=status[1])
        self._said = status

    def _now(self) -> ProxyStatus:
        counters = self._counters
        return ProxyStatus(
            writer=self._writer,
            pid=os.getpid(),
            address=self.address or "",
            started_ms=self._started_ms,
            heartbeat_ms=0,
            seen=counters.seen,
            recorded=counters.recorded,
            unmatched=counters.unmatched,
            lost_records=self.lost_records + counters.lost,
            lost_bytes=self.lost_bytes,
            last_unmatched_ms=counters.last_unmatched_ms,
            last_unmatched_host=counters.last_unmatched_host,
            last_unmatched_fingerprint=counters.last_unmatched_fingerprint,
            error=self.error,
            ring_exchanges=counters.ring_exchanges,
            ring_bytes=counters.ring_bytes,
            ring_since_ms=counters.ring_since_ms,
            refused=counters.refused,
            max_bytes=counters.max_bytes,
        )
