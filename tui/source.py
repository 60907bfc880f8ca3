"""A reader and the one thread that may touch it.

SQLite connections stay on the thread that opened them, and a query may wait for a lock or a
network; so every read of the UI goes through here and the screen never stands still. After
the store failed, the reader is thrown away and the next read opens a new one: coming back
needs nobody's help.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from store.contract import Reader
from store.errors import BadInput, BodyMissing, StoreError, StoreUnavailable

type OpenReader = Callable[[], Reader]


class Source:
    """Reads, one after the other, away from the screen's thread."""

    def __init__(self, open_reader: OpenReader, name: str) -> None:
        """Nothing is opened before the first read; `name` is the thread's."""
        self._open_reader = open_reader
        self._reader: Reader | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"flowtap-{name}")

    async def read[T](self, query: Callable[[Reader], T]) -> T:
        """What `query` makes of the reader; StoreError if the store cannot be read now."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, query)

    def _read[T](self, query: Callable[[Reader], T]) -> T:
        try:
            if self._reader is None:
                self._reader = self._open_reader()
            return query(self._reader)
        except (BadInput, BodyMissing):
            raise
        except (StoreError, OSError) as error:
            self._drop()
            raise (
                error if isinstance(error, StoreError) else StoreUnavailable(str(error))
            ) from error

    def _drop(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Free the reader after what is being read now; nothing waits here."""
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)
