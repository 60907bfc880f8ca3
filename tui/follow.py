"""Following the store: asks ten times a second whether anything changed, and says what did.

Runs as a coroutine beside the screen, reads through a `Source`, and touches no widget: it
posts messages. A store that fails is a state, not an end: it is said once per reason, tried
again every second, and what was missed comes with the next good read, for following goes on
from the last commit that was taken in.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from textual.message import Message

from store.contract import PAGE, PAGE_CAP, Counts, Reader
from store.errors import StoreError
from store.record import Key, ProxyStatus, RecordMeta, Seen
from tui.feed import CAPACITY
from tui.source import Source

INTERVAL_S = 0.1
"""p50 49 ms from commit to row, 0.22 % of a core idle; 20 ms would cost four times that."""

RETRY_S = 1.0
"""Between two tries at a store that failed."""

PROXIES_S = 1.0
"""Between two looks at the proxies' status: they tell of themselves every few seconds."""

COUNTS_S = 2.0
"""Between two counts at most: counting walks the key's rows."""

SIZES_S = 0.5
"""Between two looks at how far what is in flight has grown."""

BURST = 10
"""Pages of news taken in one round; more than that is read as a list again."""


class ListRead(Message):
    """The list was read anew: the view began, the key was switched, records were purged."""

    def __init__(self, key_id: str | None, rows: list[RecordMeta], whole: bool, seq: int) -> None:
        super().__init__()
        self.key_id = key_id
        self.rows = rows
        self.whole = whole
        self.seq = seq


class NewsArrived(Message):
    """Rows were committed, in commit order."""

    def __init__(self, key_id: str | None, rows: list[RecordMeta]) -> None:
        super().__init__()
        self.key_id = key_id
        self.rows = rows


class KeysRead(Message):
    """The keys, when they were read first or may have changed."""

    def __init__(self, keys: list[Key]) -> None:
        super().__init__()
        self.keys = keys


class ProxiesRead(Message):
    """What the proxies say of themselves."""

    def __init__(self, proxies: list[ProxyStatus]) -> None:
        super().__init__()
        self.proxies = proxies

    def can_replace(self, message: Message) -> bool:
        """The newest counts."""
        return isinstance(message, ProxiesRead)


class CallersRead(Message):
    """Who sent LLM calls of no key that is on."""

    def __init__(self, callers: list[Seen]) -> None:
        super().__init__()
        self.callers = callers

    def can_replace(self, message: Message) -> bool:
        """The newest counts."""
        return isinstance(message, CallersRead)


class CountsRead(Message):
    """The totals of the key that is shown."""

    def __init__(self, key_id: str | None, counts: Counts) -> None:
        super().__init__()
        self.key_id = key_id
        self.counts = counts

    def can_replace(self, message: Message) -> bool:
        """The newest counts."""
        return isinstance(message, CountsRead)


class BytesRead(Message):
    """How far the records in flight have grown, by id."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self.sizes = sizes

    def can_replace(self, message: Message) -> bool:
        """The newest counts."""
        return isinstance(message, BytesRead)


class StoreLost(Message):
    """The store cannot be read; one line says why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class StoreBack(Message):
    """The store can be read (again)."""


@dataclass(slots=True)
class _Seen:
    """Where following stands. `version` None: read everything anew."""

    version: int | None = None
    generation: int | None = None
    seq: int = 0


@dataclass(slots=True)
class _Round:
    """What one look at the store found; None: nothing new of that sort."""

    seen: _Seen
    rows: list[RecordMeta] | None = None
    whole: bool = False
    news: list[RecordMeta] = field(default_factory=list)
    keys: list[Key] | None = None
    proxies: list[ProxyStatus] | None = None
    callers: list[Seen] | None = None
    sizes: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look has to know of the view."""

    oldest: str | None = None
    """The id down to which a list read anew must go."""
    flying: tuple[str, ...] = ()
    """The records in view whose exchange is in flight: their sizes are asked for."""


class Follow:
    """Following for one view: of one key or of all."""

    def __init__(
        self,
        source: Source,
        counter: Source,
        post: Callable[[Message], Any],
        sight: Callable[[], Sight] = Sight,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`counter` is a source of its own, for counting may be slow; `sight` is asked each round."""
        self._source = source
        self._counter = counter
        self._post = post
        self._sight = sight
        self._interval_s = interval_s
        self._seen = _Seen()
        self._key_id: str | None = None
        self._lost: str | None = None
        self._began = False
        self._wake = asyncio.Event()
        self._proxies_due = 0.0
        self._sizes_due = 0.0
        self._sizes: dict[str, int] = {}
        self._counts_due = 0.0
        self._count_wanted = True
        self._counting: asyncio.Task[None] | None = None

    def watch(self, key_id: str | None) -> None:
        """Show another key (None: all); its list is read at once."""
        self._key_id = key_id
        self.read_again()

    def read_again(self) -> None:
        """Read list and keys anew with the next round, which is now."""
        self._seen = _Seen()
        self._counts_due = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                pause = self._interval_s
                try:
                    await self._round()
                except StoreError as error:
                    self._say_lost(str(error))
                    pause = min(RETRY_S, 10 * self._interval_s)
                await self._rest(pause)
        finally:
            if self._counting is not None:
                self._counting.cancel()

    async def _rest(self, pause_s: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), pause_s)
        except TimeoutError:
            return
        self._wake.clear()

    async def _round(self) -> None:
        seen, key_id, sight = self._seen, self._key_id, self._sight()
        now = asyncio.get_running_loop().time()
        proxies = now >= self._proxies_due
        if now < self._sizes_due:
            sight = Sight(sight.oldest)
        found = await self._source.read(lambda reader: _look(reader, seen, key_id, sight, proxies))
        if proxies:
            self._proxies_due = now + 10 * self._interval_s * PROXIES_S
        if sight.flying:
            self._sizes_due = now + 10 * self._interval_s * SIZES_S
        if self._seen is not seen:
            # Another key was chosen while this was read.
            return
        self._seen = found.seen
        self._say_back()
        self._say(found, key_id)
        if self._count_wanted and now >= self._counts_due and self._counting is None:
            self._count_wanted = False
            self._counts_due = now + COUNTS_S
            self._counting = asyncio.create_task(self._count(key_id))

    def _say(self, found: _Round, key_id: str | None) -> None:
        if found.keys is not None:
            self._post(KeysRead(found.keys))
        if found.rows is not None:
            self._post(ListRead(key_id, found.rows, found.whole, found.seen.seq))
        if found.news:
            self._post(NewsArrived(key_id, found.news))
        if found.proxies is not None:
            self._post(ProxiesRead(found.proxies))
        if found.callers is not None:
            self._post(CallersRead(found.callers))
        if found.sizes is not None and found.sizes != self._sizes:
            self._sizes = found.sizes
            self._post(BytesRead(found.sizes))
        if found.rows is not None or found.news:
            self._count_wanted = True

    async def _count(self, key_id: str | None) -> None:
        try:
            counts = await self._counter.read(lambda reader: reader.counts(key_id))
        except StoreError:
            # The round that follows meets the same store and says so.
            self._count_wanted = True
        else:
            if key_id == self._key_id:
                self._post(CountsRead(key_id, counts))
        finally:
            self._counting = None

    def _say_lost(self, reason: str) -> None:
        if reason != self._lost:
            self._lost = reason
            self._post(StoreLost(reason))

    def _say_back(self) -> None:
        if self._lost is not None or not self._began:
            self._lost = None
            self._began = True
            self._post(StoreBack())


def _look(
    reader: Reader,
    seen: _Seen,
    key_id: str | None,
    sight: Sight,
    proxies: bool,
) -> _Round:
    """One look, on the reader's thread; two microseconds where nothing changed.

    The version is read before the rows: what is committed in between is found again.
    """
    version = reader.version()
    found = _Round(_Seen(version, seen.generation, seen.seq))
    if version != seen.version:
        found.seen.generation = reader.generation()
        fresh = seen.version is None or found.seen.generation != seen.generation
        if fresh or not _take_news(reader, found, key_id):
            _read_list(reader, found, key_id, sight.oldest)
        if fresh:
            found.keys = reader.keys()
    if proxies:
        found.proxies = reader.proxies()
    if proxies or found.keys is not None:
        # A caller that was opted in, or a key switched off, is told with the keys.
        found.callers = reader.seen()
    if sight.flying:
        sizes = ((record_id, reader.live_bytes(record_id)) for record_id in sight.flying)
        found.sizes = {record_id: size for record_id, size in sizes if size is not None}
    return found


def _take_news(reader: Reader, found: _Round, key_id: str | None) -> bool:
    """All news since the last look; False if it is so much that a list is shorter."""
    for _ in range(BURST):
        batch = reader.news(found.seen.seq, key_id=key_id)
        found.news += batch
        if batch:
            found.seen.seq = batch[-1].seq
        if len(batch) < PAGE_CAP:
            return True
    found.news.clear()
    return False


def _read_list(reader: Reader, found: _Round, key_id: str | None, reach: str | None) -> None:
    """The newest page, and on to what is on screen: first the place in the news, then the rows."""
    found.seen.seq = reader.last_seq()
    rows: list[RecordMeta] = []
    while True:
        limit = PAGE if not rows else PAGE_CAP
        before = rows[-1].id if rows else None
        batch = reader.records(key_id=key_id, before=before, limit=limit)
        rows += batch
        found.whole = len(batch) < limit
        if found.whole or reach is None or batch[-1].id <= reach or len(rows) >= CAPACITY:
            found.rows = rows
            return
