"""What a soak's samples say: does the proxy stay as it is, or does something grow? Pure.

A sample is noisy and one is no proof, so growth is judged over the whole run behind its
warm-up: a count grows if its least near the end is above its most near the beginning, memory
by the median of the slopes between all pairs of samples (Theil and Sen), which a few
outliers do not bend.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RSS_BYTES = 12 * 1024 * 1024
"""How much memory may have grown by over a run, whatever its length: an hour tells a leak of
300 bytes an exchange, two minutes only a gross one."""

WAL_BYTES = 24 * 1024 * 1024
"""The write-ahead log is checkpointed once it has 4 MB; readers may hold that up for a while."""

WARM_UP = 0.2
"""The share of a run in which caches, certificates and pools of threads come into being."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The proxy and its store at one moment."""

    at_s: float
    """Seconds since the soak began."""
    rss: int
    threads: int
    descriptors: int
    store: int
    """Bytes of all files of the store."""
    wal: int
    """Bytes of the index's write-ahead log."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it holds, and how it came out."""

    holds: bool
    text: str


def settled(samples: Sequence[Sample]) -> list[Sample]:
    """Those behind the warm-up."""
    if not samples:
        return []
    begin = samples[-1].at_s * WARM_UP
    return [sample for sample in samples if sample.at_s >= begin]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between every two points; 0.0 if there are no two."""
    slopes = [
        (y2 - y1) / (x2 - x1)
        for number, (x1, y1) in enumerate(points)
        for x2, y2 in points[number + 1 :]
        if x2 > x1
    ]
    return statistics.median(slopes) if slopes else 0.0


def has_grown(values: Sequence[int]) -> bool:
    """The least of the last third is above the most of the first third."""
    third = len(values) // 3
    return third > 0 and min(values[-third:]) > max(values[:third])


def judged(samples: Sequence[Sample]) -> list[Finding]:
    """Memory, threads, descriptors and the write-ahead log of a run."""
    behind = settled(samples)
    if len(behind) < 3:
        return [Finding(False, f"too short a run to judge: {len(behind)} samples")]
    length_s = behind[-1].at_s - behind[0].at_s
    per_s = slope([(sample.at_s, sample.rss) for sample in behind])
    grown = per_s * length_s
    most_wal = max(sample.wal for sample in samples)
    findings = [
        Finding(
            grown <= RSS_BYTES,
            f"memory {behind[0].rss / 1e6:.1f} MB, then {behind[-1].rss / 1e6:.1f} MB: grew by"
            f" {grown / 1e6:+.1f} MB in {length_s / 60:.0f} min, {per_s * 3600 / 1e6:+.1f} MB/h"
            f" (bound {RSS_BYTES / 1e6:.0f} MB)",
        ),
        Finding(
            most_wal <= WAL_BYTES,
            f"write-ahead log at most {most_wal / 1e6:.1f} MB (bound {WAL_BYTES / 1e6:.0f} MB)",
        ),
    ]
    for name, counts in (
        ("threads", [sample.threads for sample in behind]),
        ("descriptors", [sample.descriptors for sample in behind]),
    ):
        findings.append(
            Finding(
                not has_grown(counts),
                f"{name} {counts[0]}, then {counts[-1]}, between {min(counts)} and {max(counts)}",
            )
        )
    return findings
