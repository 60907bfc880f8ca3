"""What records add up to, row by row."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.record import Verdict
from store.usage_stats import (
    DAY_MS,
    EXACT,
    GROUPS,
    PRECISION,
    Added,
    Adding,
    Group,
    Quantiles,
    Usage,
    UsageRow,
)

KEY, OTHER = "a" * 16, "b" * 16
SHARES = (0.0, 0.01, 0.5, 0.9, 0.99, 1.0)


def row(**changes: Any) -> UsageRow:
    values: dict[str, Any] = {
        "seq": 1,
        "key_id": KEY,
        "started_ms": 1_000,
        "completed_ms": 1_500,
        "verdict": "complete",
        "model": "m",
        "client": "c/1",
        "request_bytes": 0,
        "response_bytes": 0,
        "input_tokens": None,
        "output_tokens": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "ttft_ms": None,
        "duration_ms": None,
        "segment": None,
        "start": None,
    }
    return UsageRow(**(values | changes))


LIVE: dict[str, Any] = {"completed_ms": None, "verdict": None}


def added(
    rows: list[UsageRow],
    by: tuple[str, ...] = (),
    sizes: dict[str, int] | None = None,
    **more: Any,
) -> Added:
    adding = Adding(by, {KEY: 0, OTHER: 0} | more.pop("cutoffs", {}), **more)
    for each in rows:
        adding.add(each)
    return adding.result(sizes or {})


def total(rows: list[UsageRow], **more: Any) -> Usage:
    return added(rows, **more).total


# -- how values are spread ------------------------------------------------------------------------


def nearest_rank(values: list[int], share: float) -> int:
    """The definition, by counting."""
    return next(
        value
        for value in sorted(values)
        if sum(each <= value for each in values) >= share * len(values)
    )


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=60), st.sampled_from(SHARES))
def test_few_values_are_exact(values: list[int], share: float) -> None:
    found = Quantiles()
    for each in values:
        found.add(each)
    assert found.exact
    assert nearest_rank(values, share) == found.at(share)


@pytest.mark.parametrize(
    "spread",
    [
        lambda at: at.randrange(100_000),
        lambda at: int(at.lognormvariate(7, 2)),
        lambda at: at.choice([0, 1, 2, 3]),
        lambda at: 1 << at.randrange(62),
        lambda at: 0,
    ],
    ids=["even", "log-normal", "small", "huge", "zeros"],
)
@pytest.mark.parametrize("count", [EXACT, EXACT + 1, 5 * EXACT])
def test_many_values_are_within_the_precision(spread: Any, count: int) -> None:
    chance = random.Random(3)  # noqa: S311 - latencies
    values = [spread(chance) for _ in range(count)]
    found = Quantiles()
    for each in values:
        found.add(each)
    assert (count <= EXACT) == found.exact
    for share in SHARES:
        wanted = sorted(values)[max(math.ceil(share * count), 1) - 1]
        told = found.at(share)
        assert told is not None
        # Half of one is what rounding takes.
        assert abs(told - wanted) <= PRECISION * wanted * 1.000_001 + 0.5


@pytest.mark.parametrize("sizes", [(3, 4), (EXACT, 1), (1, EXACT), (EXACT * 2, 5), (5, EXACT * 2)])
def test_two_spreads_together(sizes: tuple[int, int]) -> None:
    both, parts = Quantiles(), [Quantiles(), Quantiles()]
    for number in range(sum(sizes)):
        both.add(number * 7)
        parts[number >= sizes[0]].add(number * 7)
    parts[0].merge(parts[1])
    assert [both.at(share) for share in SHARES] == [parts[0].at(share) for share in SHARES]
    assert both.exact == parts[0].exact


def test_no_value_and_one_below_zero() -> None:
    found = Quantiles()
    assert found.at(0.5) is None
    found.add(-5)
    assert 0 == found.at(0.5)


# -- what is added up -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([], (0, 0, 0)),
        ([row()], (1, 0, 0)),
        ([row(**LIVE)], (1, 1, 0)),
        ([row(verdict="failed")], (1, 0, 1)),
        ([row(verdict=str(verdict)) for verdict in Verdict], (6, 0, 5)),
        # Its proxy is gone, and the next start will say so in the index.
        ([row(**LIVE, seq=7)], (1, 0, 1)),
        ([row(key_id="c" * 16)], (0, 0, 0)),
    ],
)
def test_requests(rows: list[UsageRow], counts: tuple[int, int, int]) -> None:
    found = total(rows, dead={7})
    assert counts == (found.requests, found.live, found.errors)
    assert found.requests == found.live + sum(found.verdicts.values())


@pytest.mark.check(62)
@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"completed_ms": 1_500}, True),
        ({"completed_ms": 1_499}, False),
        (LIVE, True),
        ({"key_id": "c" * 16}, False),
        ({"started_ms": 1_000, "completed_ms": 9_999}, True),
        ({"started_ms": 999, "completed_ms": 9_999}, False),
    ],
    ids=["at the cutoff", "expired", "in flight", "off", "at since", "before since"],
)
def test_what_counts(changes: dict[str, Any], counts: bool) -> None:
    found = total([row(**changes)], cutoffs={KEY: 1_500}, since_ms=1_000)
    assert counts == bool(found.requests)


TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@pytest.mark.parametrize(
    ("rows", "sums", "rate"),
    [
        ([()], (None, None, None, None), None),
        ([(10,)], (10, None, None, None), None),
        ([(0, 0, 0, 0)], (0, 0, 0, 0), None),
        ([(10, 5, 0)], (10, 5, 0, None), 0.0),
        ([(10, 5, 9, 1)], (10, 5, 9, 1), 0.9),
        # One that does not tell what it read says nothing of the rate.
        ([(10, 5, 9), (90, 5, None)], (100, 10, 9, None), 0.9),
        ([(10, 1, 0), (10, 1, 10)], (20, 2, 10, None), 0.5),
        ([(None, 5, 7)], (None, 5, None, None), None),
        ([(None,), (3,)], (3, None, None, None), None),
    ],
)
def test_tokens(
    rows: list[tuple[int | None, ...]], sums: tuple[int | None, ...], rate: float | None
) -> None:
    """What nobody reported is not 0."""
    found = total([row(**dict(zip(TOKENS, each, strict=False))) for each in rows])
    assert sums == tuple(getattr(found, name) for name in TOKENS)
    assert rate == found.cache_hit_rate


def at(segment: str, start: int, **changes: Any) -> UsageRow:
    return row(segment=segment, start=start, **changes)


@pytest.mark.parametrize(
    ("rows", "sizes", "stored"),
    [
        ([], {}, 0),
        ([at("s", 40)], {"s": 100}, 60),
        ([at("s", 40), at("s", 70)], {"s": 100}, 60),
        # Segments of several writers by turns.
        ([at("s", 40), at("t", 10), at("s", 70), at("t", 20)], {"s": 100, "t": 50}, 100),
        # One that does not count takes its place all the same.
        ([at("s", 40), at("s", 70, key_id="c" * 16), at("s", 80)], {"s": 100}, 50),
        ([at("s", 40, key_id="c" * 16)], {"s": 100}, 0),
        # A segment nobody knows the size of, and rows in another order than the file's.
        ([at("s", 40)], {}, 0),
        ([at("s", 70), at("s", 40)], {"s": 75}, 35),
        ([row(**LIVE)], {}, 0),
    ],
)
def test_what_is_stored(rows: list[UsageRow], sizes: dict[str, int], stored: int) -> None:
    assert stored == total(rows, sizes=sizes).stored_bytes


def test_bytes_and_their_ratio() -> None:
    found = total(
        [at("s", 0, request_bytes=900, response_bytes=60), at("s", 10, request_bytes=40)],
        sizes={"s": 50},
    )
    assert (940, 60, 1000, 50) == (
        found.request_bytes,
        found.response_bytes,
        found.wire_bytes,
        found.stored_bytes,
    )
    assert 20.0 == found.ratio
    assert total([]).ratio is None


def test_times() -> None:
    found = total(
        [
            row(started_ms=7_000, ttft_ms=10, duration_ms=100),
            row(started_ms=5_000, ttft_ms=30, duration_ms=300),
            row(started_ms=6_000, ttft_ms=None, duration_ms=200),
        ]
    )
    assert (5_000, 7_000) == (found.oldest_ms, found.newest_ms)
    assert (10, 30) == (found.ttft.at(0.5), found.ttft.at(0.99))
    assert (100, 200, 300) == tuple(found.duration.at(share) for share in (0.1, 0.5, 0.9))


# -- groups ---------------------------------------------------------------------------------------

MIXED = [
    row(model="x", started_ms=0),
    row(model="x", started_ms=DAY_MS - 1, client=None),
    row(model=None, started_ms=DAY_MS, key_id=OTHER),
    row(model="y", started_ms=3 * DAY_MS, key_id=OTHER),
    row(model="y", started_ms=3 * DAY_MS, key_id=OTHER),
]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ((), [(Group(), 5)]),
        (("key",), [(Group(key_id=OTHER), 3), (Group(key_id=KEY), 2)]),
        (("model",), [(Group(model="x"), 2), (Group(model="y"), 2), (Group(), 1)]),
        (("day",), [(Group(day=0), 2), (Group(day=1), 1), (Group(day=3), 2)]),
        (("client",), [(Group(client="c/1"), 4), (Group(), 1)]),
        (
            ("model", "key"),
            [(Group(KEY, "x"), 2), (Group(OTHER, "y"), 2), (Group(OTHER, None), 1)],
        ),
        (("key", "day"), [(Group(KEY, None, 0), 2), (Group(OTHER, None, 1), 1), (Group(OTHER, None, 3), 2)]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_groups(by: tuple[str, ...], groups: list[tuple[Group, int]]) -> None:
    found = added(MIXED, by)
    assert groups == [(group, usage.requests) for group, usage in found.groups]
    assert 5 == found.total.requests
    assert found.others is None


def test_more_groups_than_are_kept_apart() -> None:
    """Clients name themselves: one that takes a new name for each call fills no memory."""
    found = added([row(client=f"c/{number}") for number in range(GROUPS + 7)], ("client",))
    assert GROUPS == len(found.groups)
    assert found.others is not None
    assert (7, GROUPS + 7) == (found.others.requests, found.total.requests)


@given(
    st.lists(
        st.builds(
            row,
            started_ms=st.integers(0, 5 * DAY_MS),
            model=st.sampled_from(["x", "y", None]),
            verdict=st.sampled_from([str(verdict) for verdict in Verdict]),
            request_bytes=st.integers(0, 1 << 50),
            input_tokens=st.none() | st.integers(0, 1 << 50),
            cache_read_tokens=st.none() | st.integers(0, 1 << 50),
            ttft_ms=st.none() | st.integers(0, 1 << 50),
            duration_ms=st.none() | st.integers(0, 1 << 50),
        ),
        max_size=30,
    )
)
def test_however_it_is_grouped_the_total_is_the_same(rows: list[UsageRow]) -> None:
    def told(usage: Usage) -> list[Any]:
        plain = [name for name in Usage.__slots__ if name not in ("ttft", "duration")]
        spread = [each.at(share) for each in (usage.ttft, usage.duration) for share in SHARES]
        return [*(getattr(usage, name) for name in plain), *spread]

    assert told(total(rows)) == told(added(rows, ("model", "day")).total)
