"""What goes for the size cap: the oldest over all keys, enough of them, whole segments where that costs little."""

from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.cap import Choice, Stored, choose, target

MANY = 1_000_000


def chosen(
    records: list[Stored],
    need: int,
    slack: int = 0,
    most: int = MANY,
    others: dict[str, int] | None = None,
) -> Choice | None:
    """`others`: what else there is in segments, later than all of these."""
    sizes: defaultdict[str, int] = defaultdict(int, others or {})
    for each in records:
        sizes[each.segment] += each.size
    return choose(sorted(records), sizes.__getitem__, need, slack, most)


@pytest.mark.parametrize(("cap", "expected"), [(0, 0), (1, 0), (100, 95), (10**13, 95 * 10**11)])
def test_some_room_is_made_at_once(cap: int, expected: int) -> None:
    assert expected == target(cap)


# Ten bytes a record: one segment with records at 1 to 4, another with those at 3 to 6.
A = [Stored(at, 10, "a") for at in (1, 2, 3, 4)]
B = [Stored(at, 10, "b") for at in (3, 5, 6)]


@pytest.mark.parametrize(
    ("records", "need", "slack", "most", "expected"),
    [
        ([], 1, 0, MANY, None),
        (A, 1, 0, MANY, Choice(2, 1, 10)),
        (A, 10, 0, MANY, Choice(2, 1, 10)),
        (A, 11, 0, MANY, Choice(3, 2, 20)),
        (A, 40, 0, MANY, Choice(5, 4, 40)),
        # All there is, where that is not enough.
        (A, 41, 0, MANY, Choice(5, 4, 40)),
        # A whole segment where the slack allows.
        (A, 11, 19, MANY, Choice(3, 2, 20)),
        (A, 11, 28, MANY, Choice(3, 2, 20)),
        (A, 11, 29, MANY, Choice(5, 4, 40)),
        # Both together, in their order; at 3 there is one of each.
        (A + B, 21, 0, MANY, Choice(4, 4, 40)),
        (A + B, 21, 28, MANY, Choice(4, 4, 40)),
        (A + B, 21, 29, MANY, Choice(5, 5, 50)),
        (A + B, 21, 50, MANY, Choice(7, 7, 70)),
        # So many and no more, but for those of one millisecond.
        (A + B, 70, 0, 2, Choice(3, 2, 20)),
        (A + B, 70, 0, 3, Choice(4, 4, 40)),
        (A + B, 70, 70, 1, Choice(2, 1, 10)),
        ([Stored(1, 10, "a")] * 5, 1, 0, 1, Choice(2, 5, 50)),
        # What takes nothing goes with those before it.
        ([Stored(1, 0, "a"), Stored(2, 10, "a")], 1, 0, MANY, Choice(3, 2, 10)),
    ],
)
def test_what_goes(
    records: list[Stored], need: int, slack: int, most: int, expected: Choice | None
) -> None:
    assert expected == chosen(records, need, slack, most)


def test_a_segment_that_is_larger_than_what_may_go_of_it_is_no_reason_to_wait() -> None:
    """What is later than all of these is left in any case."""
    assert Choice(2, 1, 10) == chosen(A, 5, 20, others={"a": 1_000})


records_of = st.lists(
    st.builds(
        Stored,
        st.integers(0, 12),
        st.integers(0, 40),
        st.sampled_from("abcd"),
    ),
    max_size=24,
)


@given(records_of, st.integers(1, 400), st.integers(0, 120), st.integers(1, 30))
def test_for_any_records(records: list[Stored], need: int, slack: int, most: int) -> None:
    found = chosen(records, need, slack, most)
    if not records:
        assert found is None
        return
    assert found is not None
    going = [each for each in records if each.completed_ms < found.cutoff_ms]
    assert (len(going), sum(each.size for each in going)) == (found.records, found.bytes)
    # Enough, or as many as are allowed, or all.
    assert found.bytes >= need or found.records >= most or len(going) == len(records)
    assert going

    # Every cutoff there could be, by hand.
    instants = sorted({each.completed_ms for each in records})

    def freed(cutoff: int) -> int:
        return sum(each.size for each in records if each.completed_ms < cutoff)

    def left(cutoff: int) -> int:
        """Bytes that would have to be written anew."""
        touched = {each.segment for each in records if each.completed_ms < cutoff}
        return sum(
            each.size for each in records if each.completed_ms >= cutoff and each.segment in touched
        )

    first = next(
        (
            at + 1
            for at in instants
            if freed(at + 1) >= need or sum(each.completed_ms <= at for each in records) >= most
        ),
        instants[-1] + 1,
    )
    assert first <= found.cutoff_ms

    def empties(cutoff: int) -> bool:
        """A segment goes whole with what ended just before."""
        last = {each.segment for each in records if each.completed_ms == cutoff - 1}
        return any(
            all(each.completed_ms < cutoff for each in records if each.segment == segment)
            for segment in last
        )

    if found.cutoff_ms > first:
        assert left(found.cutoff_ms) < left(first)
        assert found.bytes <= need + slack
        assert empties(found.cutoff_ms)
    for at in instants:
        cutoff = at + 1
        if not (first < cutoff and freed(cutoff) <= need + slack and empties(cutoff)):
            continue
        if sum(each.completed_ms < at for each in records) >= most:
            continue
        if any(left(one + 1) == 0 for one in instants if first <= one + 1 <= at):
            continue
        if freed(at) < need + slack:
            assert left(found.cutoff_ms) <= left(cutoff)


@given(records_of, st.integers(1, 400), st.integers(0, 120))
def test_the_need_grows_what_goes(records: list[Stored], need: int, slack: int) -> None:
    """Whoever doubles what he asks for comes to an end."""
    found = [chosen(records, need << more) for more in range(12)]
    for less, more in pairwise(found):
        assert (less is None) == (more is None)
        assert less is None or more is None or less.cutoff_ms <= more.cutoff_ms
    if records:
        assert found[-1] is not None
        assert len(records) == found[-1].records
