"""What `flowtap search` prints of a hit, as text and as JSON (docs/json.md). Pure.

Text is escaped whoever reads it; JSON has what was captured.
"""

from typing import Any

from rich.cells import cell_len

from store.search import Hit, Progress
from tui.format import age, plural, thousands
from tui.record_json import instant
from tui.safe_text import ELLIPSIS, escape, fit, shorten

NARROWEST = 20
"""Columns that a snippet has, however narrow the terminal."""


def hit_text(hit: Hit, now_ms: int, width: int) -> str:
    """One line: id, when, model, where, and the text with what stands around it."""
    head = "  ".join(
        (
            hit.meta.id,
            f"{age(hit.meta.started_ms, now_ms):>8}",
            fit(escape(hit.meta.model or "Unknown"), 24),
            fit(where_text(hit), 27),
        )
    )
    return f"{head}  {snippet_text(hit, max(NARROWEST, width - len(head) - 2))}".rstrip()


def where_text(hit: Hit) -> str:
    """`in user`, `in tool result (sent again)`, `out text`."""
    what = hit.kind.replace("_", " ")
    if hit.where == "in" and hit.kind == "text":
        what = hit.role
    return f"{hit.where} {what}{'' if hit.new else ' (sent again)'}"


def snippet_text(hit: Hit, width: int) -> str:
    """The snippet on one line in at most `width` cells, what was found in it."""
    found = hit.snippet
    before = escape(_one_line((ELLIPSIS if found.cut_before else "") + found.before))
    match = escape(_one_line(found.match))
    after = escape(_one_line(found.after + (ELLIPSIS if found.cut_after else "")))
    room = width - cell_len(match)
    if cell_len(before) + cell_len(after) > room:
        # What stands behind it tells more: the other side keeps a third.
        for_before = max(room // 3, room - cell_len(after), 0)
        if cell_len(before) > for_before:
            before = _end(before, for_before)
    return shorten(before + match + after, width)


def _one_line(text: str) -> str:
    """Line breaks and tabs as blanks: a hit is a line."""
    return text.translate({9: " ", 10: " ", 13: " "})


def _end(text: str, width: int) -> str:
    """The last `width` cells of a safe text, the cut marked."""
    if width <= 0:
        return ""
    kept = text[-width:]
    while kept and cell_len(kept) > width - 1:
        kept = kept[1:]
    return ELLIPSIS + kept


def hit_json(hit: Hit, key_names: dict[str, str]) -> dict[str, Any]:
    """One hit for scripts."""
    found = hit.snippet
    return {
        "id": hit.meta.id,
        "key": key_names.get(hit.meta.key_id),
        "started_at": instant(hit.meta.started_ms),
        "protocol": hit.meta.protocol,
        "model": hit.meta.model,
        "where": str(hit.where),
        "role": hit.role or None,
        "kind": hit.kind,
        "new": hit.new,
        "texts": hit.texts,
        "before": found.before,
        "match": found.match,
        "after": found.after,
        "cut_before": found.cut_before,
        "cut_after": found.cut_after,
    }


def summary(hits: int, progress: Progress, *, stopped: bool) -> str:
    """What the search came to: how much was looked at."""
    said = f"{plural(hits, 'hit')} in {plural(progress.records, 'record')}"
    ruled_out = progress.records - progress.read - progress.unreadable
    if ruled_out:
        said += f", {thousands(ruled_out)} of them ruled out by the index"
    return f"{said}; stopped" if stopped else said


def unreadable(count: int) -> str:
    """What is said of records that could not be searched."""
    return f"{plural(count, 'record')} cannot be read: flowtap doctor"
