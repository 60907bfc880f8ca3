"""Record ids: ULIDs that never go back within a process, whatever the clock does.

The id of a record is minted when its exchange begins. It is the order of every list and
the cursor of every page, so it must grow; python-ulid alone follows a clock that steps back.
Times are arguments; only the randomness comes from outside.
"""

import threading

from ulid import ULIDGenerator

LAST_MS = 2**48 - 1
"""The year 10889: a ULID has 48 bits for the time."""


class IdSource:
    """Mints ids; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._generator = ULIDGenerator()

    def new(self, now_ms: int) -> str:
        """The next id: 26 Crockford characters, greater than every one before it.

        Within a millisecond, and while the clock stands before an earlier id, the random
        part is counted up instead (the ULID specification's monotonic rule).
        """
        with self._lock:
            self._last_ms = max(self._last_ms, min(now_ms, LAST_MS))
            try:
                return str(self._generator.generate(self._last_ms))
            except ValueError:
                # 2**80 random values of one millisecond used up: the start was drawn
                # at the very end of the range. The next millisecond is free.
                self._last_ms += 1
                return str(self._generator.generate(self._last_ms))
