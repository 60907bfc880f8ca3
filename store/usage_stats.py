"""What records add up to: requests, errors, tokens, bytes, latencies, by key, model, day or client.

Pure: index rows in, in one pass and in the order of `seq`, totals out. Memory is bounded: latencies
are exact up to EXACT values of a group, then counted in buckets that are within PRECISION of the
truth, and so are totals; groups beyond the first GROUPS are added up in one.

What a record takes in its segment is the distance to the next one there, so rows that are not to be
counted are to be told too. It has what the wire did not: times, hashes, the row itself.
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from store.record import Verdict

EXACT = 2_000
"""Latencies of a group that are kept one by one: 32 KB of them."""

PRECISION = 0.01

GROUPS = 1_000
"""Models and clients are named by others, so there may be any number."""

DAY_MS = 86_400_000

_GAMMA = (1 + PRECISION) / (1 - PRECISION)
_log = math.log
_LOG_GAMMA = _log(_GAMMA)

DIMENSIONS = ("key", "model", "day", "client")


class UsageRow(NamedTuple):
    """A row of the index, as far as it is added up."""

    seq: int
    key_id: str
    started_ms: int
    completed_ms: int | None
    """None while in flight."""
    verdict: str | None
    model: str | None
    """Of this and the next, None where it is not grouped by: reading them takes time."""
    client: str | None
    request_bytes: int
    response_bytes: int
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    ttft_ms: int | None
    duration_ms: int | None
    segment: str | None
    start: int | None


class Group(NamedTuple):
    """What the records of a group have in common; None: it is not grouped by that, or not known."""

    key_id: str | None = None
    model: str | None = None
    day: int | None = None
    """Days since 1970, in UTC."""
    client: str | None = None


class Quantiles:
    """Values from 0 up, and how they are spread."""

    __slots__ = ("buckets", "exact", "values")

    def __init__(self) -> None:
        self.values = array("q")
        """Those that are not in a bucket yet."""
        self.buckets: defaultdict[int, int] = defaultdict(int)
        """How many fell between two powers of _GAMMA; -1 for those below 1."""
        self.exact = True
        """Every value is still known."""

    def add(self, value: int) -> None:
        """One more; below zero counts as zero."""
        self.values.append(value)
        if len(self.values) > EXACT:
            self.spill()

    def merge(self, other: "Quantiles") -> None:
        """All values of another as well."""
        self.values.extend(other.values)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] += count
        self.exact = self.exact and other.exact
        if len(self.values) > EXACT or not self.exact:
            self.spill()

    def at(self, share: float) -> int | None:
        """The least value that at least this share of all is not above; None if there is none."""
        count = len(self.values) + sum(self.buckets.values())
        if not count:
            return None
        rank = max(math.ceil(share * count), 1)
        if self.exact:
            return max(sorted(self.values)[rank - 1], 0)
        self.spill()
        for bucket in sorted(self.buckets):
            rank -= self.buckets[bucket]
            if rank <= 0:
                break
        # As far from the bucket's lower end as from its upper, in proportion.
        return 0 if bucket < 0 else round(2 * _GAMMA ** (bucket + 1) / (1 + _GAMMA))

    def spill(self) -> None:
        """Put the values that are still known into buckets."""
        buckets = self.buckets
        for value in self.values:
            buckets[-1 if value <= 0 else int(_log(value) / _LOG_GAMMA)] += 1
        del self.values[:]
        self.exact = False


class Usage:
    """The totals of a group. Tokens are None as long as nobody reported any."""

    __slots__ = (
        *("requests", "live", "verdicts", "request_bytes", "response_bytes", "stored_bytes"),
        *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("reasoning_tokens", "cacheable_tokens", "ttft", "duration", "oldest_ms", "newest_ms"),
    )

    def __init__(self) -> None:
        self.requests = 0
        """All, those in flight included."""
        self.live = 0
        self.verdicts: defaultdict[str, int] = defaultdict(int)
        """How they ended; those in flight have none."""
        self.request_bytes = 0
        self.response_bytes = 0
        """Bodies as on the wire."""
        self.stored_bytes = 0
        """What they take in their segments, heads and times included."""
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cache_read_tokens: int | None = None
        self.cache_write_tokens: int | None = None
        self.reasoning_tokens: int | None = None
        self.cacheable_tokens = 0
        """Input of the records that say how much of it was read from the cache."""
        self.ttft = Quantiles()
        self.duration = Quantiles()
        self.oldest_ms: int | None = None
        self.newest_ms: int | None = None
        """When the first and the last of them began."""

    @property
    def errors(self) -> int:
        """Those that ended otherwise than complete."""
        return sum(self.verdicts.values()) - self.verdicts.get(Verdict.COMPLETE, 0)

    @property
    def wire_bytes(self) -> int:
        """Bodies of both directions."""
        return self.request_bytes + self.response_bytes

    @property
    def ratio(self) -> float | None:
        """How many bytes on the wire a stored byte stands for; None where nothing is stored."""
        return self.wire_bytes / self.stored_bytes if self.stored_bytes else None

    @property
    def cache_hit_rate(self) -> float | None:
        """What share of the input was read from the cache, of the records that tell; else None."""
        if not self.cacheable_tokens or self.cache_read_tokens is None:
            return None
        return self.cache_read_tokens / self.cacheable_tokens

    def merge(self, other: "Usage") -> None:
        """Another group's records as well."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _TOKENS:
            if (tokens := getattr(other, name)) is not None:
                setattr(self, name, (getattr(self, name) or 0) + tokens)
        for verdict, count in other.verdicts.items():
            self.verdicts[verdict] += count
        self.ttft.merge(other.ttft)
        self.duration.merge(other.duration)
        for name, better in (("oldest_ms", min), ("newest_ms", max)):
            known = [at for at in (getattr(self, name), getattr(other, name)) if at is not None]
            setattr(self, name, better(known, default=None))


_SUMS = (
    *("requests", "live", "request_bytes", "response_bytes", "stored_bytes"),
    "cacheable_tokens",
)
_TOKENS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    "reasoning_tokens",
)


type _Plain = tuple[str | None, str | None, int | None, str | None]
"""A Group that is quick to make."""


class Adding:
    """Rows on their way into groups."""

    def __init__(
        self,
        by: Iterable[str],
        cutoffs: Mapping[str, int],
        *,
        since_ms: int = 0,
        dead: Collection[int] = (),
        pinned: Collection[int] = (),
    ) -> None:
        """`by`: of DIMENSIONS. `cutoffs`: from when on records of a key are shown, by its id; others
        are not counted. `since_ms`: nor those that began earlier. `dead`: rows in flight whose writer
        is gone, by their seq: these were interrupted. `pinned`: rows that are shown however old they
        are, by their seq."""
        wanted = frozenset(by)
        self._by = tuple(name in wanted for name in DIMENSIONS)
        self._cutoffs = cutoffs
        self._since_ms = since_ms
        self._dead = frozenset(dead)
        self._pinned = frozenset(pinned)
        self._groups: dict[_Plain, Usage] = {}
        self.others = Usage()
        """Of groups that came when there were GROUPS already."""
        self._last: dict[str, tuple[int, Usage | None]] = {}
        """Of each segment the last record met: where it begins, its group if it counts."""

    def add(self, row: UsageRow) -> None:
        """One more row. One long function: it runs for each of a million."""
        # fmt: off
        (
            seq, key_id, started_ms, completed_ms, verdict, model, client,
            request_bytes, response_bytes, input_tokens, output_tokens,
            read, written, reasoning, ttft_ms, duration_ms, segment, start,
        ) = row
        # fmt: on
        usage = None
        cutoff = self._cutoffs.get(key_id)
        if (
            cutoff is not None
            and started_ms >= self._since_ms
            and (completed_ms is None or completed_ms >= cutoff or seq in self._pinned)
        ):
            by_key, by_model, by_day, by_client = self._by
            usage = self._usage(
                (
                    key_id if by_key else None,
                    model if by_model else None,
                    started_ms // DAY_MS if by_day else None,
                    client if by_client else None,
                )
            )
            usage.requests += 1
            if completed_ms is None and seq not in self._dead:
                usage.live += 1
            else:
                usage.verdicts[verdict or Verdict.INTERRUPTED] += 1
            usage.request_bytes += request_bytes
            usage.response_bytes += response_bytes
            if input_tokens is not None:
                usage.input_tokens = (usage.input_tokens or 0) + input_tokens
                if read is not None:
                    usage.cache_read_tokens = (usage.cache_read_tokens or 0) + read
                    usage.cacheable_tokens += input_tokens
            if output_tokens is not None:
                usage.output_tokens = (usage.output_tokens or 0) + output_tokens
            if written is not None:
                usage.cache_write_tokens = (usage.cache_write_tokens or 0) + written
            if reasoning is not None:
                usage.reasoning_tokens = (usage.reasoning_tokens or 0) + reasoning
            if ttft_ms is not None:
                usage.ttft.add(ttft_ms)
            if duration_ms is not None:
                usage.duration.add(duration_ms)
            if usage.oldest_ms is None or started_ms < usage.oldest_ms:
                usage.oldest_ms = started_ms
            if usage.newest_ms is None or started_ms > usage.newest_ms:
                usage.newest_ms = started_ms
        if segment is not None and start is not None:
            before = self._last.get(segment)
            if before is not None:
                _take(before, start)
            self._last[segment] = (start, usage)

    def _usage(self, group: _Plain) -> Usage:
        usage = self._groups.get(group)
        if usage is None:
            if len(self._groups) >= GROUPS:
                return self.others
            usage = self._groups[group] = Usage()
        return usage

    def result(self, sizes: Mapping[str, int]) -> "Added":
        """All that was added; `sizes`: how long the segments are, where that is known. Call it once."""
        for name, last in self._last.items():
            _take(last, sizes.get(name, 0))
        self._last.clear()
        total = Usage()
        for usage in (*self._groups.values(), self.others):
            total.merge(usage)
        ordered = sorted(
            ((Group(*group), usage) for group, usage in self._groups.items()), key=_order
        )
        return Added(total, ordered, self.others if self.others.requests else None)


class Added(NamedTuple):
    """The totals of all records, and of each group: by day the oldest first, else the largest."""

    total: Usage
    groups: list[tuple[Group, Usage]]
    others: Usage | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a store takes on the disk: files, and bytes as their lengths say."""

    segments: int
    segment_bytes: int
    parts: int
    """Of records in flight."""
    part_bytes: int
    quarantine: int
    """Corrupt pieces."""
    quarantine_bytes: int
    index_bytes: int
    log_bytes: int
    """The index's write-ahead log."""
    keys_bytes: int
    texts_bytes: int
    """The optional index of texts."""
    free_bytes: int | None
    """What the file system still has for this user; None where that cannot be told."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return (
            self.segment_bytes
            + self.part_bytes
            + self.quarantine_bytes
            + self.index_bytes
            + self.log_bytes
            + self.keys_bytes
            + self.texts_bytes
        )


def _take(last: tuple[int, Usage | None], behind: int) -> None:
    """A record takes the bytes up to where the next one begins."""
    start, usage = last
    if usage is not None and behind > start:
        usage.stored_bytes += behind - start


def _order(item: tuple[Group, Usage]) -> tuple[int, int, str, str, str]:
    group, usage = item
    day = -1 if group.day is None else group.day
    return (day, -usage.requests, group.key_id or "", group.model or "", group.client or "")
