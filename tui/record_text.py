"""A record as plain text for a terminal or a pipe: what `flowtap ls` and `flowtap show` print.

Pure. Every captured character goes through `escape`, so that nothing recorded can drive a terminal.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from collectors.event import Event
from collectors.outcome import Outcome
from collectors.protocol import SESSIONS, LlmProtocol
from store.masks import credentials, mask_all, mask_header, mask_path
from store.record import Headers, Record, RecordMeta, State
from tui.document.content import base64_lines, read
from tui.document.response import CLIENT, CUT_SESSION, SERVER, UNLABELED
from tui.document.turn import WARM_UP, is_session, request_bytes, warms_up
from tui.format import (
    PINNED,
    age,
    badge,
    duration,
    exact_time,
    failure,
    size_column,
    tokens_column,
)
from tui.record_json import events_of, masked_bytes, outcome_of
from tui.safe_text import escape, escape_lines, fit

TRUNCATED = "Stream truncated — terminal frame missing. Showing best-effort accumulated state."
IN_FLIGHT = "In flight: the answer so far."
NOTHING = "No data could be reconstructed from the captured events."
NO_BODY = "No response body was produced."

SAID = 160
"""Columns of a message's line; `--json` has it whole."""


def row_text(
    meta: RecordMeta,
    now_ms: int,
    width: int,
    *,
    reveal: bool = False,
) -> str:
    """One line a record: id, state, model, when, how long, how much, and the path or the error."""
    glyph, code, _ = badge(meta, now_ms)
    tokens = f"{tokens_column(meta.input_tokens)}→{tokens_column(meta.output_tokens)}"
    head = "  ".join(
        (
            f"{meta.id} {PINNED if meta.pinned else ' '}",
            fit(f"{glyph} {code}", 7),
            fit(escape(meta.model or "Unknown"), 24),
            f"{age(meta.started_ms, now_ms):>8}",
            f"{duration(meta.duration_ms):>6}",
            f"↑{size_column(meta.request_bytes):>4} ↓{size_column(meta.response_bytes):>4}",
            f"{tokens if tokens != '→' else '':>10}",
        )
    )
    reason = failure(meta)
    path = meta.path if reveal else mask_path(meta.path)
    return f"{head}  {fit(escape(f'{path} · {reason}' if reason else path), max(20, width - len(head) - 2))}".rstrip()


def record_lines(
    record: Record, *, reveal: bool = False, protocol: LlmProtocol | None = None
) -> Iterator[str]:
    """The four sections, a stream folded."""
    secrets = () if reveal else credentials(record.request.headers, record.request.path)
    meta = record.meta
    path = record.request.path if reveal else mask_path(record.request.path)
    path = mask_all(path, secrets)
    yield f"record   {meta.id}"
    yield f"started  {exact_time(meta.started_ms)}"
    verdict = meta.verdict or "in flight"
    yield f"verdict  {verdict}{f' ({meta.transport})' if meta.transport else ''}"
    if meta.pinned:
        yield f"pinned   {PINNED} kept past its retention, until flowtap unpin"
    if meta.error:
        yield f"error    {escape(mask_all(meta.error, secrets))}"
    if warms_up(record):
        yield f"{WARM_UP}  the client asked for no answer, only to prepare for its next turn"
    if meta.lost_bytes:
        yield f"lost     {meta.lost_bytes} bytes could not be kept"
    yield ""
    yield f"REQUEST  {escape(f'{meta.method} {meta.scheme}://{meta.host}{path}')} {escape(record.request.http_version)}"
    yield from _header_lines(record.request.headers, secrets, reveal)
    yield ""
    yield from _body_lines(request_bytes(record), record.request.headers, "request", secrets)
    yield ""
    if record.response is None:
        yield f"RESPONSE  {NO_BODY}"
        return
    response = record.response
    yield f"RESPONSE  {response.status} {escape(mask_all(response.reason, secrets))}  ttft {duration(meta.ttft_ms)}  total {duration(meta.duration_ms)}"
    yield from _header_lines(response.headers, secrets, reveal)
    yield ""
    events = events_of(record)
    if events is None:
        yield from _body_lines(record.response_body.data, response.headers, "response", secrets)
    else:
        yield f"{len(events)} events"
        if is_session(record):
            yield from _said_lines(events, secrets)
            yield ""
        if _in_flight(meta):
            yield IN_FLIGHT
        yield from _outcome_lines(outcome_of(record, events, protocol), secrets, meta)


def _said_lines(events: Iterable[Event], secrets: tuple[str, ...]) -> Iterator[str]:
    """What either side of a session said, a line each and cut; runs of one kind are one line, since
    audio comes in thousands of pieces."""
    for (from_client, name), run in groupby(events, lambda one: (one.from_client, one.name)):
        said = list(run)
        sign = CLIENT if from_client else SERVER
        if len(said) > 1 and name is not None:
            yield escape(f"+{said[0].at_ms:,}ms {sign} {name}  {len(said)} messages")
            continue
        for one in said:
            text = mask_all(one.data, secrets)
            line = escape(f"+{one.at_ms:,}ms {sign} {name or UNLABELED}  {text}")
            yield fit(line, SAID).rstrip()


def _in_flight(meta: RecordMeta) -> bool:
    """Still growing; the reader says INTERRUPTED of one whose proxy is gone."""
    return meta.state is State.LIVE and meta.verdict is None


def _header_lines(headers: Headers, secrets: tuple[str, ...], reveal: bool) -> Iterator[str]:
    for name, value in headers:
        text = value.decode("latin-1")
        shown = text if reveal else mask_header(name, text, secrets)
        yield escape(f"  {name.decode('latin-1')}: {shown}")


def _body_lines(
    data: bytes, headers: Headers, what: str, secrets: tuple[str, ...]
) -> Iterable[str]:
    content = read(data, headers, what, secrets)
    yield from content.notices
    if content.text is None:
        yield from base64_lines(masked_bytes(content.wire, secrets))
        return
    try:
        value = json.loads(content.text)
    except (ValueError, RecursionError):
        yield from escape_lines(content.shown())
    else:
        yield from _json_lines(value, secrets)


def _outcome_lines(
    outcome: Outcome | None, secrets: tuple[str, ...], meta: RecordMeta
) -> Iterator[str]:
    if outcome is None:
        yield "No collector for this protocol; `show --json` has the events."
        return
    if outcome.error is not None:
        yield f"Stream error: {escape(mask_all(outcome.error, secrets))}"
    elif outcome.truncated and not _in_flight(meta):
        yield CUT_SESSION if meta.protocol in SESSIONS else TRUNCATED
    for warning in outcome.warnings:
        yield f"warning: {escape(mask_all(warning, secrets))}"
    if outcome.result is None:
        yield NOTHING
    else:
        yield from _json_lines(outcome.result, secrets)


def _json_lines(value: Any, secrets: tuple[str, ...]) -> list[str]:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return escape_lines(mask_all(text, secrets))
