"""The tables are the specification of what a value looks like."""

from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.record import State, Verdict
from tests.tui.builders import LAPTOP, LIVE, NOW_MS, meta
from tui.format import (
    Tone,
    age,
    badge,
    clock,
    duration,
    elapsed,
    exact_time,
    failed,
    failure,
    key_label,
    plural,
    size,
    size_column,
    status_tone,
    tokens,
    tokens_column,
    total_tokens,
)


@pytest.mark.check(122)
@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (None, "\u2013"),
        (0, "0ms"),
        (950, "950ms"),
        (999, "999ms"),
        (1000, "1.0s"),
        (12_300, "12.3s"),
        (59_949, "59.9s"),
        (59_950, "60s"),
        (75_000, "75s"),
        (615_400, "615s"),
        (-5, "0ms"),
    ],
)
def test_duration(ms: int | None, shown: str) -> None:
    assert shown == duration(ms)


@pytest.mark.parametrize(
    ("ms", "shown"), [(0, "0:00"), (12_999, "0:12"), (61_000, "1:01"), (3_665_000, "61:05")]
)
def test_elapsed(ms: int, shown: str) -> None:
    assert shown == elapsed(ms)


@pytest.mark.check(122)
@pytest.mark.parametrize(
    ("count", "words", "column"),
    [
        (0, "0 B", "0B"),
        (512, "512 B", "512B"),
        (999, "999 B", "999B"),
        (1_000, "1.0 KB", "1.0K"),
        (6_246, "6.1 KB", "6.1K"),
        (10_188, "9.9 KB", "9.9K"),
        (10_189, "10 KB", "10K"),
        (421_888, "412 KB", "412K"),
        (1_048_576, "1.0 MB", "1.0M"),
        (10_485_760, "10 MB", "10M"),
        (5_368_709_120, "5.0 GB", "5.0G"),
    ],
)
def test_size(count: int, words: str, column: str) -> None:
    assert (words, column) == (size(count), size_column(count))


@given(st.integers(0, 1 << 49))
def test_a_size_never_leaves_its_column(count: int) -> None:
    assert len(size_column(count)) <= 4


@pytest.mark.check(122)
@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, ""),
        (0, "0"),
        (950, "950"),
        (1_000, "1.0 K"),
        (1_204, "1.2 K"),
        (12_000, "12 K"),
        (999_499, "999 K"),
        (1_200_000, "1.2 M"),
        (12_000_000, "12 M"),
    ],
)
def test_tokens(count: int | None, shown: str) -> None:
    assert shown == tokens(count)
    assert shown.replace(" ", "") == tokens_column(count)


@pytest.mark.parametrize(
    ("given_in", "given_out", "total"),
    [(12, 3, 15), (None, 3, 3), (12, None, 12), (None, None, None)],
)
def test_total_tokens(given_in: int | None, given_out: int | None, total: int | None) -> None:
    assert total == total_tokens(meta(input_tokens=given_in, output_tokens=given_out))


@pytest.mark.check(116)
@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "now"),
        (0, "now"),
        (1, "1s ago"),
        (59, "59s ago"),
        (60, "1m ago"),
        (3_599, "59m ago"),
        (3_600, "1h ago"),
        (86_399, "23h ago"),
        (86_400, "2026-02-01"),
    ],
)
def test_age(seconds: int, shown: str) -> None:
    assert shown == age(NOW_MS - seconds * 1000, NOW_MS, UTC)


def test_times_of_day() -> None:
    assert "02:40" == clock(NOW_MS, UTC)
    assert "2026-02-02 02:40:00.007 +0000" == exact_time(NOW_MS + 7, UTC)


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 records"), (1, "1 record"), (1204, "1,204 records")]
)
def test_plural(count: int, shown: str) -> None:
    assert shown == plural(count, "record")


@pytest.mark.check(121)
@pytest.mark.parametrize(
    ("status", "tone"),
    [
        (None, Tone.ERROR),
        (0, Tone.ERROR),
        (101, Tone.NEUTRAL),
        (200, Tone.OK),
        (299, Tone.OK),
        (304, Tone.NEUTRAL),
        (400, Tone.WARNING),
        (429, Tone.WARNING),
        (499, Tone.WARNING),
        (500, Tone.ERROR),
        (529, Tone.ERROR),
    ],
)
def test_status_tone(status: int | None, tone: Tone) -> None:
    assert tone is status_tone(status)


ROWS: list[tuple[dict[str, Any], tuple[str, str, Tone], str]] = [
    ({}, ("✓", "200", Tone.OK), ""),
    ({"status": 304}, ("✓", "304", Tone.NEUTRAL), ""),
    ({"status": 429, "error": "rate_limit_error"}, ("▲", "429", Tone.WARNING), "rate_limit_error"),
    ({"status": 529, "verdict": Verdict.FAILED}, ("✗", "529", Tone.ERROR), "failed"),
    (
        {"status": None, "verdict": Verdict.FAILED, "error": "connect timeout"},
        ("✗", "ERR", Tone.ERROR),
        "connect timeout",
    ),
    ({"status": None, "verdict": Verdict.CLIENT_CLOSED}, ("◐", "cut", Tone.CUT), "client closed"),
    ({"verdict": Verdict.TRUNCATED}, ("◐", "cut", Tone.CUT), "ended early"),
    ({"verdict": Verdict.CLIENT_CLOSED}, ("◐", "cut", Tone.CUT), "client closed"),
    ({"verdict": Verdict.UPSTREAM_CLOSED}, ("◐", "cut", Tone.CUT), "upstream closed"),
    ({"verdict": Verdict.INTERRUPTED}, ("◐", "cut", Tone.CUT), "interrupted"),
    (
        {"verdict": Verdict.FAILED, "error": "overloaded_error: Overloaded"},
        ("◐", "200!", Tone.CUT),
        "overloaded_error: Overloaded",
    ),
]


@pytest.mark.check(120)
@pytest.mark.parametrize(("changes", "shown", "reason"), ROWS)
def test_badge_and_reason(
    changes: dict[str, Any], shown: tuple[str, str, Tone], reason: str
) -> None:
    row = meta(**changes)

    assert shown == badge(row, NOW_MS)
    assert reason == failure(row)
    assert bool(reason) is failed(row)


def test_a_row_in_flight_shows_its_clock_and_never_a_failure() -> None:
    row = meta(**{**LIVE, "started_ms": NOW_MS - 12_400})

    assert ("…", "0:12", Tone.LIVE) == badge(row, NOW_MS)
    assert row.state is State.LIVE
    assert not failed(row)


@pytest.mark.check(112)
def test_a_key_is_told_by_name_and_last_four() -> None:
    assert "laptop (9Qz1)" == key_label(LAPTOP)
    assert "laptop" == key_label(replace(LAPTOP, last4=""))
