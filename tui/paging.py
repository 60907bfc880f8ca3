"""Pages of the list beyond the window, one at a time, read away from the screen.

Knows no widget: `run` posts what it read, `take` puts it into the window if it still fits.
"""

from collections.abc import Callable
from typing import Any

from textual.message import Message

from store.contract import PAGE
from store.errors import StoreError
from store.record import RecordMeta
from tui.feed import Feed
from tui.source import Source


class PageRead(Message):
    """A page of rows."""

    def __init__(
        self, key_id: str | None, before: str, rows: list[RecordMeta], *, older: bool
    ) -> None:
        super().__init__()
        self.key_id = key_id
        self.before = before
        self.rows = rows
        self.older = older


class PageLost(Message):
    """A page could not be read."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Pager:
    """Reads the page below the window, or the one above it that was let go."""

    def __init__(self, source: Source, feed: Feed, post: Callable[[Message], Any]) -> None:
        self._source = source
        self._feed = feed
        self._post = post
        self.busy = False
        """A page is being read; others wait for the next scroll."""

    def cursor(self, *, older: bool) -> str | None:
        """The `before` of the wanted page; None if there is none, or one is being read."""
        feed = self._feed
        if self.busy or (older and feed.at_bottom):
            return None
        return feed.oldest if older else feed.newer_cursor

    async def run(self, key_id: str | None, before: str, *, older: bool) -> None:
        """Read one page; posts PageRead or PageLost."""
        self.busy = True
        try:
            rows = await self._source.read(
                lambda reader: reader.records(key_id=key_id, before=before, limit=PAGE)
            )
            self._post(PageRead(key_id, before, rows, older=older))
        except StoreError as error:
            self._post(PageLost(str(error)))
        finally:
            self.busy = False

    def take(self, page: PageRead) -> None:
        """Into the window, unless that has changed since the page was asked for."""
        if page.older and page.before == self._feed.oldest:
            self._feed.older(page.rows, whole=len(page.rows) < PAGE)
        elif not page.older and page.before == self._feed.newer_cursor:
            self._feed.newer(page.rows)
