"""Deltas: the same bytes come back, small where history is sent again, and nothing false is ever shown."""

import random
from itertools import chain, zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.delta import (
    DEPTH,
    SMALLEST,
    Base,
    Bases,
    Relocation,
    body_of,
    choose,
    delta,
    likeness,
    pack_body,
    undelta,
)
from store.frames import (
    BODY_FRAME,
    Codec,
    Frame,
    FrameError,
    Kind,
    frame_at,
    pack,
    pack_stored,
    unbroken,
)
from tests.store.agentic import session

ID = bytes(range(16))
CHANCE = random.Random(1)  # noqa: S311 - the same each time


def noise(size: int) -> bytes:
    return CHANCE.randbytes(size)


def packed(bodies: list[bytes], bases: Bases | None = None) -> tuple[bytes, list[Frame]]:
    """A file of these bodies, and its frames."""
    bases = Bases() if bases is None else bases
    file = b""
    for body in bodies:
        file += pack_body(ID, body, "s", len(file), bases)
    frames = list(unbroken(file))
    assert len(bodies) == len(frames)
    return file, frames


def depth(file: bytes, frame: Frame) -> int:
    """How many bodies are decoded before this one."""
    steps = 0
    while frame.codec == Codec.DELTA:
        base = frame_at(file, frame.aux)
        assert base is not None
        frame, steps = base, steps + 1
    return steps


def turns(count: int, size: int = 6_000, step: int = 300) -> list[bytes]:
    """Bodies that each hold the one before."""
    whole = noise(size + count * step)
    return [whole[: size + number * step] for number in range(count)]


@pytest.mark.parametrize("sessions", [1, 3], ids=["one session", "three interleaved"])
def test_agents_are_stored_twenty_times_smaller(sessions: int) -> None:
    of_each = [list(session(seed, 20, 60_000, 300_000, 30_000)) for seed in range(sessions)]
    bodies = [body for turn in zip_longest(*of_each) for body in turn]
    file, frames = packed(bodies)
    assert bodies == [body_of(file, frame) for frame in frames]
    assert sum(map(len, bodies)) > 20 * len(file)
    assert {1, 2} == {frame.codec for frame in frames}


def test_chains_are_no_longer_than_their_bound() -> None:
    bodies = turns(3 * DEPTH)
    file, frames = packed(bodies)
    depths = [depth(file, frame) for frame in frames]
    assert max(depths) == DEPTH
    # The chain is full: its next goes to its first body, which is whole.
    assert depths[: DEPTH + 2] == [*range(DEPTH + 1), 1]
    assert bodies == [body_of(file, frame) for frame in frames]


def test_a_full_chain_begins_anew_where_too_much_is_new() -> None:
    bodies = turns(DEPTH + 2, size=3_000, step=1_000)
    file, frames = packed(bodies)
    assert frames[DEPTH].codec == Codec.DELTA
    assert frames[DEPTH + 1].codec != Codec.DELTA
    assert bodies == [body_of(file, frame) for frame in frames]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "an empty one"),
        (noise(SMALLEST - 1), "a small one"),
        (noise(SMALLEST), "one like no other"),
        (noise(BODY_FRAME + 1)[:10] * 3, "ten bytes, thrice"),
    ],
)
def test_what_gains_nothing_is_stored_whole(body: bytes, why: str) -> None:
    file, frames = packed([noise(9_000), body])
    assert frames[1].codec in (Codec.RAW, Codec.ZSTD), why
    assert body_of(file, frames[1]) == body


def test_the_same_body_again_costs_next_to_nothing() -> None:
    body = noise(100_000)
    file, frames = packed([body, body])
    assert len(frames[1].payload) < 100
    assert body_of(file, frames[1]) == body


def test_the_turn_before_is_found_among_other_sessions() -> None:
    first, second = (list(session(seed, 3, 40_000, 60_000, 30_000)) for seed in (1, 2))
    bases = [Base(body, number, 0, 1) for number, body in enumerate([first[1], second[1]])]
    for order in (bases, bases[::-1]):
        assert choose(first[2], order) == bases[0]
        assert choose(second[2], order) == bases[1]
    assert choose(noise(40_000), bases) is None


def test_the_longer_of_two_alike_is_the_base() -> None:
    """Of one session's turns the last, though what changes with each hides some of its windows."""
    agent = turns(3, size=4_000, step=3_000)
    hidden = bytearray(agent[1])
    for at in (1, 3, 5):
        middle = at * len(hidden) // 16
        hidden[middle : middle + 64] = noise(64)
    bases = [Base(agent[0], 0, 0, 1), Base(bytes(hidden), 1, 0, 1)]
    assert (8, 5) == tuple(likeness(agent[2], base.body) for base in bases)
    assert choose(agent[2], bases[::-1]) == bases[1]


def test_likeness_counts_windows() -> None:
    base = noise(8_000)
    rows = {
        "all": (base, 8),
        "moved": (b"x" * 77 + base, 8),
        "first half": (base[:4_000], 4),
        # Only the second half of the windows is there: the search is given up before.
        "second half": (base[4_600:], 0),
        "none": (noise(8_000), 0),
    }
    assert {name: found for name, (_, found) in rows.items()} == {
        name: likeness(body, base) for name, (body, _) in rows.items()
    }


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    bases = Bases(memory=100_000)
    agent = turns(12, size=20_000, step=500)
    file = b""
    for body in chain.from_iterable(zip(agent, (noise(15_000) for _ in agent), strict=True)):
        file += pack_body(ID, body, "s", len(file), bases)
        held = [base.body for base in bases.latest("s")]
        assert sum(map(len, held)) <= 100_000
    frames = list(unbroken(file))
    assert [Codec.DELTA] * 11 == [frame.codec for frame in frames[2::2]]
    bases.forget("s")
    assert bases.latest("s") == []
    bases.add("s", Base(bytes(100_001), 0, 0, 1))
    assert bases.latest("s") == []


def test_segments_share_no_bases() -> None:
    bases = Bases()
    body = noise(10_000)
    pack_body(ID, body, "one", 0, bases)
    frame = frame_at(pack_body(ID, body, "other", 0, bases), 0)
    assert frame is not None
    assert frame.codec != Codec.DELTA


@pytest.mark.check(47)
def test_a_damaged_base_shows_no_wrong_byte() -> None:
    bodies = turns(4)
    file, frames = packed(bodies)
    damaged = bytearray(file)
    damaged[frames[1].offset + 60] ^= 1
    buffer = bytes(damaged)
    assert body_of(buffer, frames[0]) == bodies[0]
    for frame in frames[2:]:
        with pytest.raises(FrameError, match="is damaged"):
            body_of(buffer, frame)


def lying(payload: bytes, aux: int, length: int) -> bytes:
    return pack_stored(Kind.REQUEST, ID, payload, Codec.DELTA, length, aux)


BODY = noise(5_000)
WHOLE = pack(Kind.REQUEST, ID, BODY)
GOOD = delta(BODY + b"more", BODY)
HUGE = b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00"
"""A zstd frame whose header promises 2^60 bytes."""


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (lying(GOOD, len(WHOLE), 5_004), "base at byte"),
        (lying(GOOD, 1 << 60, 5_004), "base at byte"),
        (lying(GOOD, 7, 5_004), "base at byte"),
        (lying(GOOD, 0, 5_003), "holds 5004 bytes"),
        (lying(GOOD, 0, 5_005), "holds 5004 bytes"),
        (lying(GOOD, 0, (1 << 32) - 1), "claims"),
        (lying(GOOD + b"x", 0, 5_004), "decompress"),
        (lying(GOOD[:-3], 0, 5_004), "decompress"),
        (lying(HUGE, 0, 5_004), "holds 1152921504606846976 bytes"),
        (lying(b"no zstd", 0, 5_004), "decompress"),
    ],
)
def test_lies_are_refused(frame: bytes, says: str) -> None:
    file = WHOLE + frame
    lie = frame_at(file, len(WHOLE))
    assert lie is not None
    with pytest.raises(FrameError, match=says):
        body_of(file, lie)


def test_a_chain_beyond_the_bound_is_refused() -> None:
    file = WHOLE
    at = 0
    for _ in range(DEPTH + 1):
        at, file = len(file), file + lying(delta(BODY, BODY), at, len(BODY))
    frames = list(unbroken(file))
    assert body_of(file, frames[DEPTH]) == BODY
    with pytest.raises(FrameError, match="more than"):
        body_of(file, frames[DEPTH + 1])


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 3_000))
def test_any_body_is_a_delta_to_any_other(body: bytes, base: bytes, more: int) -> None:
    body += base[:more]
    assert undelta(delta(body, base), base, len(body)) == body


@given(st.data())
def test_relocation_keeps_every_body_that_follows(data: st.DataObject) -> None:
    """Whichever records stay behind."""
    bodies = [*turns(6, size=2_500, step=100), noise(50)]
    file, frames = packed(bodies)
    follow = data.draw(st.lists(st.booleans(), min_size=7, max_size=7))
    relocation = Relocation(file)
    new = b"head of the new file"
    kept = []
    for frame, body, follows in zip(frames, bodies, follow, strict=True):
        if follows:
            kept.append((len(new), body))
            new += relocation.frame(frame, len(new))
    for at, body in kept:
        moved = frame_at(new, at)
        assert moved is not None
        assert body_of(new, moved) == body


def test_relocation_makes_whole_what_lost_its_base_and_nothing_else() -> None:
    file, frames = packed(turns(4))
    relocation = Relocation(file)
    new = b""
    for frame in frames[1:]:
        new += relocation.frame(frame, len(new))
    codecs = [frame.codec for frame in unbroken(new)]
    assert codecs[0] in (Codec.RAW, Codec.ZSTD)
    assert codecs[1:] == [Codec.DELTA] * 2
