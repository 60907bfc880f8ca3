"""The table of `flowtap stats`: it fits, whatever others call themselves, and says what was added up."""

import json
from collections.abc import Mapping

import pytest
from rich.cells import cell_len

from store.usage_stats import Added, Adding, Sizes
from tests.store.test_usage_stats import KEY, LIVE, OTHER, row
from tui.format import DASH
from tui.safe_text import is_safe
from tui.usage_report import COLUMNS, FIRST_GIVEN_UP, usage_json, usage_lines

SIZES = Sizes(2, 23_000, 1, 512, 0, 0, 100_000, 442_000, 36_000, 0, 71 << 30)
NAMES = {KEY: "laptop", OTHER: "ci"}

HOSTILE = "m\x1b]52;c;aGk=\x07\x9b31m\u202e\n\r\t名前" * 40


def table(*changes: Mapping[str, object], by: tuple[str, ...] = ("key",)) -> Added:
    adding = Adding(by, {KEY: 0, OTHER: 0})
    for each in changes:
        adding.add(row(**each))
    return adding.result({"s": 400})


ONE: dict[str, object] = {
    "verdict": "failed",
    "request_bytes": 5_000,
    "response_bytes": 3_000,
    "segment": "s",
    "start": 0,
    "input_tokens": 1_000,
    "output_tokens": 20,
    "cache_read_tokens": 930,
    "ttft_ms": 350,
    "duration_ms": 2_100,
}


def test_a_wide_table_has_every_column() -> None:
    lines = usage_lines(table(ONE, {"key_id": OTHER, **LIVE}), ["key"], NAMES, SIZES, 1_000)
    assert ["key", *COLUMNS] == lines[0].split()
    cells = {
        line.split()[0]: dict(zip(COLUMNS, line.split()[1:], strict=True)) for line in lines[1:4]
    }
    assert {"laptop", "ci", "total"} == cells.keys()
    assert {
        "req": "1", "live": "0", "err": "1", "in": "1.0K", "out": "20", "read": "930", "write": DASH,
        "reason": DASH, "hit": "93%", "wire": "7.8K", "kept": "400B", "ratio": "20x",
        "ttft": "350ms", "p50": "2.1s", "p90": "2.1s", "p99": "2.1s",
    } == cells["laptop"]  # fmt: skip
    assert {
        "req": "1",
        "live": "1",
        "err": "0",
        "hit": DASH,
        "ratio": DASH,
        "p50": DASH,
    }.items() <= cells["ci"].items()
    assert "2" == cells["total"]["req"]


@pytest.mark.parametrize("width", [60, 79, 80, 81, 100, 120, 200])
@pytest.mark.parametrize(
    "by", [("key",), ("model",), ("day", "model"), ("key", "model", "day", "client")]
)
def test_it_fits(width: int, by: tuple[str, ...]) -> None:
    many = [
        {**ONE, "model": name, "client": name, "key_id": key, "duration_ms": 99_999_999}
        for name in (HOSTILE, "claude-opus-4-5-20260101", "名" * 30, None, "x")
        for key in (KEY, OTHER)
    ]
    lines = usage_lines(table(*many, by=by), by, {KEY: "k" * 64, OTHER: "ci"}, SIZES, width)
    assert max(map(cell_len, lines)) <= width
    assert all(map(is_safe, lines))
    kept = [name for name in COLUMNS if name not in FIRST_GIVEN_UP]
    assert set(kept) <= set(lines[0].split())
    assert 1 == len({cell_len(line) for line in lines[: lines.index("")]} - {0})


def test_what_is_said_below_the_table() -> None:
    told = "\n".join(
        usage_lines(table(ONE, {"verdict": "client_closed"}, LIVE), ["key"], NAMES, SIZES, 80)
    )
    for words in (
        "records     3, 1 in flight",
        "1970-01-01",
        "errors      1 failed, 1 client closed",
        "bodies      7.8 KB on the wire, 400 B stored: 20x",
        "disk        587 KB taken, 71 GB free",
        "22 KB in 2 segments, 512 B in flight",
    ):
        assert words in told
    assert "corrupt" not in told
    assert "latencies" not in told


def test_what_is_rarely_said() -> None:
    many = table(*({"duration_ms": each} for each in range(2_001)))
    sizes = Sizes(2, 23_000, 0, 0, 1, 4_096, 100_000, 0, 36_000, 2_048, None)
    told = "\n".join(usage_lines(many, ["key"], NAMES, sizes, 80))
    assert "within 1 %" in told
    assert "2.0 KB index of texts" in told
    assert "4.0 KB in 1 corrupt piece (flowtap doctor)" in told
    assert "free" not in told


def test_nothing() -> None:
    lines = usage_lines(table(), ["key"], NAMES, SIZES, 80)
    assert "No records." == lines[0]
    assert any(line.startswith("disk") for line in lines)


def test_names_that_are_not_known_and_groups_beyond_the_last() -> None:
    many = [{"model": f"m{each}"} for each in range(1_003)]
    added = table(*many, by=("model",))
    lines = usage_lines(added, ["model"], NAMES, SIZES, 80)
    assert any(line.startswith("(others)") and " 3 " in line for line in lines)
    assert any(
        line.startswith("(unknown)")
        for line in usage_lines(table({"model": None}, by=("model",)), ["model"], NAMES, SIZES, 80)
    )
    told = usage_json(added, ["model"], NAMES, SIZES, None)
    assert [3] == [group["requests"] for group in told["groups"] if group["others"]]
    assert sum(group["requests"] for group in told["groups"]) == told["total"]["requests"]


def test_json_is_exact() -> None:
    told = usage_json(
        table({**ONE, "model": HOSTILE}, by=("model",)), ["model"], NAMES, SIZES, 1_000
    )
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    (group,) = told["groups"]
    assert (HOSTILE, None) == (group["model"], group["key"])
    assert (0.93, 20.0) == (group["cache_hit_rate"], group["ratio"])
    assert {"p50": 350, "p90": 350, "p99": 350, "exact": True} == group["ttft_ms"]
    assert ("1970-01-01T00:00:01.000Z",) * 2 == (told["since_at"], group["oldest_at"])
    day = usage_json(table(ONE, by=("day",)), ["day"], NAMES, SIZES, None)
    assert "1970-01-01" == day["groups"][0]["day"]
