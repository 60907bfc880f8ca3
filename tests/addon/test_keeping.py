"""Asks answered: what is told to the store, in which pieces, and what happens when it has no room."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from addon import keeping
from addon.keeping import PATIENCE_S, STEP_CALLS, Keeping
from addon.ring import Held
from store.record import Ask, Key, KeyKind, RequestHead, Transport
from tests.addon.fakes import KEY, KEYS, FakeKeyRing, FakeRecording, FakeWriter

HEAD = RequestHead("POST", "https", "a.test", 443, "/v1/messages", "HTTP/1.1", ())
KEPT = Key("00000000000000cc", "kept", "", 24 * 3600, 0, KeyKind.KEPT)
LIMIT = 64 << 20


def writer_with(*keys: Key) -> FakeWriter:
    return FakeWriter({**KEYS, **{key.id.encode(): key for key in keys}})


@contextmanager
def running(writer: FakeWriter, limit: int = LIMIT) -> Iterator[Keeping]:
    """With a ring and a store; what raised is raised at the end."""
    failures: list[BaseException] = []
    found = Keeping(failures.append)
    found.configure(limit)
    found.opened(writer)
    try:
        yield found
    finally:
        found.close()
    assert [] == failures


def hold(found: Keeping, name: str, *chunks: bytes, end: bool = True, at: int = 1000) -> Held:
    """An exchange with that id."""
    assert found.ring is not None
    held = found.ring.hold(name, at, HEAD, "messages", None)
    for chunk in chunks:
        held.response_chunk(1, chunk)
    if end:
        held.end(2, Transport.COMPLETE)
    return held


def ask(name: str = "q", since_ms: int = 0, key: Key = KEPT) -> Ask:
    return Ask(name, key.id, since_ms)


async def answered(writer: FakeWriter, count: int = 1) -> None:
    """Until the clock has done it."""
    async with asyncio.timeout(30):
        while len(writer.answers) < count:
            await asyncio.sleep(0.005)


def bodies(writer: FakeWriter) -> dict[str, bytes]:
    return {recording.id: recording.response_body for recording in writer.recordings}


@pytest.mark.parametrize("limit", [0, LIMIT])
async def test_a_ring_only_where_it_is_asked_for(limit: int) -> None:
    """And only while there is a store, which alone knows ids; it is told whether asks are answered."""
    writer = writer_with()
    found = Keeping(lambda error: None)
    found.configure(limit)
    assert found.ring is None
    found.opened(writer)
    assert bool(limit) is (found.ring is not None) is writer.counters.has_ring
    found.close()
    assert found.ring is None
    assert not writer.counters.has_ring


async def test_an_ask_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks are looked for while there is a ring, and answered with how many records were begun."""
    monkeypatch.setattr(keeping, "POLL_S", 0.01)
    writer = writer_with(KEPT)
    with running(writer) as found:
        hold(found, "old", b"0", at=0)
        hold(found, "b", b"2")
        hold(found, "a", b"1")
        writer.asked = [ask(since_ms=500)]
        await answered(writer)
        assert [("q", 2)] == writer.answers
        assert {"a": b"1", "b": b"2"} == bodies(writer)
        assert all(recording.key is KEPT for recording in writer.recordings)
        assert [1000, 1000] == [recording.started_ms for recording in writer.recordings]
        assert ["a", "b"] == [recording.id for recording in writer.recordings]
        writer.asked = [ask("again", since_ms=500)]
        await answered(writer, 2)
        assert ("again", 0) == writer.answers[1]


async def test_counters() -> None:
    """What is held, told at each look; what is kept was seen and is recorded, no longer unmatched."""
    writer = writer_with(KEPT)
    counters = writer.counters
    with running(writer) as found:
        assert found.ring is not None
        hold(found, "a", b"1", at=700)
        found.ring.hold("b", 800, HEAD, None, None, counted=False)
        counters.seen = counters.unmatched = 1
        found.poll()
        assert (2, found.ring.bytes, 700) == (
            counters.ring_exchanges, counters.ring_bytes, counters.ring_since_ms,
        )  # fmt: skip
        writer.asked = [ask()]
        found.poll()
        assert found.step(0.0) is False
        found.poll()
        assert (0, 0, None) == (
            counters.ring_exchanges, counters.ring_bytes, counters.ring_since_ms,
        )  # fmt: skip
        # Turns of a socket are not counted, and so were not seen.
        assert (2, 2, 0) == (counters.seen, counters.recorded, counters.unmatched)


async def test_small_pieces() -> None:
    """However much is held, the loop is given back after so many calls; it is answered at the end."""
    writer = writer_with(KEPT)
    with running(writer) as found:
        hold(found, "a", *[b"x"] * (3 * STEP_CALLS))
        writer.asked = [ask()]
        found.poll()
        told = [0]
        while found.step(0.0):
            assert [] == writer.answers
            told.append(len(writer.only.times))
        assert 3 * STEP_CALLS + 1 == len(writer.only.times)
        assert all(0 < b - a <= STEP_CALLS for a, b in pairwise(told))
        assert [("q", 1)] == writer.answers


async def test_no_more_than_half_of_the_room() -> None:
    """The other half is live traffic's; without room it waits, and goes on when there is some."""
    writer = writer_with(KEPT)
    with running(writer) as found:
        hold(found, "a", *[bytes(1000)] * 10)
        writer.asked = [ask()]
        found.poll()
        writer.room = 8000
        assert found.step(0.0)
        assert 3 == len(writer.only.response_chunks)
        writer.room = 0
        assert found.step(1.0)
        assert 3 == len(writer.only.response_chunks)
        writer.room = 1 << 20
        assert found.step(PATIENCE_S) is False
        assert 10 == len(writer.only.response_chunks)
        assert [("q", 1)] == writer.answers


async def test_patience_ends() -> None:
    """A queue that stays full is told all the same: the recording counts what does not fit."""
    writer = writer_with(KEPT)
    writer.room = 0
    with running(writer) as found:
        hold(found, "a", b"1", b"2")
        writer.asked = [ask()]
        found.poll()
        assert found.step(0.0)
        assert found.step(PATIENCE_S - 1)
        assert [] == writer.recordings
        assert found.step(PATIENCE_S) is False
        assert {"a": b"12"} == bodies(writer)


async def test_in_flight_goes_on_into_its_record() -> None:
    """Begun in the ring, ended in the store; what came while it was told is in its place."""
    writer = writer_with(KEPT)
    with running(writer) as found:
        held = hold(found, "a", *[b"x"] * STEP_CALLS, end=False)
        writer.asked = [ask()]
        found.poll()
        assert found.step(0.0)
        held.response_chunk(3, b"y")
        assert found.step(0.0) is False
        assert [("q", 1)] == writer.answers
        held.response_chunk(4, b"z")
        assert [] == writer.only.ends
        held.end(5, Transport.CLIENT_CLOSED, "left")
        assert b"x" * STEP_CALLS + b"yz" == writer.only.response_body
        assert [(Transport.CLIENT_CLOSED, "left")] == writer.only.ends


async def test_the_key_of_an_ask_may_come_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process made it just now. One that does not come, or is off, keeps nothing."""
    monkeypatch.setattr(keeping, "KEY_POLLS", 3)
    writer = writer_with()
    with running(writer) as found:
        hold(found, "a", b"1")
        writer.asked = [ask("nobody's"), ask("off", key=KEYS[KEY])]
        writer.keys = FakeKeyRing({})
        found.poll()
        found.poll()
        assert found.step(0.0) is False
        assert [] == writer.answers
        found.poll()
        assert found.step(0.0) is False
        assert [("nobody's", 0), ("off", 0)] == writer.answers
        writer.asked = [ask("q")]
        found.poll()
        writer.keys = FakeKeyRing({b"kept": KEPT})
        found.poll()
        assert found.step(0.0) is False
        assert [("q", 1)] == writer.answers[2:]


async def test_changed_while_it_runs() -> None:
    """Smaller: what is too much goes. Off: all goes, and what was asked is answered. On again."""
    writer = writer_with(KEPT)
    with running(writer) as found:
        hold(found, "a", bytes(100_000))
        hold(found, "b", b"1")
        assert found.ring is not None
        found.configure(64 << 10)
        assert (1, 64 << 10) == (len(found.ring), found.ring.limit)
        live = hold(found, "c", b"1", end=False)
        writer.asked = [ask()]
        found.poll()
        found.configure(0)
        assert found.ring is None
        assert live.gone
        live.response_chunk(1, b"2")
        live.end(2, Transport.COMPLETE)
        assert [("q", 0)] == writer.answers
        assert not writer.counters.has_ring
        found.configure(LIMIT)
        assert found.ring is not None
        assert 0 == len(found.ring)


async def test_the_proxy_stops_while_keeping() -> None:
    """What had been asked for is told before the store is closed, with or without room."""
    writer = writer_with(KEPT)
    writer.room = 0
    failures: list[BaseException] = []
    found = Keeping(failures.append)
    found.configure(LIMIT)
    found.opened(writer)
    hold(found, "a", *[b"x"] * (2 * STEP_CALLS))
    hold(found, "b", b"1")
    writer.asked = [ask()]
    found.poll()
    found.close()
    assert {"a": b"x" * (2 * STEP_CALLS), "b": b"1"} == bodies(writer)
    assert [("q", 2)] == writer.answers
    assert [] == failures


async def test_what_raises_ends_that_record_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is cut and says so, the others are kept, and the ask is answered."""
    monkeypatch.setattr(keeping, "POLL_S", 0.01)
    plain = FakeRecording.response_chunk

    def broken(self: FakeRecording, at_ms: int, data: bytes) -> None:
        if data == b"break":
            raise OSError("the fake store is broken")
        plain(self, at_ms, data)

    monkeypatch.setattr(FakeRecording, "response_chunk", broken)
    writer = writer_with(KEPT)
    failures: list[BaseException] = []
    found = Keeping(failures.append)
    found.configure(LIMIT)
    found.opened(writer)
    hold(found, "a", b"1", b"break", b"3")
    hold(found, "b", b"1")
    writer.asked = [ask()]
    await answered(writer)
    found.close()
    assert ["the fake store is broken"] == [str(error) for error in failures]
    first, second = writer.recordings
    assert b"1" == first.response_body
    assert [Transport.RECORDER_FAILED] == [transport for transport, _ in first.ends]
    assert (b"1", [(Transport.COMPLETE, None)]) == (second.response_body, second.ends)
    assert [("q", 2)] == writer.answers


async def test_a_store_that_begins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out, told and counted; it stays unmatched, and the answer is of what was begun."""
    monkeypatch.setattr(keeping, "POLL_S", 0.01)
    writer = writer_with(KEPT)
    writer.broken = "begin"
    writer.counters.unmatched = 2
    failures: list[BaseException] = []
    found = Keeping(failures.append)
    found.configure(LIMIT)
    found.opened(writer)
    hold(found, "a", b"1")
    hold(found, "b", b"1")
    writer.asked = [ask()]
    await answered(writer)
    assert 2 == len(failures)
    assert [("q", 0)] == writer.answers
    assert 2 == writer.counters.unmatched
    assert found.ring is not None
    assert 0 == len(found.ring)
    found.close()
