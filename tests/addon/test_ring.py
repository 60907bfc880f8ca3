"""What the ring holds, what goes first, and that what is kept is told as it was."""

import gc
import os
import tracemalloc
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.ring import CALL_BYTES, EXCHANGE_BYTES, OVERRUN, Held, Ring
from store.record import RequestHead, ResponseHead, Transport
from tests.addon.fakes import KEYS, FakeRecording

HEAD = RequestHead("POST", "https", "a.test", 443, "", "HTTP/1.1", ())
ANSWER = ResponseHead(200, "", "HTTP/1.1", ())
(KEY, *_) = KEYS.values()
ROOMY = 1 << 40


@dataclass
class Story:
    """A ring, and exchanges in it by their names, which are their ids."""

    ring: Ring
    held: dict[str, Held] = field(default_factory=dict)

    def begin(self, name: str, at: int = 0, fingerprint: str | None = None) -> Held:
        self.held[name] = self.ring.hold(name, at, HEAD, "messages", fingerprint)
        return self.held[name]

    def whole(self, name: str, at: int = 0, body: bytes = b"", took: int = 1) -> Held:
        held = self.begin(name, at)
        if body:
            held.response_chunk(0, body)
        held.end(took, Transport.COMPLETE)
        return held

    @property
    def there(self) -> str:
        """The names of what is still held."""
        return "".join(name for name, held in self.held.items() if not held.gone)


def kept(held: Held) -> FakeRecording:
    """Tell all of it to a new recording."""
    recording = FakeRecording(held.id, KEY, held.request, held.protocol)
    held.keep(recording)
    while not held.gone:
        held.tell_next()
    return recording


ONE = EXCHANGE_BYTES + CALL_BYTES
"""An exchange without a body that has ended."""


@pytest.mark.parametrize(
    ("limit", "steps", "there"),
    [
        (3 * ONE, "+a -a +b -b +c -c", "abc"),
        (3 * ONE, "+a -a +b -b +c -c +d -d", "bcd"),
        (3 * ONE, "+a +b -b +c -c +d -d", "acd"),
        (3 * ONE, "+a +b -b -a +c -c +d -d", "acd"),
        (3 * ONE, "+a +b +c +d", "bcd"),
        (3 * ONE, "+a +b -b +c +d", "acd"),
        (3 * ONE, "+a +b +c +d +e", "cde"),
        (ONE - 1, "+a -a", ""),
        (ONE, "+a -a", "a"),
        (EXCHANGE_BYTES - 1, "+a -a", ""),
        (3 * ONE, "+a +b ?a +c +d -d +e -e", "ace"),
        (2 * ONE, "+a +b ?a ?b +c -c +d -d", "ab"),
    ],
)
def test_what_goes_first(limit: int, steps: str, there: str) -> None:
    """`+` begins, `-` ends, `?` is wanted: the ended go in the order of their ends, then those in
    flight in the order of their begins; one that is wanted goes last."""
    story = Story(Ring(limit))
    for step in steps.split():
        name = step[1]
        if step[0] == "+":
            story.begin(name, fingerprint=name)
        elif step[0] == "-":
            story.held[name].end(1, Transport.COMPLETE)
        else:
            assert [name] == [held.id for held in story.ring.want(0, name)]
    assert there == story.there
    assert len(there) == len(story.ring)
    assert story.ring.bytes <= limit


def test_a_large_chunk_pushes_out_as_many_as_it_takes() -> None:
    """And its own exchange, if that alone is too large; the rest of it is not held either."""
    story = Story(Ring(10 * ONE))
    for name in "abcd":
        story.whole(name)
    live = story.begin("e")
    live.response_chunk(0, bytes(8 * ONE))
    assert "de" == story.there
    live.response_chunk(0, bytes(8 * ONE))
    assert "" == story.there
    assert 0 == story.ring.bytes == len(story.ring)
    live.response_chunk(0, b"more")
    live.end(9, Transport.COMPLETE)
    assert [] == story.ring.want(0)
    assert 0 == story.ring.bytes


def test_what_went_is_kept_by_nobody() -> None:
    """Not even its prefix."""
    story = Story(Ring(ONE))
    live = story.begin("a")
    live.response_chunk(0, b"prefix")
    story.begin("b")
    assert [] == [held.id for held in story.ring.want(0) if held.id == "a"]
    assert live.gone


@pytest.mark.parametrize(
    ("since_ms", "fingerprint", "expected"),
    [
        (0, None, "abcd"),
        (1010, None, "abcd"),
        (1011, None, "bcd"),
        (1500, None, "bcd"),
        (3000, None, "d"),
        (9000, None, "d"),
        (0, "x", "ac"),
        (1011, "x", "c"),
        (0, "nobody", ""),
    ],
)
def test_what_is_wanted(since_ms: int, fingerprint: str | None, expected: str) -> None:
    """What had not ended before then, of that credential; what is in flight has not. By id."""
    story = Story(Ring(ROOMY))
    # b begins after a and lasts longer; d is in flight; d began first of all.
    story.begin("d", 500, "y")
    story.begin("a", 1000, "x").end(10, Transport.COMPLETE)
    story.begin("c", 1200, "x")
    story.begin("b", 1100, "y").end(500, Transport.COMPLETE)
    story.held["c"].end(1000, Transport.COMPLETE)
    assert expected == "".join(held.id for held in story.ring.want(since_ms, fingerprint))
    assert "" == "".join(held.id for held in story.ring.want(since_ms, fingerprint)), "once each"


def test_told_as_it_was() -> None:
    """Every call with its own time, and the end with all it said; then nothing is held."""
    story = Story(Ring(ROOMY))
    held = story.begin("a", 1000)
    held.request_chunk(1, b"re")
    held.request_chunk(2, b"q")
    held.request_end(3)
    held.response_head(4, ANSWER)
    held.response_chunk(5, b"resp")
    held.end(6, Transport.CLIENT_CLOSED, "left")
    held.end(7, Transport.COMPLETE)
    held.response_chunk(8, b"late")
    (wanted,) = story.ring.want(0)
    recording = kept(wanted)
    assert ([b"re", b"q"], [b"resp"]) == (recording.request_chunks, recording.response_chunks)
    assert (True, ANSWER) == (recording.request_ended, recording.head)
    assert [1, 2, 3, 4, 5, 6] == recording.times
    assert [(Transport.CLIENT_CLOSED, "left")] == recording.ends
    assert 0 == story.ring.bytes == len(story.ring)


def test_in_flight_goes_on_into_its_record() -> None:
    """What comes while it is told waits for its turn; what comes after goes straight on."""
    story = Story(Ring(ROOMY))
    held = story.begin("a")
    held.response_chunk(1, b"1")
    story.ring.want(0)
    recording = FakeRecording("a", KEY, HEAD, None)
    held.keep(recording)
    held.response_chunk(2, b"2")
    held.tell_next()
    held.response_chunk(3, b"3")
    assert [b"1"] == recording.response_chunks
    held.tell_next()
    assert not held.gone
    held.tell_next()
    assert held.gone
    held.response_chunk(4, b"4")
    held.end(5, Transport.COMPLETE)
    held.response_chunk(6, b"no")
    assert [b"1", b"2", b"3", b"4"] == recording.response_chunks
    assert [(Transport.COMPLETE, None)] == recording.ends
    assert 0 == story.ring.bytes


def test_let_go_in_the_middle_of_being_kept() -> None:
    """The record ends with its prefix and says so; it is not told as if it were whole."""
    story = Story(Ring(3 * ONE))
    held = story.begin("a")
    held.response_chunk(1, b"1")
    held.response_chunk(2, b"2")
    story.ring.want(0)
    recording = FakeRecording("a", KEY, HEAD, None)
    held.keep(recording)
    held.tell_next()
    held.response_chunk(3, bytes(3 * ONE))
    assert held.gone
    held.response_chunk(4, b"4")
    held.end(5, Transport.COMPLETE)
    assert [b"1"] == recording.response_chunks
    assert [(Transport.RECORDER_FAILED, OVERRUN)] == recording.ends
    assert [1, 1] == recording.times
    assert 0 == story.ring.bytes == len(story.ring)


def test_a_lower_limit_counts_at_once() -> None:
    """As of an option that was changed."""
    story = Story(Ring(ROOMY))
    for name in "abcd":
        story.whole(name)
    story.ring.limit = 2 * ONE
    assert "cd" == story.there


def test_since_when() -> None:
    """The begin of the oldest that is held, in flight or not."""
    story = Story(Ring(3 * ONE))
    assert story.ring.since_ms is None
    for at, name in enumerate("abc", 100):
        story.whole(name, at)
    assert 100 == story.ring.since_ms
    story.whole("d", 103)
    assert 101 == story.ring.since_ms
    story.ring.clear()
    assert story.ring.since_ms is None
    assert (0, 0) == (len(story.ring), story.ring.bytes)


@pytest.mark.parametrize(
    ("exchanges", "chunks", "size", "fields"),
    [(2000, 0, 0, 10), (300, 100, 10, 5), (200, 300, 120, 15), (50, 2, 50_000, 12)],
)
def test_the_estimate_is_fair(exchanges: int, chunks: int, size: int, fields: int) -> None:
    """What it says it costs is what it costs, within a third: the bound is one of memory."""

    def headers() -> tuple[tuple[bytes, bytes], ...]:
        return tuple((b"x-%d" % n + os.urandom(4), os.urandom(20)) for n in range(fields))

    def fill() -> Ring:
        ring = Ring(ROOMY)
        for n in range(exchanges):
            head = RequestHead("POST", "https", f"{n}.test", 443, f"/{n}", "HTTP/1.1", headers())
            held = ring.hold(f"01{n:024}", 10**12 + n, head, "messages", f"sk-ant-t…{n}")
            held.request_chunk(1000 + n, os.urandom(size))
            held.response_head(3000 + n, ResponseHead(200, f"OK {n}", "HTTP/1.1", headers()))
            for at in range(chunks):
                held.response_chunk(5000 + at * 7, os.urandom(size))
            held.end(90_000 + n, Transport.COMPLETE)
        return ring

    gc.collect()
    tracemalloc.start()
    try:
        ring = fill()
        gc.collect()
        cost, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cost * 2 / 3 < ring.bytes < cost * 4 / 3


# -- anything, in any order ------------------------------------------------------------------------

_steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "chunk", "end", "want", "tell", "limit"]),
        st.integers(0, 5),
        st.integers(0, 4000),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps=_steps)
def test_any_life(steps: list[tuple[str, int, int]]) -> None:
    """Whatever comes in whatever order: the bound holds, the sum is right, and every record that
    ended as whole has every byte that passed."""
    ring = Ring(4 * ONE)
    exchanges: list[tuple[Held, list[bytes]]] = []
    recordings: list[tuple[int, FakeRecording]] = []

    for what, number, size in steps:
        match what:
            case "begin":
                held = ring.hold(f"{len(exchanges):03}", 0, HEAD, None, None)
                exchanges.append((held, []))
            case "chunk" if exchanges:
                held, passed = exchanges[number % len(exchanges)]
                data = bytes([number]) * (size + 1)
                if not held.ended:
                    passed.append(data)
                held.response_chunk(0, data)
            case "end" if exchanges:
                exchanges[number % len(exchanges)][0].end(1, Transport.COMPLETE)
            case "limit":
                ring.limit = size * 4
            case "want":
                for held in ring.want(0):
                    recording = FakeRecording(held.id, KEY, HEAD, None)
                    held.keep(recording)
                    recordings.append((int(held.id), recording))
            case "tell":
                for held, _ in exchanges[: number + 1]:
                    if held.recording is not None and not held.gone:
                        held.tell_next()
        assert ring.bytes <= ring.limit
        assert (ring.bytes == 0) is (len(ring) == 0)
        assert len(ring) == sum(not held.gone for held, _ in exchanges)
        assert ring.bytes == sum(held.size for held, _ in exchanges if not held.gone)
    for at, recording in recordings:
        sent = b"".join(exchanges[at][1])
        assert sent.startswith(recording.response_body)
        assert len(recording.ends) <= 1
        if recording.ends == [(Transport.COMPLETE, None)]:
            assert sent == recording.response_body
    assert len({at for at, _ in recordings}) == len(recordings), "kept twice"
