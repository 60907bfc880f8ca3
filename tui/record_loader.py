"""Loading the record that is open, and staying with it while it is in flight.

Runs as a coroutine beside the screen, reads through a `Source`, touches no widget: it posts
messages. Each opening has a token; what comes back for an older one is told apart by it.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.message import Message

from store.contract import Reader
from store.errors import StoreError
from tui.source import Source

if TYPE_CHECKING:
    # Collectors and documents come with the first record, after the first paint.
    from tui.loading import Loaded

LIVE_S = 0.1
"""Between two looks at a record in flight."""

QUIET = 50
"""Looks without news after which a record in flight is looked at less often: it waits, too."""


class RecordArrived(Message):
    """A load ended: a document, nothing (it is gone), or why not."""

    def __init__(self, token: int, loaded: "Loaded | None", error: str | None = None) -> None:
        super().__init__()
        self.token = token
        self.loaded = loaded
        self.error = error


class RecordGrew(Message):
    """The document in flight has more."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self.token = token

    def can_replace(self, message: Message) -> bool:
        """One repaint for many."""
        return isinstance(message, RecordGrew)


class RecordLoader:
    """Loads one record at a time; `token` is the newest opening's."""

    def __init__(self, source: Source, post: Callable[[Message], Any], live_s: float) -> None:
        self._source = source
        self._post = post
        self._live_s = live_s
        self.token = 0

    async def run(self, token: int, record_id: str) -> None:
        """Load, then stay with the record while it is in flight."""
        loaded: Loaded | None = None
        try:
            loaded = await self._opened(token, record_id)
            self._post(RecordArrived(token, loaded))
            quiet = 0
            while loaded is not None and loaded.live:
                await asyncio.sleep(self._live_s * (1 if quiet < QUIET else 5))
                now = await self._source.read(loaded.step)
                quiet = 0 if now is not loaded or loaded.grew else quiet + 1
                if now is not loaded:
                    loaded = now
                    self._post(RecordArrived(token, loaded))
                elif loaded.grew:
                    self._post(RecordGrew(token))
        except StoreError as error:
            self._post(RecordArrived(token, None, str(error)))
        finally:
            if loaded is not None:
                loaded.close()

    async def _opened(self, token: int, record_id: str) -> "Loaded | None":
        """The load; if it is cancelled, what it was opening is still closed."""
        reading = asyncio.ensure_future(
            self._source.read(lambda reader: self._first(reader, token, record_id))
        )
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.add_done_callback(_close_result)
            raise

    def _first(self, reader: Reader, token: int, record_id: str) -> "Loaded | None":
        """On the reader's thread: nothing is read for a token that is out of date."""
        from tui.loading import load

        return load(reader, record_id) if token == self.token else None


def _close_result(reading: "asyncio.Future[Loaded | None]") -> None:
    if not reading.cancelled() and reading.exception() is None:
        loaded = reading.result()
        if loaded is not None:
            loaded.close()
