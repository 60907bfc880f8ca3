"""The queue between the proxy's loop and the writer: bounded, and nothing waits in it."""

import threading

import pytest

from store.handover import CALL_BYTES, Call, Handover, LocalRecording
from store.record import Transport
from tests.store.builders import request_head, response_head

ID = "01JX4000000000000000000000"


def recording(handover: Handover) -> LocalRecording:
    return LocalRecording(handover, ID, "k", 0, request_head(), None)


def calls(handover: Handover) -> list[Call]:
    return [call for call, _, _, _ in handover.take()]


def test_calls_arrive_in_their_order() -> None:
    handover = Handover()
    one = recording(handover)
    one.request_chunk(0, b"a")
    one.request_end(1)
    one.response_head(2, response_head())
    one.response_chunk(3, b"b")
    one.end(4, Transport.COMPLETE)

    assert list(Call) == calls(handover)
    assert [] == handover.take()


def test_the_first_end_counts_and_nothing_comes_after_it() -> None:
    handover = Handover()
    one = recording(handover)
    one.end(1, Transport.CLIENT_CLOSED, "gone")
    one.end(2, Transport.COMPLETE)
    one.request_chunk(3, b"x")
    one.response_chunk(3, b"x")
    one.request_end(3)
    one.response_head(3, response_head())

    assert [Call.BEGIN, Call.END] == calls(handover)
    assert 0 == one.lost


@pytest.mark.check(17)
def test_what_does_not_fit_is_counted_and_never_leaves_a_hole() -> None:
    handover = Handover(limit=12 * CALL_BYTES)
    one, two = recording(handover), recording(handover)
    one.response_chunk(0, b"x" * 1000)
    one.response_chunk(1, b"y" * 1000)
    one.response_chunk(2, b"z")
    two.response_chunk(2, b"z")
    one.end(3, Transport.COMPLETE)

    assert (1001, 0) == (one.lost, two.lost)
    assert [Call.BEGIN, Call.BEGIN, Call.RESPONSE, Call.RESPONSE, Call.END] == calls(handover)
    handover.taken(5 * CALL_BYTES + 1001)
    assert handover.has_room(1000)
    one.ended = False
    one.response_chunk(4, b"x")
    assert [] == handover.take()


def test_empty_chunks_are_bounded_too() -> None:
    handover = Handover(limit=100 * CALL_BYTES)
    one = recording(handover)
    for _ in range(1_000):
        one.response_chunk(0, b"")

    assert len(handover) <= 101


def test_what_the_thread_still_keeps_in_memory_takes_room() -> None:
    handover = Handover(limit=1000)

    assert handover.has_room(900)
    handover.kept = 500
    assert not handover.has_room(900)


def test_a_wait_ends_when_something_arrives_or_somebody_says_so() -> None:
    handover = Handover()

    assert not handover.wait(0)
    for wake in (lambda: recording(handover), handover.wake):
        thread = threading.Thread(target=wake)
        thread.start()
        assert handover.wait(20)
        thread.join()
