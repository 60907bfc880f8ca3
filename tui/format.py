"""How values are shown: sizes, times, tokens, statuses, masks. Pure: no clock, no widget, no colour.

Colours are named by `Tone`, the stylesheet says what they look like; shape and text always
say the same (a glyph and a code), so nothing is told by colour alone. What comes from a
record is returned unescaped unless a function says otherwise: `tui.safe_text` is the exit.
"""

from datetime import datetime, tzinfo
from enum import StrEnum

from store.record import Key, RecordMeta, State, Verdict

DASH = "\u2013"

PINNED = "\u25c6"
"""Marks a record that is kept past its retention: a diamond, which no status has."""


class Tone(StrEnum):
    """What a colour means."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    CUT = "cut"
    LIVE = "live"
    NEUTRAL = "neutral"


# -- amounts -----------------------------------------------------------------------------


def duration(ms: int | None) -> str:
    """`950ms`, `12.3s` below a minute, `75s` above."""
    if ms is None:
        return DASH
    if ms < 1000:
        return f"{max(ms, 0)}ms"
    return f"{ms / 1000:.1f}s" if ms < 59_950 else f"{round(ms / 1000)}s"


def elapsed(ms: int) -> str:
    """A running clock: `0:12`, `61:05`."""
    seconds = max(ms, 0) // 1000
    return f"{seconds // 60}:{seconds % 60:02d}"


def _scaled(number: float, step: int) -> tuple[str, int]:
    """(digits, power of `step`): one decimal below ten, whole above, never four digits."""
    power = 0
    while number >= 999.5 and power < 4:
        number /= step
        power += 1
    if power and round(number, 1) < 10:
        return f"{number:.1f}", power
    return f"{round(number)}", power


def size(count: int) -> str:
    """Bytes in words: `512 B`, `6.1 KB`, `412 KB`, `1.2 MB` (1 KB is 1024 B)."""
    digits, power = _scaled(count, 1024)
    return f"{digits} {('B', 'KB', 'MB', 'GB', 'TB')[power]}"


def size_column(count: int | None) -> str:
    """Bytes in at most four cells: `512B`, `6.1K`, `412K`."""
    if count is None:
        return DASH
    digits, power = _scaled(count, 1024)
    return digits + "BKMGT"[power]


def tokens(count: int | None) -> str:
    """`950`, `1.2 K`, `12 K`, `1.2 M`; nothing for None: a count nobody reported is not zero."""
    if count is None:
        return ""
    digits, power = _scaled(count, 1000)
    return f"{digits} {('', 'K', 'M', 'G', 'T')[power]}".rstrip()


def tokens_column(count: int | None) -> str:
    """As `tokens`, without the blank."""
    return tokens(count).replace(" ", "")


def total_tokens(meta: RecordMeta) -> int | None:
    """Input and output together; None if neither was reported."""
    known = [count for count in (meta.input_tokens, meta.output_tokens) if count is not None]
    return sum(known) if known else None


def thousands(count: int) -> str:
    """`1,204`."""
    return f"{count:,}"


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 record`, `1,204 records`."""
    return f"{thousands(count)} {noun if count == 1 else many or noun + 's'}"


# -- times -------------------------------------------------------------------------------


def age(then_ms: int, now_ms: int, zone: tzinfo | None = None) -> str:
    """`now`, `14s ago`, `4m ago`, `3h ago`, then the day (of `zone`, by default the local one)."""
    seconds = (now_ms - then_ms) // 1000
    if seconds < 1:
        return "now"
    if seconds < 60:
        return f"{seconds}s ago"
    if seconds < 3600:
        return f"{seconds // 60}m ago"
    if seconds < 86_400:
        return f"{seconds // 3600}h ago"
    return f"{datetime.fromtimestamp(then_ms / 1000, zone):%Y-%m-%d}"


def clock(then_ms: int, zone: tzinfo | None = None) -> str:
    """`09:38`."""
    return f"{datetime.fromtimestamp(then_ms / 1000, zone):%H:%M}"


def exact_time(then_ms: int, zone: tzinfo | None = None) -> str:
    """`2026-02-06 09:38:12.345 +0100`."""
    moment = datetime.fromtimestamp(then_ms / 1000, zone).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{then_ms % 1000:03d} {moment:%z}"


# -- statuses ----------------------------------------------------------------------------


def status_tone(status: int | None) -> Tone:
    """None, 0 and >= 500 red, >= 400 amber, 2xx green, other grey."""
    if not status or status >= 500:
        return Tone.ERROR
    if status >= 400:
        return Tone.WARNING
    return Tone.OK if 200 <= status < 300 else Tone.NEUTRAL


_GLYPHS = {Tone.OK: "✓", Tone.NEUTRAL: "✓", Tone.WARNING: "▲", Tone.ERROR: "✗"}
_CUT = (Verdict.TRUNCATED, Verdict.CLIENT_CLOSED, Verdict.UPSTREAM_CLOSED, Verdict.INTERRUPTED)


def badge(meta: RecordMeta, now_ms: int) -> tuple[str, str, Tone]:
    """(glyph, code, tone) of a row, e.g. ("✗", "529", Tone.ERROR); the clock while in flight."""
    if meta.state is State.LIVE:
        return "…", elapsed(now_ms - meta.started_ms), Tone.LIVE
    if meta.status is None:
        if meta.verdict in (Verdict.CLIENT_CLOSED, Verdict.INTERRUPTED):
            return "◐", "cut", Tone.CUT
        return "✗", "ERR", Tone.ERROR
    tone = status_tone(meta.status)
    if tone in (Tone.OK, Tone.NEUTRAL):
        if meta.verdict in _CUT:
            return "◐", "cut", Tone.CUT
        if meta.verdict is Verdict.FAILED or meta.error:
            return "◐", f"{meta.status}!", Tone.CUT
    return _GLYPHS[tone], str(meta.status), tone


def failed(meta: RecordMeta) -> bool:
    """A row that is tinted: no status, >= 400, cut, or an error said."""
    if meta.state is State.LIVE:
        return False
    return (
        not meta.status
        or meta.status >= 400
        or meta.error is not None
        or meta.verdict not in (Verdict.COMPLETE, None)
    )


_REASONS = {
    Verdict.TRUNCATED: "ended early",
    Verdict.CLIENT_CLOSED: "client closed",
    Verdict.UPSTREAM_CLOSED: "upstream closed",
    Verdict.INTERRUPTED: "interrupted",
    Verdict.FAILED: "failed",
}


def failure(meta: RecordMeta) -> str:
    """The one line that says why a row failed: the error, else the verdict's word, else nothing."""
    if not failed(meta):
        return ""
    if meta.error:
        return meta.error
    return _REASONS.get(meta.verdict, "") if meta.verdict else ""


def key_label(key: Key) -> str:
    """`laptop (3f9z)`; of a key that goes by no secret, or a short one, the name."""
    return f"{key.name} ({key.last4})" if key.last4 else key.name
