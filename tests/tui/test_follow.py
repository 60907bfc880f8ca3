"""Following: what is posted for what is committed, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.message import Message

from store.contract import PAGE_CAP
from store.errors import BadInput, StoreUnavailable
from tests.tui.builders import CI, LAPTOP, meta, record_id
from tests.tui.fakes import FakeStore
from tui import follow as news
from tui.follow import Follow, Sight
from tui.source import Source


class Inbox:
    """What was posted, and waiting for it."""

    def __init__(self, follow: Follow | None = None) -> None:
        self.messages: list[Message] = []
        self.follow = follow
        self.sight = Sight()

    def of[M: Message](self, kind: type[M]) -> list[M]:
        """The messages of a kind."""
        return [message for message in self.messages if isinstance(message, kind)]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something was posted."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError([type(message).__name__ for message in self.messages])


@asynccontextmanager
async def following(store: FakeStore) -> AsyncIterator[Inbox]:
    """A Follow over a store, stopped at the end."""
    sources = [Source(store.reader, name) for name in ("list", "count")]
    inbox = Inbox()
    follow = Follow(
        sources[0], sources[1], inbox.messages.append, lambda: inbox.sight, interval_s=0.002
    )
    inbox.follow = follow
    task = asyncio.create_task(follow.run())
    try:
        yield inbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for source in sources:
            source.close()


@pytest.mark.check(83, 84)
async def test_first_the_list_then_what_is_committed_after_it() -> None:
    store = FakeStore()
    store.put(meta(1))
    async with following(store) as inbox:
        await inbox.until(lambda: inbox.of(news.ListRead))
        listed = inbox.of(news.ListRead)[0]
        assert [record_id(1)] == [row.id for row in listed.rows]
        assert (True, 1) == (listed.whole, listed.seq)
        assert ["StoreBack", "KeysRead", "ListRead"] == [
            type(message).__name__ for message in inbox.messages[:3]
        ]

        store.put(meta(2))
        store.put(meta(1, status=500))
        await inbox.until(lambda: sum(len(m.rows) for m in inbox.of(news.NewsArrived)) >= 2)
        rows = [row.id for message in inbox.of(news.NewsArrived) for row in message.rows]
        assert [record_id(2), record_id(1)] == rows
        await inbox.until(lambda: inbox.of(news.CountsRead))


@pytest.mark.check(80)
async def test_of_one_key_only_its_rows_are_told() -> None:
    store = FakeStore(LAPTOP, CI)
    async with following(store) as inbox:
        assert inbox.follow is not None
        await inbox.until(lambda: inbox.of(news.ListRead))
        inbox.follow.watch(CI.id)
        await inbox.until(lambda: any(m.key_id == CI.id for m in inbox.of(news.ListRead)))
        store.put(meta(1))
        store.put(meta(2, key_id=CI.id))
        await inbox.until(lambda: inbox.of(news.NewsArrived))
        rows = [row.id for message in inbox.of(news.NewsArrived) for row in message.rows]
        assert [record_id(2)] == rows


@pytest.mark.check(85, 86, 92)
async def test_a_store_that_fails_is_said_once_and_nothing_is_missed() -> None:
    store = FakeStore()
    async with following(store) as inbox:
        await inbox.until(lambda: inbox.of(news.ListRead))
        store.error = StoreUnavailable("database is locked")
        await inbox.until(lambda: inbox.of(news.StoreLost))
        opened = store.opened
        await asyncio.sleep(0.05)
        assert ["database is locked"] == [m.reason for m in inbox.of(news.StoreLost)]

        store.error = None
        store.put(meta(7))
        await inbox.until(lambda: inbox.of(news.NewsArrived))
        assert [record_id(7)] == [row.id for row in inbox.of(news.NewsArrived)[0].rows]
        assert 2 == len(inbox.of(news.StoreBack))
        assert store.opened > opened
        assert store.closed >= 1


@pytest.mark.check(88)
async def test_a_purge_or_a_change_of_keys_reads_the_list_as_far_as_it_is_seen() -> None:
    store = FakeStore()
    for number in range(1, 400):
        store.put(meta(number))
    async with following(store) as inbox:
        await inbox.until(lambda: inbox.of(news.ListRead))
        assert 100 == len(inbox.of(news.ListRead)[0].rows)
        inbox.sight = Sight(oldest=record_id(150))
        store.purge(record_id(398))
        await inbox.until(lambda: len(inbox.of(news.ListRead)) == 2)
        again = inbox.of(news.ListRead)[1]
        assert 300 == len(again.rows)
        assert record_id(398) not in {row.id for row in again.rows}
        assert 2 == len(inbox.of(news.KeysRead))


async def test_a_flood_is_read_as_a_list() -> None:
    store = FakeStore()
    async with following(store) as inbox:
        await inbox.until(lambda: inbox.of(news.ListRead))
        with store.lock:
            for number in range(news.BURST * PAGE_CAP + 50):
                store.put(meta(number))
        await inbox.until(lambda: len(inbox.of(news.ListRead)) == 2)
        assert not inbox.of(news.NewsArrived)


async def test_the_sizes_of_what_is_in_flight_and_seen_are_told() -> None:
    store = FakeStore()
    live = store.begin(meta(1))
    async with following(store) as inbox:
        live.chunk(1, b"12345")
        inbox.sight = Sight(flying=(record_id(1), record_id(2)))
        await inbox.until(lambda: inbox.of(news.BytesRead))
        assert {record_id(1): 5} == inbox.of(news.BytesRead)[-1].sizes


async def test_proxies_are_looked_at_though_nothing_is_committed() -> None:
    store = FakeStore()
    async with following(store) as inbox:
        await inbox.until(lambda: len(inbox.of(news.ProxiesRead)) >= 2)
        assert [4121] == [proxy.pid for proxy in inbox.of(news.ProxiesRead)[0].proxies]


async def test_what_the_user_asked_wrongly_does_not_cost_the_reader() -> None:
    store = FakeStore()
    source = Source(store.reader, "test")
    with pytest.raises(BadInput):
        await source.read(lambda reader: reader.key("nobody"))
    await source.read(lambda reader: reader.keys())
    assert (1, 0) == (store.opened, store.closed)
    source.close()


async def test_an_error_of_the_system_is_the_store_s() -> None:
    def broken(reader: object) -> None:
        raise OSError("disk on fire")

    source = Source(FakeStore().reader, "test")
    with pytest.raises(StoreUnavailable, match="disk on fire"):
        await source.read(broken)
    source.close()
