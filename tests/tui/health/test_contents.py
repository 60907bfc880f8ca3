"""What is made of keys, writers, segments, records and proxies: a row a case."""

from typing import Any

import pytest

from store.health import (
    DamageSeen,
    DeepSeen,
    KeysSeen,
    ProxySeen,
    SegmentSeen,
    SegmentsSeen,
    WriterSeen,
)
from tests.tui.health.test_files import OK, PROBLEM, WARNING, holds
from tui.health import contents
from tui.health.finding import Level

A, B = frozenset("a"), frozenset("ab")


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (KeysSeen(B, 1, 32), OK, ["2 keys, 1 on"]),
        (KeysSeen(A, 0, 32), WARNING, ["nothing is recorded", "keys set"]),
        (KeysSeen(frozenset(), 0, 32), WARNING, ["nothing is recorded", "keys add"]),
        (KeysSeen(frozenset(), 0, None), WARNING, ["keys add"]),
        (KeysSeen(A, 1, None), PROBLEM, ["`secret` is not there"]),
        (KeysSeen(A, 1, 31), PROBLEM, ["`secret` is damaged"]),
        (None, PROBLEM, ["keys.db cannot be read"]),
    ],
)
def test_keys(seen: KeysSeen | None, level: Level, words: list[str]) -> None:
    holds(contents.keys(seen), level, *words)


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        ([], OK, ["0 processes"]),
        ([WriterSeen("a", True, 3)], OK, ["1 process writing, 3 records in flight"]),
        # It left in order, and its folder is being removed.
        ([WriterSeen("a", False, 0)], OK, ["0 processes writing"]),
        ([WriterSeen("a", False, 3, 2)], WARNING, ["1 process died", "2 records", "1 part of no"]),
        ([WriterSeen("a", False, 1, 0)], WARNING, ["died and left 1 part of no use"]),
        (
            [WriterSeen("a", True, 1), WriterSeen("b", False, 2, 2), WriterSeen("c", False, 1, 1)],
            WARNING,
            ["1 record in flight", "2 processes died and left 3 records to be recovered", "proxy"],
        ),
    ],
)
def test_writers(seen: list[WriterSeen], level: Level, words: list[str]) -> None:
    holds(contents.writers(seen), level, *words)


def segment(**changes: Any) -> SegmentSeen:
    values: dict[str, Any] = {"name": "k/s.seg", "size": 100, "indexed": 100, "rows": 3}
    return SegmentSeen(**(values | changes))


@pytest.mark.parametrize(
    ("seen", "level", "words", "details"),
    [
        (SegmentsSeen(), OK, ["0 segments, 0 records"], 0),
        (SegmentsSeen((segment(),)), OK, ["1 segment, 3 records in the index"], 0),
        (SegmentsSeen((segment(size=None),)), PROBLEM, ["gone with 3 records", "rebuild"], 1),
        (SegmentsSeen((segment(size=None, rows=0),)), OK, ["0 segments"], 0),
        (SegmentsSeen((segment(size=90),)), PROBLEM, ["1 is cut off"], 1),
        (SegmentsSeen((segment(size=120),)), WARNING, ["not wholly indexed", "proxy"], 1),
        (SegmentsSeen((segment(indexed=None, rows=0),)), WARNING, ["not wholly indexed"], 1),
        (SegmentsSeen((segment(size=120, alive=True),)), OK, [], 0),
        (SegmentsSeen((segment(indexed=None, alive=True),)), OK, [], 0),
        (SegmentsSeen((segment(),), tombstones=2), WARNING, ["2 segments of a purge", "flowtap purge"], 0),
        (SegmentsSeen((), 0, (("k", 4),)), WARNING, ["1 folder of keys that are not", "remove"], 1),
        (SegmentsSeen((segment(size=None), segment(size=120)), 1), PROBLEM, ["gone", "purge"], 2),
        (None, WARNING, ["cannot be looked at"], 0),
    ],
)  # fmt: skip
def test_segments(seen: SegmentsSeen | None, level: Level, words: list[str], details: int) -> None:
    found = contents.segments(seen, "/s/segments")
    holds(found, level, *words)
    assert details == len(found.details)
    assert all((detail.file or "").startswith("/s/segments/k") for detail in found.details)


@pytest.mark.parametrize(
    ("changes", "odd"),
    [
        ({}, False),
        ({"size": None}, True),
        ({"size": None, "rows": 0}, False),
        ({"size": 99}, True),
        ({"size": 101}, True),
        ({"indexed": None}, True),
        ({"size": 101, "alive": True}, False),
        ({"size": None, "alive": True}, True),
    ],
)
def test_what_index_and_disk_do_not_agree_on(changes: dict[str, Any], odd: bool) -> None:
    assert odd == segment(**changes).odd


def test_a_segment_that_is_gone_and_left_pieces() -> None:
    (detail,) = contents.segments(SegmentsSeen((segment(size=None, put_aside=True),)), "/s").details
    assert "pieces in the quarantine" in detail.text


@pytest.mark.check(50)
@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (DeepSeen(), OK, ["0 of 0 records whole"]),
        (DeepSeen(5), OK, ["5 of 5 records whole"]),
        (DeepSeen(5, (DamageSeen("x", record="r"),)), PROBLEM, ["4 of 5 records whole, 1 not"]),
        (DeepSeen(5, (DamageSeen("x", file="f", start=1, end=2),)), PROBLEM, ["5 of 5", "1 damaged range"]),
        (DeepSeen(5, (DamageSeen("x", record="r", untold=True),)), WARNING, ["4 of 5", "1 not to be told"]),
        (
            DeepSeen(5, (DamageSeen("x", record="r"), DamageSeen("y", record="s", untold=True))),
            PROBLEM,
            ["3 of 5 records whole, 1 not"],
        ),
    ],
)  # fmt: skip
def test_records(seen: DeepSeen, level: Level, words: list[str]) -> None:
    found = contents.records(seen)
    if level is WARNING:
        assert (level, *(True for _ in words)) == (
            found.level,
            *(word in found.text for word in words),
        )
    else:
        holds(found, level, *words)
    assert [(each.record, each.file, each.start) for each in seen.damage] == [
        (each.record, each.file, each.start) for each in found.details
    ]


NOW = 1_000_000


def proxy(**changes: Any) -> ProxySeen:
    values: dict[str, Any] = {
        "pid": 7,
        "address": "127.0.0.1:8080",
        "alive": True,
        "heartbeat_ms": NOW - 1_000,
    }
    return ProxySeen(**(values | changes))


@pytest.mark.check(86)
@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        ([], WARNING, ["none is running", "flowtap proxy"]),
        ([proxy(alive=False)], WARNING, ["none is running"]),
        ([proxy()], OK, ["127.0.0.1:8080 (pid 7)", "1s ago"]),
        ([proxy(heartbeat_ms=NOW + 5_000)], OK, ["0s ago"]),
        ([proxy(heartbeat_ms=NOW - 10_000)], OK, []),
        ([proxy(heartbeat_ms=NOW - 10_001)], PROBLEM, ["hangs"]),
        ([proxy(error="OSError: No space left")], PROBLEM, ["in trouble: OSError: No space"]),
        ([proxy(lost_records=2, lost_bytes=2048)], WARNING, ["lost 2 records and 2.0 KB"]),
        ([proxy(lost_bytes=1)], WARNING, ["lost 0 records and 1 B"]),
        ([proxy(has_ring=True, ring_exchanges=3, ring_bytes=1 << 20)], OK, ["3 exchanges, 1.0 MB"]),
        ([proxy(), proxy(alive=False, error="x")], OK, ["127.0.0.1:8080"]),
    ],
)
def test_proxies(seen: list[ProxySeen], level: Level, words: list[str]) -> None:
    holds(contents.proxies(seen, NOW), level, *words)


def test_calls_that_were_refused() -> None:
    holds(contents.proxies([proxy(refused=4)], NOW), WARNING, "4 calls refused", "flowtap_required")


def test_several_proxies_have_a_line_each() -> None:
    found = contents.proxies([proxy(), proxy(pid=8, error="x"), proxy(pid=9, lost_bytes=1)], NOW)
    holds(found, PROBLEM, "3 proxies running")
    assert ["(pid 7)", "(pid 8)", "(pid 9)"] == [
        word for detail, word in zip(found.details, ("(pid 7)", "(pid 8)", "(pid 9)"), strict=True) if word in detail.text
    ]  # fmt: skip
