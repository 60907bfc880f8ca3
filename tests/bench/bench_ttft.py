"""Time to the first event and latency of each, through a no-op streaming addon and through the recorder.

    python -m tests.bench.bench_ttft [--calls 60] [--events 25] [--gap-ms 10] [--json FILE]

One run, one machine: two mitmdumps at once, each with its own upstream and one warm
keep-alive connection, called in turn so that both see the same weather. The upstream writes
the time (CLOCK_MONOTONIC, shared by processes) into each event; latency is the difference at
the client's read. Prints medians and their ratio; the goal is a ratio of at most 1.2. On a
busy machine look at the first quartile (q1): the median then times the other tenants.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.harness import Call, Client, Proxy, Script, Upstream, new_store, post, records

HOST = "api.anthropic.com"
NOOP = Path(__file__).with_name("noop_addon.py")
BODY = json.dumps(
    {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x" * 2000}]}
).encode()


@dataclass
class Side:
    """One of the two: its connection, and what was measured on it, in milliseconds."""

    name: str
    client: Client
    pid: int
    ttft: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def call(self, events: int) -> None:
        """One stream: its first event since the request was sent, and each event's way here."""
        self.client.received = b""
        sent = time.monotonic_ns()
        self.client.send(post("/v1/messages", BODY))
        for n in range(events):
            text = self.client.read_until(b"#%d\n\n" % n)
            now = time.monotonic_ns()
            if n == 0:
                self.ttft.append((now - sent) / 1e6)
            stamp = int(text.rpartition(b"at=")[2].partition(b" ")[0])
            self.latency.append((now - stamp) / 1e6)
        self.client.read_until(b"\r\n0\r\n\r\n")


def paced(events: int, gap_s: float) -> Script:
    """An upstream that thinks for one gap, then writes an event a gap, each with its time."""

    def script(call: Call) -> None:
        call.read_body()
        call.start(headers=[("content-type", "text/event-stream")])
        for n in range(events):
            time.sleep(gap_s if n else 0.0)
            filler = "y" * 120
            call.chunk(
                f"event: content_block_delta\ndata: {filler} at={time.monotonic_ns()} #{n}\n\n".encode()
            )
        call.finish()

    return script


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def sides(folder: Path, events: int, gap_s: float) -> Iterator[tuple[list[Side], Path]]:
    """Both proxies, warm."""
    store = new_store(folder / "store")
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("no-op", "recording"):
            upstream = stack.enter_context(Upstream(paced(events, gap_s)))
            proxy = Proxy(store, folder / name, upstream)
            if name == "no-op":
                proxy = Proxy(store, folder / name, upstream, script=NOOP, ready="no-op: running")
            stack.enter_context(proxy)
            client = stack.enter_context(Client(proxy, HOST))
            found.append(Side(name, client, proxy.pid))
        yield found, store


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(calls: int, events: int, gap_ms: float) -> dict[str, dict[str, float]]:
    """Medians and p99 of both sides, and their ratios."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sides(Path(folder), events, gap_ms / 1000) as (both, store),
    ):
        for side in both:
            for _ in range(3):
                side.call(events)
            side.ttft.clear()
            side.latency.clear()
        for n in range(calls):
            # In turn, and each first as often as the other.
            for side in both if n % 2 else reversed(both):
                before = cpu_seconds(side.pid)
                side.call(events)
                side.cpu_s += cpu_seconds(side.pid) - before
        recorded = len(records(store))
    if not recorded:
        raise SystemExit("nothing was recorded: the numbers would mean nothing")
    result = {
        side.name: {
            "ttft_ms": statistics.median(side.ttft),
            "ttft_q1_ms": percentile(side.ttft, 0.25),
            "ttft_p99_ms": percentile(side.ttft, 0.99),
            "event_ms": statistics.median(side.latency),
            "event_p99_ms": percentile(side.latency, 0.99),
            "cpu_ms_per_call": side.cpu_s * 1000 / calls,
        }
        for side in both
    }
    noop, recording = result["no-op"], result["recording"]
    result["ratio"] = {key: recording[key] / noop[key] for key in noop if noop[key]}
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=60, help="streams through each side")
    parser.add_argument("--events", type=int, default=25, help="events of a stream")
    parser.add_argument("--gap-ms", type=float, default=10.0, help="time between two events")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    arguments = parser.parse_args(argv)
    result = measure(arguments.calls, arguments.events, arguments.gap_ms)
    write = sys.stdout.write
    write(f"{'':16}" + "".join(f"{name:>12}" for name in result) + "\n")
    for key in result["no-op"]:
        row = "".join(f"{side.get(key, float('nan')):12.3f}" for side in result.values())
        write(f"{key:16}{row}\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
