"""The line over an open record: which it is, how it ended, and where it stands in the list."""

from dataclasses import dataclass

from textual.content import Content

from store.record import RecordMeta
from tui import format as show
from tui.safe_text import escape, shorten

DIM = "$foreground-darken-3"

_BADGE = {
    "ok": "$success",
    "warning": "$warning",
    "error": "$error",
    "cut": "$accent",
    "live": "$foreground",
    "neutral": "$foreground-darken-3",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the line says."""

    record_id: str
    title: str = ""
    """`2 / 10`."""
    notice: str = ""
    """Why there is no document, or that it is of a record that is gone; a safe text."""
    meta: RecordMeta | None = None
    """None: the record is not loaded."""
    live: bool = False
    key_name: str = ""


def bar(told: Told, width: int) -> Content:
    """The line, `width` cells of it; what does not fit at the right is left out."""
    parts: list[tuple[str, str]] = [
        ("\u2039 ", DIM),
        (f"{told.record_id[:5]}…{told.record_id[-3:]}", DIM),
    ]
    right = told.title
    meta = told.meta
    if meta is not None and not told.notice:
        # No clock in the bar: a record in flight has its own in the list.
        glyph, code, tone = show.badge(meta, 0)
        parts.append((f"  {shorten(escape(meta.model or 'Unknown'), 32)}", "bold"))
        if not told.live:
            parts.append((f"  {glyph} {code}", _BADGE[str(tone)]))
        if meta.duration_ms is not None:
            parts.append((f"  {show.duration(meta.duration_ms)}", DIM))
        when = show.exact_time(meta.started_ms)
        right = "  ".join(part for part in (escape(told.key_name), when, told.title) if part)
    if told.notice:
        parts.append((f"  {told.notice}", "$warning"))
    left = Content.assemble(*parts)
    room = width - left.cell_length - 2
    if len(right) > room:
        right = told.title if len(told.title) <= room else ""
    gap = " " * max(1, width - left.cell_length - len(right) - 1)
    return Content.assemble(left, gap, (right, DIM))
