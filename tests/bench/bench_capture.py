"""What recording costs: mitmdump alone, with a no-op addon, with the recorder; in one run, in turns.

    python -m tests.bench.bench_capture [--quick] [--generations N] [--json FILE]

Four mitmdumps run at once and take turns of a third of a second, in another order each round, so
that all see the same weather; figures are medians over the rounds, ratios medians of each round's
ratio. Two processes of one program differ by some 5 % for as long as they live (hash seeds, memory
layout), so the proxies are started anew several times. TLS on both legs, HTTP/1.1, keep-alive; the load generator
and the upstream are processes of their own. Processor time is that of the whole proxy process,
what it still does after the calls included; it is the figure to go by: on a shared machine
wall-clock times, above all a p99, tell as much of the neighbours. The column `spread` says by how much
the rounds differed (half of them lie that close to the median): a difference below it is noise.

bare: `mitmdump -q`. no-op: `mitmdump -s` with an addon as a user would write it, which streams
both bodies and does nothing else. no-op quiet: the same, and mitmproxy's connection log at
warnings, as the recorder sets it. flowtap: `mitmdump -s addon`, recording. All print to /dev/null.
Without an addon mitmproxy buffers a whole response, so of streams bare does less than the
others, and passes no event before the last.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from store.location import open_reader
from store.record import State
from tests.bench.load import Job
from tests.bench.sides import SCRIPTS, Bench, Cpu, Side, settled
from tests.e2e.harness import KEY, new_store, wait_for

SETTLE_S = 0.35
"""After the last turn: longer than records wait for a sync they share."""

EVENT_P99_MS = 1.0
"""What recording may add to an event's way, against the no-op addon."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    generations: int = 4
    """How often the proxies are started anew."""
    rounds: int = 8
    """Of each generation."""
    seconds: float = 0.3
    """Of each turn; short, so that all sides see the same weather."""
    paced: int = 2
    """Streams of 25 events that a client takes after each other in a round."""
    memory: int = 10_000
    streams: int = 1_000
    """At once."""
    events: int = 10
    """Of each of those."""
    gap_ms: int = 2_000
    """Between two of them: 500 events a second, which a busy machine has time for as well."""
    clients: int = 32
    """No load has more at once."""
    settle_s: float = SETTLE_S


QUICK = Sizes(
    generations=1, rounds=5, seconds=0.2, paced=1, memory=500, streams=100, events=6, gap_ms=500
)


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of load."""

    name: str
    play: str
    concurrency: int
    timed: bool = False


LOADS = (
    Load("JSON, 1 client", "json", 1),
    Load("JSON, 32 clients", "json", 32),
    Load("200 events at once, 1 client", "sse 200 0", 1),
    Load("200 events at once, 16 clients", "sse 200 0", 16),
    Load("25 events, 10 ms apart, 1 client", "sse 25 10", 1, timed=True),
    Load("25 events, 10 ms apart, 16 clients", "sse 25 10", 16, timed=True),
)


@dataclass(slots=True)
class Figures:
    """What the rounds gave: figure, then side, to a value of each round."""

    name: str
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, figure: str, side: str, value: float) -> None:
        """One round's value."""
        self.values.setdefault(figure, {}).setdefault(side, []).append(value)

    def median(self, figure: str, side: str) -> float:
        """Over the rounds."""
        return statistics.median(self.values[figure][side])

    def against(self, figure: str, side: str, other: str) -> float:
        """The median of the rounds' ratios."""
        pairs = zip(self.values[figure][side], self.values[figure][other], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def difference(self, figure: str, side: str, other: str) -> float:
        """The median of the rounds' differences."""
        pairs = zip(self.values[figure][side], self.values[figure][other], strict=True)
        return statistics.median(ours - theirs for ours, theirs in pairs)

    def spread(self, figure: str) -> float:
        """How far half of the rounds lie from the median, of the side where that is most, as a share."""
        return max(_spread(values) for values in self.values[figure].values())


def _spread(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values) / middle if middle else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(bench: Bench, sizes: Sizes, found: list[Figures]) -> None:
    """Every load through every side, in short turns: a round is a turn of each."""
    for load, figures in zip(LOADS, found, strict=True):
        for side in bench.sides.values():
            job = _job(load, side, sizes)
            bench.run(replace(job, play="json", calls=2 * job.concurrency, timed=False))
        names = list(bench.sides)
        open_turns: dict[str, tuple[Cpu, int]] = {}
        for number in range(sizes.rounds):
            first = number % len(names)
            turned = names[first:] + names[:first]
            for name in turned if number % 2 else reversed(turned):
                side = bench.sides[name]
                # What a side does of a turn it may do while the others have theirs.
                _close_turn(figures, side, open_turns)
                before = side.cpu()
                open_turns[name] = before, _turn(bench, side, load, sizes, figures)
        time.sleep(sizes.settle_s)
        for side in bench.sides.values():
            _close_turn(figures, side, open_turns)


def _turn(bench: Bench, side: Side, load: Load, sizes: Sizes, figures: Figures) -> int:
    """One turn of a side; how many calls it was."""
    result = bench.run(_job(load, side, sizes))
    if load.timed:
        figures.add("first event, ms", side.name, statistics.median(result.first))
        figures.add("event p50, ms", side.name, statistics.median(result.event))
        figures.add("event p99, ms", side.name, percentile(result.event, 0.99))
    else:
        figures.add("calls/s", side.name, result.calls / result.seconds)
        figures.add("p50, ms", side.name, statistics.median(result.latency))
        figures.add("p99, ms", side.name, percentile(result.latency, 0.99))
    return result.calls


def _close_turn(figures: Figures, side: Side, turns: dict[str, tuple[Cpu, int]]) -> None:
    """The processor time of a side's last turn, up to now."""
    if side.name not in turns:
        return
    before, calls = turns.pop(side.name)
    after = side.cpu()
    figures.add("CPU µs/call", side.name, (after.total - before.total) * 1e6 / calls)
    figures.add("of it the loop", side.name, (after.loop - before.loop) * 1e6 / calls)


def _job(load: Load, side: Side, sizes: Sizes) -> Job:
    clients = min(load.concurrency, sizes.clients)
    return Job(
        side.port,
        load.play,
        clients,
        calls=sizes.paced * clients if load.timed else 0,
        seconds=sizes.seconds,
        key=KEY,
        timed=load.timed,
        spread_s=0.01 if load.timed else 0.0,
    )


def memory(bench: Bench, sizes: Sizes) -> dict[str, list[float]]:
    """Resident MB of each side at the start and after every fifth of many short streams."""
    found = {}
    for side in bench.sides.values():
        found[side.name] = [side.rss() / 1e6]
        for _ in range(5):
            bench.run(Job(side.port, "sse 5 0", concurrency=8, calls=sizes.memory // 5, key=KEY))
            found[side.name].append(side.rss() / 1e6)
    return found


def many(bench: Bench, sizes: Sizes) -> dict[str, dict[str, float]]:
    """Many paced streams at once, through the recorder and what is most like it: what arrived, what
    is stored."""
    found = {}
    for name in list(bench.sides)[-2:]:
        side = bench.sides[name]
        job = Job(
            side.port,
            f"sse {sizes.events} {sizes.gap_ms}",
            concurrency=sizes.streams,
            calls=sizes.streams,
            key=KEY,
            tag="many",
            timed=True,
            spread_s=sizes.gap_ms / 1000,
        )
        # The connections first: handshakes are not what is measured.
        bench.run(replace(job, play="json", timed=False, tag="-", spread_s=sizes.streams / 500))
        with settled(side, sizes.settle_s) as spent:
            result = bench.run(job)
        bench.hang_up(side)
        found[name] = {
            "expected": sizes.streams * sizes.events,
            "arrived": len(result.event),
            "event p50, ms": statistics.median(result.event),
            "event p99, ms": percentile(result.event, 0.99),
            "CPU µs/event": spent[0].total * 1e6 / len(result.event),
        }
    found["flowtap"]["stored"] = stored(bench, "tag=many", sizes.streams)
    return found


def stored(bench: Bench, tag: str, count: int) -> int:
    """Events in the store's finished records of a tag, once there are `count` of those."""
    with contextlib.closing(open_reader(str(bench.store))) as reader:

        def ids() -> list[str]:
            found: list[str] = []
            while page := reader.records(before=found[-1] if found else None, limit=200):
                found += [meta.id for meta in page]
                if len(page) < 200 or tag not in page[-1].path:
                    break
            metas = [reader.meta(each) for each in found]
            done = [
                meta.id
                for meta in metas
                if meta is not None and tag in meta.path and meta.state is State.DONE
            ]
            return done if len(done) >= count else []

        events = 0
        for record_id in wait_for(ids, f"{count} records of {tag}"):
            record = reader.get(record_id)
            assert record is not None
            events += record.response_body.data.count(b"at=")
        return events


def goals(found: list[Figures], crowd: dict[str, dict[str, float]]) -> list[tuple[bool, str]]:
    """What the recorder is meant to hold, and whether it did."""
    result = []
    for figures in found:
        ratio = figures.against("CPU µs/call", "flowtap", "no-op")
        result.append(
            (ratio <= 1.0, f"CPU per call at most the no-op's: {ratio:.2f} ({figures.name})")
        )
    for figures in found:
        if "event p99, ms" in figures.values:
            more = figures.difference("event p99, ms", "flowtap", "no-op")
            result.append(
                (
                    more <= EVENT_P99_MS,
                    f"event p99 within {EVENT_P99_MS:g} ms of the no-op's: {more:+.2f} ms ({figures.name})",
                )
            )
    ours = crowd["flowtap"]
    result.append(
        (
            ours["arrived"] == ours["stored"] == ours["expected"],
            f"no event lost of {ours['expected']:.0f} in streams at once:"
            f" {ours['arrived']:.0f} arrived, {ours['stored']:.0f} stored",
        )
    )
    return result


def table(found: list[Figures]) -> list[str]:
    """Medians of every figure and side, and the recorder's ratios."""
    names = [name for name in SCRIPTS if name in found[0].values["CPU µs/call"]]
    lines = [
        f"{'':18}" + "".join(f"{name:>12}" for name in names)
        + "".join(f"{'/ ' + name:>14}" for name in names[:-1]) + f"{'spread':>8}"
    ]  # fmt: skip
    for figures in found:
        lines.append(figures.name)
        for figure in figures.values:
            ratios = [figures.against(figure, "flowtap", name) for name in names[:-1]]
            lines.append(
                f"  {figure:16}"
                + "".join(f"{_short(figures.median(figure, name)):>12}" for name in names)
                + "".join(f"{ratio:14.2f}" for ratio in ratios)
                + f"{figures.spread(figure):8.0%}"
            )
    return lines


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; a clock is no judge, so the exit status is 0 whatever came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    parser.add_argument(
        "--generations", type=int, help="starts of the proxies instead of the usual"
    )
    parser.add_argument("--json", type=Path, help="write all figures there too")
    arguments = parser.parse_args(argv)
    sizes = QUICK if arguments.quick else Sizes()
    if arguments.generations:
        sizes = replace(sizes, generations=arguments.generations)
    run(sizes, arguments.json)
    return 0


def run(sizes: Sizes, file: Path | None = None, sides: Sequence[str] = tuple(SCRIPTS)) -> None:
    """Everything through those sides, the recorder the last of them: printed, and into a file if one
    is given."""

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    began = time.monotonic()
    found = [Figures(load.name) for load in LOADS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = new_store(folder / "store")
        for number in range(sizes.generations):
            say(f"generation {number + 1} of {sizes.generations}")
            with Bench(folder, store, sides) as bench:
                measure(bench, sizes, found)
                if number + 1 == sizes.generations:
                    grown = memory(bench, sizes)
                    crowd = many(bench, sizes)
    say("")
    for line in table(found):
        say(line)
    say(f"resident MB, start and after each {sizes.memory // 5} of {sizes.memory} short streams")
    for side, values in grown.items():
        say(f"  {side:16}" + "".join(f"{value:12.1f}" for value in values))
    say(f"{sizes.streams} streams at once, an event each {sizes.gap_ms / 1000:g} s")
    for side, row in crowd.items():
        say(f"  {side:16}" + ", ".join(f"{key} {_short(value)}" for key, value in row.items()))
    checked = goals(found, crowd)
    for holds, text in checked:
        say(f"{'holds' if holds else 'MISSED'}  {text}")
    say(f"({time.monotonic() - began:.0f} s)")
    if file is not None:
        value: dict[str, Any] = {
            "loads": {figures.name: figures.values for figures in found},
            "memory_mb": grown,
            "many": crowd,
            "goals": [{"holds": holds, "text": text} for holds, text in checked],
        }
        file.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
