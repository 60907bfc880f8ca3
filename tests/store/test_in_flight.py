"""Exchanges in flight: what the disk refuses ends a body, and is counted whatever comes after."""

import errno
import os
from pathlib import Path

import pytest

from store.frames import Kind
from store.handover import Handover, LocalRecording
from store.in_flight import Exchange, InFlight
from store.parts import PartFiles, read_part
from store.record import Ending, Transport
from tests.store.builders import WIRE, request_head, response_head

ID = "01JX4000000000000000000000"


class Side:
    """Both sides of one exchange."""

    def __init__(self, folder: Path) -> None:
        self.handover = Handover()
        self.parts = PartFiles(folder)
        self.in_flight = InFlight(self.parts)
        self.recording = LocalRecording(self.handover, ID, "k", 5, request_head(), "messages")

    def drain(self) -> list[Exchange]:
        return self.in_flight.take(self.handover.take())

    def dirty(self) -> Exchange:
        (exchange,) = self.in_flight.take_dirty()
        return exchange

    def response(self, exchange: Exchange) -> bytes:
        return b"".join(data for _, data in self.in_flight.chunks(exchange, Kind.RESPONSE))


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path)


def test_chunks_are_those_of_the_part_and_then_those_in_memory(side: Side) -> None:
    side.recording.response_chunk(1, b"one")
    side.drain()
    exchange = side.dirty()
    side.in_flight.write_part(exchange)
    side.recording.response_chunk(2, b"two")
    side.drain()

    chunks = side.in_flight.chunks(exchange, Kind.RESPONSE)
    for _ in range(2):
        assert [(1, b"one"), (2, b"two")] == list(chunks)
    assert 3 == exchange.waiting_bytes
    side.in_flight.close()


def test_what_was_queued_behind_a_refusal_makes_no_hole(side: Side) -> None:
    side.recording.response_chunk(1, b"one")
    side.drain()
    exchange = side.dirty()
    side.in_flight.write_part(exchange)
    side.recording.response_chunk(2, b"refused")
    side.drain()
    side.recording.response_chunk(3, b"queued")
    side.in_flight.give_up(side.dirty())
    side.recording.response_chunk(4, b"later")
    side.recording.end(5, Transport.COMPLETE)
    (ended,) = side.drain()

    assert exchange is ended
    assert b"one" == side.response(exchange)
    assert len(b"refused" + b"queued" + b"later") == exchange.lost_bytes
    side.in_flight.close()


def test_a_parked_end_says_what_was_lost(side: Side, tmp_path: Path) -> None:
    side.recording.response_head(1, response_head())
    side.recording.response_chunk(1, b"refused")
    side.drain()
    exchange = side.dirty()
    side.in_flight.give_up(exchange)
    side.recording.end(5, Transport.CLIENT_CLOSED, "gone", WIRE)
    side.drain()
    for _ in range(2):
        side.in_flight.park(exchange)
    side.in_flight.close()
    reading = read_part(tmp_path / f"{ID}.part")

    assert Ending(5, Transport.CLIENT_CLOSED, "gone", WIRE) == reading.end
    assert 7 == reading.lost_bytes
    assert response_head() == reading.response


def test_a_refused_end_is_parked_again(
    side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    side.recording.response_chunk(1, b"kept")
    side.recording.end(5, Transport.COMPLETE)
    (exchange,) = side.drain()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                side.in_flight.park(exchange)
    side.in_flight.park(exchange)
    side.in_flight.close()
    reading = read_part(tmp_path / f"{ID}.part")

    assert (Ending(5, Transport.COMPLETE), 4) == (reading.end, reading.response_bytes)


def test_a_dropped_exchange_hears_no_more(side: Side, tmp_path: Path) -> None:
    side.recording.response_chunk(1, b"one")
    side.drain()
    exchange = side.dirty()
    side.in_flight.write_part(exchange)
    side.recording.response_chunk(2, b"late")
    side.recording.end(3, Transport.COMPLETE)
    side.in_flight.drop(exchange)

    assert [] == side.drain()
    assert [] == side.in_flight.take_dirty()
    side.in_flight.put_back(exchange)
    assert [] == side.in_flight.take_dirty()
    assert [] == list(tmp_path.iterdir())
    assert side.recording.ended
