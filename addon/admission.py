"""Which exchange becomes a record: the key that decides over it, asked anew for each, in memory.

What is of no key that is on is counted by who sent it where, held in the memory ring if there
is one, and stored nowhere. With `flowtap_required` it is said here which calls are refused.
"""

import time
from collections.abc import Callable

from addon.credential import fingerprint
from addon.keeping import Keeping
from addon.refusal import Refusals
from store.client import client_of
from store.contract import Recording, Writer
from store.record import Headers, RequestHead


class Admission:
    """Asked once for each exchange, on the proxy's loop. A turn of a socket is an exchange.

    Counts `seen`, `unmatched` and `refused`; the writer counts `recorded`. What is seen and none
    of the others is lost.
    """

    def __init__(
        self,
        keeping: Keeping,
        failed: Callable[[BaseException], None],
        out_of_reach: Callable[[], str | None],
    ) -> None:
        """`failed` hears of what went wrong with a call of no key that is on, which passes all the
        same; `out_of_reach` says why there is no writer."""
        self._keeping = keeping
        self._failed = failed
        self._out_of_reach = out_of_reach
        self.refusals = Refusals()
        self.required = False
        """As the option `flowtap_required`."""

    def begin(
        self,
        writer: Writer,
        found: list[bytes],
        head: RequestHead,
        protocol: str | None,
        started_ms: int,
        *,
        count: bool = True,
    ) -> Recording | None:
        """Begin the record of an exchange whose key is on; else count it as unmatched (where
        `count`) and hold it in the ring, if there is one; else None.

        `found` are the request's credentials.
        """
        counters = writer.counters
        counters.seen += 1
        key = writer.keys.match(found, head.headers)
        if key is not None and key.retention_s is not None:
            return writer.begin(key, started_ms, head, protocol)
        if not count:
            counters.seen -= 1
        credential = found[0] if found else None
        try:
            if count:
                _count_unmatched(writer, credential, head)
            ring = self._keeping.ring
            if ring is not None:
                return ring.hold(
                    writer.new_id(started_ms),
                    started_ms,
                    head,
                    protocol,
                    None if credential is None else fingerprint(credential),
                    counted=count,
                )
        except Exception as error:  # Not recorded anyway: it must not be refused for this.
            self._failed(error)
        return None

    def unmatched(self, writer: Writer, found: list[bytes], head: RequestHead) -> bool:
        """Whether no key that is on has this handshake of a socket, which is then counted."""
        key = writer.keys.match(found, head.headers)
        if key is not None and key.retention_s is not None:
            return False
        writer.counters.seen += 1
        try:
            _count_unmatched(writer, found[0] if found else None, head)
        except Exception as error:  # As in begin.
            self._failed(error)
        return True

    def refusal(self, writer: Writer | None, found: list[bytes], headers: Headers) -> str | None:
        """With flowtap_required: why this call must be refused (503), one line; None: let it pass.

        Counts a refusal, and says in the log when they begin and end. While no store is open
        nobody can know whose call it is, so each is refused.
        """
        if not self.required:
            return None
        why = self._trouble(writer)
        if why is None:
            return None
        if writer is not None:
            key = writer.keys.match(found, headers)
            if key is None or key.retention_s is None:
                return None
            writer.counters.seen += 1
            writer.counters.refused += 1
        self.refusals.begin(why)
        return why

    def look(self, writer: Writer | None) -> None:
        """Say that refusing has ended, if it has; for the recorder's clock."""
        if self.refusals and (not self.required or self._trouble(writer) is None):
            self.refusals.end()

    def _trouble(self, writer: Writer | None) -> str | None:
        """Why nothing can be recorded now, one line."""
        if writer is None:
            return self._out_of_reach() or "the store is not open yet"
        trouble = writer.trouble
        if trouble is None and self.refusals:
            self.refusals.end()
        return trouble


def _count_unmatched(writer: Writer, credential: bytes | None, head: RequestHead) -> None:
    """Count it and say whose it was: how a user finds out why a call is not recorded."""
    counters = writer.counters
    counters.unmatched += 1
    counters.last_unmatched_ms = time.time_ns() // 1_000_000
    counters.last_unmatched_host = head.host
    counters.last_unmatched_fingerprint = None if credential is None else fingerprint(credential)
    writer.unmatched(credential, head.host, client_of(head.headers))
