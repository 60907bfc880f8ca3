"""What goes in comes out and is kept, however it is cut and whatever breaks."""

from collections.abc import Iterable
from hashlib import sha256
from time import monotonic_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.tap import Chunks, Tap, after, before
from store.record import Passed

SECOND = 1_000_000_000


def sent(stream_returned: Chunks) -> list[bytes]:
    """What mitmproxy writes for a returned value (proxy/layers/http, state_stream_*_body)."""
    if isinstance(stream_returned, bytes):
        return [stream_returned]
    return list(stream_returned)


class Kept:
    """Where a tap puts its copies."""

    def __init__(self) -> None:
        self.chunks: list[tuple[int, bytes]] = []
        self.errors: list[BaseException] = []

    def tap(self, started_ns: int | None = None) -> Tap:
        return Tap(
            lambda at_ms, data: self.chunks.append((at_ms, data)),
            monotonic_ns() if started_ns is None else started_ns,
            self.errors.append,
        )

    @property
    def data(self) -> list[bytes]:
        return [data for _, data in self.chunks]


@pytest.mark.check(12, 16, 45)
@given(st.lists(st.binary(max_size=50)))
def test_in_is_out_is_kept(chunks: list[bytes]) -> None:
    """Every split of the bytes, with empty chunks in between: same chunks out, same kept."""
    kept = Kept()
    tap = kept.tap()
    out = [piece for chunk in [*chunks, b""] for piece in sent(tap(chunk))]
    assert [chunk for chunk in chunks if chunk] == out == kept.data
    assert bool(out) is tap.seen
    assert [] == kept.errors
    body = b"".join(chunks)
    assert Passed(len(body), sha256(body).hexdigest()) == tap.meter.passed()


@pytest.mark.check(12)
def test_the_very_object() -> None:
    """No copy is made: a chunk costs a reference."""
    kept = Kept()
    data = b"data: 1\n\n"
    assert kept.tap()(data) is data
    assert kept.data[0] is data


@pytest.mark.check(45)
def test_never_an_empty_chunk() -> None:
    """`b""` in mid-stream would end a chunked body at its receiver."""
    assert [] == sent(Kept().tap()(b""))


@pytest.mark.check(45)
@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc")])
def test_always_bytes(data: bytes) -> None:
    """mitmproxy iterates what is not `bytes`: three ints instead of one chunk."""
    kept = Kept()
    out = kept.tap()(data)
    assert isinstance(out, bytes)
    assert b"abc" == out
    assert [b"abc"] == kept.data


@pytest.mark.check(43, 45)
def test_a_broken_store_costs_no_byte() -> None:
    """What keeping raises is told, not raised; the chunks go on, and no later one is kept: what
    is there is a prefix."""
    errors: list[BaseException] = []
    kept: list[bytes] = []

    def broken_at_b(_at_ms: int, data: bytes) -> None:
        if data == b"b":
            raise OSError("disk")
        kept.append(data)

    tap = Tap(broken_at_b, monotonic_ns(), errors.append)
    assert [b"a", b"b", b"c"] == [tap(b"a"), tap(b"b"), tap(b"c")]
    assert [b"a"] == kept
    assert ["disk"] == [str(error) for error in errors]
    # What passed is known all the same.
    assert Passed(3, sha256(b"abc").hexdigest()) == tap.meter.passed()


@pytest.mark.check(45)
def test_a_broken_complaint_costs_no_byte() -> None:
    """Even where telling fails too."""

    def broken(*_: object) -> None:
        raise RuntimeError

    assert b"a" == Tap(broken, monotonic_ns(), broken)(b"a")


@pytest.mark.check(45)
def test_a_hash_that_fails_costs_no_byte_and_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known then what passed; what is kept is whole."""

    class Broken:
        def __init__(self, **_: object) -> None: ...

        def update(self, data: bytes) -> None:
            raise MemoryError

    monkeypatch.setattr("addon.meter.sha256", Broken)
    kept = Kept()
    tap = kept.tap()
    assert [b"a", b"b"] == [tap(b"a"), tap(b"b")] == kept.data
    assert [] == kept.errors
    assert tap.meter.passed() is None


@pytest.mark.check(19, 20)
def test_the_capture_site_says_why() -> None:
    """Nobody shall "fix" the missing redaction: the reason stands where the hand would go."""
    assert Tap.__doc__ is not None
    assert "verbatim" in Tap.__doc__
    assert "Do not decode, parse, redact" in Tap.__doc__


def test_at_ms_counts_from_the_begin() -> None:
    """Milliseconds since the exchange began, whole, rounded down."""
    kept = Kept()
    tap = kept.tap(monotonic_ns() - 2 * SECOND)
    tap(b"x")
    assert 2000 <= kept.chunks[0][0] < 60_000
    assert kept.chunks[0][0] == tap.last_ms


def test_before_keeps_what_the_client_sent() -> None:
    """Another addon changes the request on its way: we keep the original, it sends its own."""
    kept = Kept()
    stream = before(kept.tap(), lambda data: data.upper())
    assert b"ABC" == stream(b"abc")
    assert [b"abc"] == kept.data


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (b"xyz", [b"xyz"]),
        ([b"x", b"", b"y"], [b"x", b"y"]),
        ((piece for piece in (b"x", b"y")), [b"x", b"y"]),
        ([], []),
        (b"", []),
    ],
)
def test_after_keeps_what_the_client_gets(
    returned: bytes | Iterable[bytes], expected: list[bytes]
) -> None:
    """Another addon changes the response: what it sends is what is kept."""
    kept = Kept()
    assert expected == sent(after(lambda _: returned, kept.tap())(b"abc"))
    assert expected == kept.data
