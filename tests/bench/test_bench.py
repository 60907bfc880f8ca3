"""That the bench runs: every load through every side, tiny. No clock is asserted."""

import json
from pathlib import Path

import pytest

from tests.bench.bench_capture import LOADS, Figures, Sizes, percentile, run

TINY = Sizes(
    generations=1,
    rounds=2,
    seconds=0.02,
    paced=1,
    memory=5,
    streams=3,
    events=2,
    gap_ms=50,
    clients=2,
    settle_s=0.0,
)
SIDES = ("no-op", "flowtap")
"""Of four: a mitmdump takes a second or two to start."""


@pytest.mark.bench
def test_every_load_passes_every_side_and_no_event_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(TINY, tmp_path / "figures.json", SIDES)

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert list(figures["loads"]) == [load.name for load in LOADS]
    for values in figures["loads"].values():
        assert all(sorted(sides) == sorted(SIDES) for sides in values.values())
    assert figures["many"]["flowtap"]["stored"] == TINY.streams * TINY.events
    assert "no event lost of 6" in capsys.readouterr().out


def test_ratios_are_of_the_same_round() -> None:
    """Bad weather in one round is in both values of it."""
    figures = Figures("a load")
    for ours, theirs in ((1.0, 2.0), (100.0, 200.0), (3.0, 6.0)):
        figures.add("CPU", "flowtap", ours)
        figures.add("CPU", "no-op", theirs)

    assert figures.against("CPU", "flowtap", "no-op") == 0.5
    assert figures.difference("CPU", "flowtap", "no-op") == -3.0
    assert figures.median("CPU", "flowtap") == 3.0


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_percentile(share: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), share) == expected
