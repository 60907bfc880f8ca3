"""What is in the store: keys, writers, segments, records, and the proxies that fill it."""

from collections.abc import Sequence

from store.health import (
    DamageSeen,
    DeepSeen,
    KeysSeen,
    ProxySeen,
    SegmentSeen,
    SegmentsSeen,
    WriterSeen,
)
from tui.format import plural, size, thousands
from tui.health.finding import Detail, Finding, Level, unchecked, worst

SILENT_MS = 10_000
"""A proxy tells of itself every two seconds."""

SECRET_BYTES = 32


def keys(seen: KeysSeen | None) -> Finding:
    """Whether anything is opted in, and can be recognised."""
    if seen is None:
        return unchecked("keys", "keys.db cannot be read")
    if seen.ids and seen.secret_bytes != SECRET_BYTES:
        what = "is not there" if seen.secret_bytes is None else "is damaged"
        return Finding(
            "keys",
            Level.PROBLEM,
            f"the file `secret` {what}, so no key can be recognised",
            "Restore it from a copy; or remove keys.db and add the keys anew",
        )
    if not seen.ids:
        return Finding(
            "keys",
            Level.WARNING,
            "there is none, so nothing is recorded",
            "Opt one in: flowtap keys add NAME --retention 24h",
        )
    text = f"{plural(len(seen.ids), 'key')}, {thousands(seen.on)} on"
    if not seen.on:
        advice = "Switch one on: flowtap keys set NAME 24h"
        return Finding("keys", Level.WARNING, f"{text}: nothing is recorded", advice)
    return Finding("keys", Level.OK, text)


def writers(seen: Sequence[WriterSeen]) -> Finding:
    """Who writes, and what the dead have left."""
    alive = [each for each in seen if each.alive]
    dead = [each for each in seen if not each.alive]
    in_flight = plural(sum(each.parts for each in alive), "record")
    text = f"{plural(len(alive), 'process', 'processes')} writing, {in_flight} in flight"
    left = sum(each.parts for each in dead)
    if not left:
        return Finding("writers", Level.OK, text)
    recoverable = sum(each.recoverable for each in dead)
    text += f"; {plural(len(dead), 'process', 'processes')} died and left"
    if recoverable:
        text += f" {plural(recoverable, 'record')} to be recovered"
    if left > recoverable:
        text += f"{' and' if recoverable else ''} {plural(left - recoverable, 'part')} of no use"
    return Finding("writers", Level.WARNING, text, "Start a proxy: it sees to that")


def segments(seen: SegmentsSeen | None, directory: str) -> Finding:
    """The index against the files; `directory` is the segments'."""
    if seen is None:
        return unchecked("segments", "the index cannot be read", level=Level.WARNING)
    gone = [each for each in seen.segments if each.size is None and each.rows]
    short = [each for each in seen.segments if each.odd and _is_short(each)]
    ahead = [each for each in seen.segments if each.odd and each not in gone and each not in short]
    details = [
        *(Detail(_gone(each), f"{directory}/{each.name}") for each in gone),
        *(
            Detail(
                f"ends at byte {each.size}, and its rows go on to {each.indexed}",
                f"{directory}/{each.name}",
            )
            for each in short
        ),
        *(Detail(_ahead(each), f"{directory}/{each.name}") for each in ahead),
        *(
            Detail(f"{plural(count, 'segment')} of a key that is not there", f"{directory}/{name}")
            for name, count in seen.strangers
        ),
    ]
    on_disk = [each for each in seen.segments if each.size is not None]
    records = sum(each.rows for each in seen.segments)
    text = f"{plural(len(on_disk), 'segment')}, {plural(records, 'record')} in the index"
    said, advice = [], []
    if gone:
        rows = sum(each.rows for each in gone)
        said.append(
            f"{plural(len(gone), 'more is', 'more are')} gone with {plural(rows, 'record')}"
        )
        advice.append("Restore the files from a copy; or forget the records: flowtap rebuild")
    if short:
        said.append(f"{plural(len(short), 'is', 'are')} cut off")
        advice.append("What is behind the cut is lost; the next proxy drops its rows")
    if ahead:
        said.append(f"{plural(len(ahead), 'is', 'are')} not wholly indexed")
        advice.append("Start a proxy: it indexes what is missing")
    if seen.strangers:
        said.append(f"{plural(len(seen.strangers), 'folder')} of keys that are not there")
        advice.append("If those keys were removed, remove the folders")
    if seen.tombstones:
        said.append(f"{plural(seen.tombstones, 'segment')} of a purge that was cut short")
        advice.append("Finish it: flowtap purge")
    level = Level.PROBLEM if gone or short else Level.WARNING if said else Level.OK
    return Finding(
        "segments", level, "; ".join([text, *said]), ". ".join(advice) or None, tuple(details)
    )


def _is_short(segment: SegmentSeen) -> bool:
    return (
        segment.size is not None and segment.indexed is not None and segment.size < segment.indexed
    )


def _gone(segment: SegmentSeen) -> str:
    aside = ", of which there are pieces in the quarantine" if segment.put_aside else ""
    return f"is gone, with {plural(segment.rows, 'record')}{aside}"


def _ahead(segment: SegmentSeen) -> str:
    if segment.indexed is None:
        return "is not in the index"
    return f"is indexed up to byte {segment.indexed} of {segment.size}"


def records(seen: DeepSeen) -> Finding:
    """Every record, read (`--deep`)."""
    bad = [each for each in seen.damage if not each.untold]
    untold = [each for each in seen.damage if each.untold]
    unreadable = sum(each.record is not None for each in bad)
    text = f"{thousands(seen.records - unreadable - len(untold))} of {plural(seen.records, 'record')} whole"
    details = tuple(map(_damaged, seen.damage))
    if bad:
        ranges = len(bad) - unreadable
        more = f", {plural(ranges, 'damaged range')} besides" if ranges else ""
        return Finding(
            "records",
            Level.PROBLEM,
            f"{text}, {thousands(unreadable)} not{more}",
            "Look to the disk; restore the files from a copy if there is one",
            details,
        )
    if untold:
        return Finding(
            "records",
            Level.WARNING,
            f"{text}, {thousands(len(untold))} not to be told",
            None,
            details,
        )
    return Finding("records", Level.OK, f"{text}: every frame and every body's hash")


def _damaged(seen: DamageSeen) -> Detail:
    return Detail(seen.text, seen.file, seen.record, seen.start, seen.end)


def proxies(seen: Sequence[ProxySeen], now_ms: int) -> Finding:
    """Those that run, and what troubles them."""
    alive = [each for each in seen if each.alive]
    if not alive:
        return Finding(
            "proxies",
            Level.WARNING,
            "none is running, so nothing is recorded",
            "Start one: flowtap proxy",
        )
    told = [_proxy(each, now_ms) for each in alive]
    level = worst(level for level, _, _ in told)
    advice = list(dict.fromkeys(advice for _, _, advice in told if advice))
    if len(alive) == 1:
        return Finding("proxies", level, told[0][1], ". ".join(advice) or None)
    return Finding(
        "proxies",
        level,
        f"{plural(len(alive), 'proxy', 'proxies')} running",
        ". ".join(advice) or None,
        tuple(Detail(text) for _, text, _ in told),
    )


def _proxy(proxy: ProxySeen, now_ms: int) -> tuple[Level, str, str | None]:
    silent_ms = now_ms - proxy.heartbeat_ms
    parts = [
        f"{proxy.address} (pid {proxy.pid}), told of itself {max(silent_ms, 0) / 1000:.0f}s ago"
    ]
    level, advice = Level.OK, None
    if proxy.has_ring:
        ring = plural(proxy.ring_exchanges, "exchange")
        parts.append(f"a ring with {ring}, {size(proxy.ring_bytes)}")
    if proxy.refused:
        level, advice = Level.WARNING, "flowtap_required asks for that; its log says what was wrong"
        parts.append(f"{plural(proxy.refused, 'call')} refused, for they could not be recorded")
    if proxy.lost_records or proxy.lost_bytes:
        level, advice = Level.WARNING, "What was lost is lost; see the proxy's log for why"
        lost = plural(proxy.lost_records, "record")
        parts.append(f"lost {lost} and {size(proxy.lost_bytes)} since it began")
    if proxy.error is not None:
        level, advice = Level.PROBLEM, "Mend that: until then records are lost"
        parts.append(f"in trouble: {proxy.error}")
    if silent_ms > SILENT_MS:
        level, advice = Level.PROBLEM, "It hangs, or its disk does: look at its log, restart it"
    return level, "; ".join(parts), advice
