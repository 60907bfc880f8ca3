"""What `flowtap stats` says: totals as a table that fits a terminal, and as JSON (docs/json.md). Pure.

Models and clients are others' words: they are escaped here.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len

from store.record import Verdict
from store.usage_stats import DAY_MS, EXACT, PRECISION, Added, Group, Quantiles, Sizes, Usage
from tui.format import (
    DASH,
    duration,
    exact_time,
    plural,
    size,
    size_column,
    thousands,
    tokens_column,
)
from tui.record_json import instant
from tui.safe_text import escape, fit, shorten, shorten_middle

UNKNOWN = "(unknown)"
OTHERS = "(others)"
TOTAL = "total"

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

LABEL = (20, 14)
"""Cells of a name that are not given up for a column: where there is one, or several."""

GAP = "  "


# -- JSON -----------------------------------------------------------------------------------------


def usage_json(
    added: Added, by: Sequence[str], names: Mapping[str, str], sizes: Sizes, since_ms: int | None
) -> dict[str, Any]:
    """The object of `flowtap stats --json`; `names` are the keys', by their ids."""
    groups = [
        _group_json(group, names, others=False) | _totals_json(usage)
        for group, usage in added.groups
    ]
    if added.others is not None:
        groups.append(_group_json(Group(), names, others=True) | _totals_json(added.others))
    return {
        "since_at": None if since_ms is None else instant(since_ms),
        "by": list(by),
        "total": _totals_json(added.total),
        "groups": groups,
        "store": {
            "segments": sizes.segments,
            "segment_bytes": sizes.segment_bytes,
            "parts": sizes.parts,
            "part_bytes": sizes.part_bytes,
            "quarantine": sizes.quarantine,
            "quarantine_bytes": sizes.quarantine_bytes,
            "index_bytes": sizes.index_bytes,
            "log_bytes": sizes.log_bytes,
            "keys_bytes": sizes.keys_bytes,
            "texts_bytes": sizes.texts_bytes,
            "total_bytes": sizes.total_bytes,
            "free_bytes": sizes.free_bytes,
        },
    }


def _group_json(group: Group, names: Mapping[str, str], *, others: bool) -> dict[str, Any]:
    return {
        "key": None if group.key_id is None else names.get(group.key_id),
        "model": group.model,
        "day": None if group.day is None else _day(group.day),
        "client": group.client,
        "others": others,
    }


def _totals_json(usage: Usage) -> dict[str, Any]:
    rate, ratio = usage.cache_hit_rate, usage.ratio
    return {
        "requests": usage.requests,
        "live": usage.live,
        "errors": usage.errors,
        "verdicts": {str(verdict): usage.verdicts.get(verdict, 0) for verdict in Verdict},
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cache_hit_rate": None if rate is None else round(rate, 4),
        "request_bytes": usage.request_bytes,
        "response_bytes": usage.response_bytes,
        "stored_bytes": usage.stored_bytes,
        "ratio": None if ratio is None else round(ratio, 2),
        "ttft_ms": _quantiles_json(usage.ttft),
        "duration_ms": _quantiles_json(usage.duration),
        "oldest_at": None if usage.oldest_ms is None else instant(usage.oldest_ms),
        "newest_at": None if usage.newest_ms is None else instant(usage.newest_ms),
    }


def _quantiles_json(values: Quantiles) -> dict[str, Any]:
    return {name: values.at(share) for name, share in SHARES.items()} | {"exact": values.exact}


def _day(number: int) -> str:
    return f"{datetime.fromtimestamp(number * DAY_MS / 1000, UTC):%Y-%m-%d}"


# -- text -----------------------------------------------------------------------------------------


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.0f}%"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return DASH
    return f"{ratio:.1f}x" if ratio < 9.95 else f"{ratio:.0f}x"


def _count(count: int | None) -> str:
    return DASH if count is None else tokens_column(count)


def _latency(of: Callable[[Usage], Quantiles], share: float) -> Callable[[Usage], str]:
    return lambda usage: duration(of(usage).at(share))


COLUMNS: dict[str, Callable[[Usage], str]] = {
    "req": lambda usage: thousands(usage.requests),
    "live": lambda usage: thousands(usage.live),
    "err": lambda usage: thousands(usage.errors),
    "in": lambda usage: _count(usage.input_tokens),
    "out": lambda usage: _count(usage.output_tokens),
    "read": lambda usage: _count(usage.cache_read_tokens),
    "write": lambda usage: _count(usage.cache_write_tokens),
    "reason": lambda usage: _count(usage.reasoning_tokens),
    "hit": lambda usage: _percent(usage.cache_hit_rate),
    "wire": lambda usage: size_column(usage.wire_bytes),
    "kept": lambda usage: size_column(usage.stored_bytes),
    "ratio": lambda usage: _times(usage.ratio),
    "ttft": _latency(lambda usage: usage.ttft, 0.5),
    "p50": _latency(lambda usage: usage.duration, 0.5),
    "p90": _latency(lambda usage: usage.duration, 0.9),
    "p99": _latency(lambda usage: usage.duration, 0.99),
}
"""The table's columns in their order, behind those of the group."""

FIRST_GIVEN_UP = ("live", "reason", "write", "read", "kept", "p90", "ratio", "hit", "ttft", "wire")
"""Where the terminal is narrow; the others stay."""


def usage_lines(
    added: Added, by: Sequence[str], names: Mapping[str, str], sizes: Sizes, width: int
) -> list[str]:
    """The table, and below it the totals and what the store takes; no line is wider than `width`
    where that is 60 or more."""
    lines = [*_table(added, by, names, width), ""] if added.total.requests else ["No records."]
    return [*lines, *(shorten(line, width) for line in _summary(added, sizes))]


def _table(added: Added, by: Sequence[str], names: Mapping[str, str], width: int) -> list[str]:
    labels = [_labels(group, by, names) for group, _ in added.groups]
    usages = [usage for _, usage in added.groups]
    if added.others is not None:
        labels.append([OTHERS, *[""] * (len(by) - 1)])
        usages.append(added.others)
    labels.append([TOTAL, *[""] * (len(by) - 1)])
    usages.append(added.total)
    titles = ["day (UTC)" if name == "day" else name for name in by]
    label_widths = [
        max(len(title), *(cell_len(row[number]) for row in labels))
        for number, title in enumerate(titles)
    ]
    cells = {title: [of(usage) for usage in usages] for title, of in COLUMNS.items()}
    widths = {title: max(len(title), *map(len, column)) for title, column in cells.items()}
    for given_up in FIRST_GIVEN_UP:
        needed = sum(min(each, LABEL[len(by) > 1]) + len(GAP) for each in label_widths)
        if needed + sum(widths.values()) + len(GAP) * (len(widths) - 1) <= width:
            break
        del widths[given_up]
    room = width - sum(widths.values()) - len(GAP) * (len(widths) + len(label_widths) - 1)
    label_widths = _shared(label_widths, room)
    rows = [[*titles, *widths]]
    for number, row in enumerate(labels):
        rows.append([*row, *(cells[title][number] for title in widths)])
    return [_line(row, label_widths, list(widths.values())) for row in rows]


def _labels(group: Group, by: Sequence[str], names: Mapping[str, str]) -> list[str]:
    of = {
        "key": None if group.key_id is None else names.get(group.key_id),
        "model": group.model,
        "day": None if group.day is None else _day(group.day),
        "client": group.client,
    }
    return [UNKNOWN if of[name] is None else escape(str(of[name])) for name in by]


def _shared(widths: list[int], room: int) -> list[int]:
    """The widths cut down, the widest first, to what there is room for."""
    cut = list(widths)
    while sum(cut) > room and max(cut) > 1:
        cut[cut.index(max(cut))] -= 1
    return cut


def _line(row: list[str], label_widths: list[int], widths: list[int]) -> str:
    count = len(label_widths)
    labels = [
        fit(shorten_middle(text, cells), cells)
        for text, cells in zip(row[:count], label_widths, strict=True)
    ]
    numbers = [text.rjust(cells) for text, cells in zip(row[count:], widths, strict=True)]
    return GAP.join([*labels, *numbers]).rstrip()


def _summary(added: Added, sizes: Sizes) -> list[str]:
    total = added.total
    lines = []
    if total.oldest_ms is not None and total.newest_ms is not None:
        live = f", {thousands(total.live)} in flight" if total.live else ""
        lines.append(f"records     {thousands(total.requests)}{live}")
        lines.append(f"            {exact_time(total.oldest_ms)} to {exact_time(total.newest_ms)}")
        ended = [
            f"{thousands(count)} {str(verdict).replace('_', ' ')}"
            for verdict in Verdict
            if verdict is not Verdict.COMPLETE and (count := total.verdicts.get(verdict, 0))
        ]
        lines.append(f"errors      {', '.join(ended) or 'none'}")
        lines.append(
            f"bodies      {size(total.wire_bytes)} on the wire, {size(total.stored_bytes)} stored:"
            f" {_times(total.ratio)}"
        )
        if not (total.duration.exact and total.ttft.exact):
            lines.append(
                f"latencies   within {100 * PRECISION:.0f} %, being more than {thousands(EXACT)}"
            )
    free = "" if sizes.free_bytes is None else f", {size(sizes.free_bytes)} free"
    lines.append(f"disk        {size(sizes.total_bytes)} taken{free}")
    lines.append(
        f"            {size(sizes.segment_bytes)} in {plural(sizes.segments, 'segment')},"
        f" {size(sizes.part_bytes)} in flight"
    )
    lines.append(
        f"            {size(sizes.index_bytes)} index, {size(sizes.log_bytes)} its log,"
        f" {size(sizes.keys_bytes)} keys"
    )
    if sizes.texts_bytes:
        lines.append(f"            {size(sizes.texts_bytes)} index of texts")
    if sizes.quarantine:
        lines.append(
            f"            {size(sizes.quarantine_bytes)} in {plural(sizes.quarantine, 'corrupt piece')}"
            " (flowtap doctor)"
        )
    return lines
