"""Records as JSON for scripts: the schema of `ls --json`, `tail --json` and `show --json` (docs/json.md).

Pure. Secrets are masked unless revealed: the path's key, the headers that carry one, and
the credential wherever else it stands.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from collectors.encoding import decode_body
from collectors.event import Event
from collectors.framing import EventReader
from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol, is_streamed, sniff
from collectors.registry import fold, fold_body
from collectors.upstream import upstream_of
from collectors.websocket import session_events
from store.masks import credentials, mask_all, mask_header, mask_path
from store.record import Headers, Passed, Record, RecordMeta, header
from store.verification import Direction, Verification
from tui.document.turn import is_session, request_bytes


def meta_json(
    meta: RecordMeta,
    key_names: dict[str, str],
    *,
    reveal: bool = False,
    secrets: tuple[str, ...] = (),
) -> dict[str, Any]:
    """One record's row: everything but headers and bodies; `secrets` are masked wherever they stand."""
    upstream = upstream_of(meta.host)
    row = {
        "id": meta.id,
        "seq": meta.seq,
        "key": key_names.get(meta.key_id),
        "state": str(meta.state),
        "started_at": instant(meta.started_ms),
        "completed_at": None if meta.completed_ms is None else instant(meta.completed_ms),
        "method": meta.method,
        "scheme": meta.scheme,
        "host": meta.host,
        "port": meta.port,
        "path": meta.path if reveal else mask_path(meta.path),
        "upstream": {"id": upstream.id, "name": upstream.name, "kind": upstream.kind},
        "protocol": meta.protocol,
        "model": meta.model,
        "status": meta.status,
        "content_type": meta.content_type,
        "streamed": meta.streamed,
        "verdict": None if meta.verdict is None else str(meta.verdict),
        "transport": None if meta.transport is None else str(meta.transport),
        "error": meta.error,
        "input_tokens": meta.input_tokens,
        "output_tokens": meta.output_tokens,
        "cache_read_tokens": meta.cache_read_tokens,
        "cache_write_tokens": meta.cache_write_tokens,
        "reasoning_tokens": meta.reasoning_tokens,
        "request_bytes": meta.request_bytes,
        "response_bytes": meta.response_bytes,
        "lost_bytes": meta.lost_bytes,
        "ttft_ms": meta.ttft_ms,
        "duration_ms": meta.duration_ms,
        "client": meta.client,
    }
    return {name: _masked(value, secrets) for name, value in row.items()} if secrets else row


def record_json(
    record: Record,
    key_names: dict[str, str],
    *,
    reveal: bool = False,
    protocol: LlmProtocol | None = None,
) -> dict[str, Any]:
    """A whole record: row, heads, bodies (a stream as its events), and the outcome of the fold."""
    secrets = () if reveal else credentials(record.request.headers, record.request.path)
    events = events_of(record)
    outcome = outcome_of(record, events, protocol)
    response: dict[str, Any] = {"type": "none"}
    if record.response is not None:
        response = {
            "type": "bytes" if events is None else "stream",
            "status": record.response.status,
            "reason": mask_all(record.response.reason, secrets),
            "http_version": record.response.http_version,
            "headers": _headers(record.response.headers, secrets, reveal),
        }
        if events is None:
            response["body"] = _body(record.response_body.data, record.response.headers, secrets)
        else:
            response["events"] = [
                {
                    "at_ms": event.at_ms,
                    "name": event.name,
                    "from": "client" if event.from_client else "server",
                    "id": event.id,
                    "data": mask_all(event.data, secrets),
                }
                for event in events
            ]
    return meta_json(record.meta, key_names, reveal=reveal, secrets=secrets) | {
        "request": {
            "http_version": record.request.http_version,
            "headers": _headers(record.request.headers, secrets, reveal),
            "body": _body(request_bytes(record), record.request.headers, secrets),
        },
        "response": response,
        "outcome": None if outcome is None else _masked(outcome_json(outcome), secrets),
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What a fold made of a stream."""
    return {
        "result": outcome.result,
        "error": outcome.error,
        "truncated": outcome.truncated,
        "warnings": list(outcome.warnings),
    }


def verification_json(record_id: str, found: Verification) -> dict[str, Any]:
    """What `verify --json` says of a record that can be read."""
    return {
        "id": record_id,
        "result": str(found.result),
        "why": None,
        "request": _direction_json(found.request),
        "response": _direction_json(found.response),
    }


def damaged_json(record_id: str, why: str) -> dict[str, Any]:
    """And of one whose bytes are gone."""
    return {
        "id": record_id,
        "result": "damaged",
        "why": why,
        "request": None,
        "response": None,
    }


def _direction_json(found: Direction) -> dict[str, Any]:
    return {
        "result": str(found.result),
        "why": found.why or None,
        "stored": _passed_json(found.stored),
        "passed": _passed_json(found.passed),
        "file": _passed_json(found.file),
        "decoded": found.decoded,
        "first_difference": found.first_difference,
    }


def _passed_json(found: Passed | None) -> dict[str, Any] | None:
    return None if found is None else {"bytes": found.bytes, "sha256": found.sha256}


def events_of(record: Record) -> list[Event] | None:
    """The events of a streamed response in their order, or None if it was not streamed; of a session
    both sides' messages."""
    if record.response is None:
        return None
    if is_session(record):
        return session_events(record.request_body.chunks(), record.response_body.chunks())
    headers = record.response.headers
    content_type = text_header(headers, b"content-type")
    status = record.response.status
    if not is_streamed(content_type, record.request.path, status):
        return None
    reader = EventReader(content_type, text_header(headers, b"content-encoding"), status=status)
    events: list[Event] = []
    for at_ms, data in record.response_body.chunks():
        events += reader.feed(at_ms, data)
    return events + reader.close()


def outcome_of(
    record: Record, events: list[Event] | None, protocol: LlmProtocol | None = None
) -> Outcome | None:
    """The fold of the response: of its events, or of its body; None where there is nothing to fold."""
    if record.response is None:
        return None
    named = record.meta.protocol
    if protocol is None and named is not None and named in LlmProtocol:
        protocol = LlmProtocol(named)
    if events is not None:
        protocol = protocol or sniff(events)
        if protocol is None:
            return None
        return fold(protocol, (event for event in events if not event.from_client))
    headers = record.response.headers
    decoded, _ = decode_body(record.response_body.data, text_header(headers, b"content-encoding"))
    return fold_body(protocol, decoded)


def text_header(headers: Headers, name: bytes) -> str | None:
    """The first value of a header as text, or None."""
    value = header(headers, name)
    return None if value is None else value.decode("latin-1")


def instant(epoch_ms: int) -> str:
    """`2026-02-06T09:38:12.345Z`."""
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{epoch_ms % 1000:03d}Z"


def masked_bytes(data: bytes, secrets: tuple[str, ...]) -> bytes:
    """`data` with each secret overwritten: base64 hides a key from the eye, and from nobody else."""
    for secret in secrets:
        data = data.replace(secret.encode("latin-1"), b"*" * len(secret))
    return data


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """`value` with the credential masked in every text of it."""
    if isinstance(value, str):
        return mask_all(value, secrets)
    if isinstance(value, list):
        return [_masked(item, secrets) for item in value]
    if isinstance(value, dict):
        return {mask_all(name, secrets): _masked(item, secrets) for name, item in value.items()}
    return value


def _headers(headers: Headers, secrets: tuple[str, ...], reveal: bool) -> list[list[str]]:
    shown = []
    for name, value in headers:
        text = value.decode("latin-1")
        shown.append([name.decode("latin-1"), text if reveal else mask_header(name, text, secrets)])
    return shown


def _body(wire: bytes, headers: Headers, secrets: tuple[str, ...]) -> dict[str, Any]:
    """Strict UTF-8 after undoing the content-encoding, else the bytes on the wire as base64."""
    decoded, _ = decode_body(wire, text_header(headers, b"content-encoding"))
    try:
        return {"encoding": "utf8", "data": mask_all(decoded.decode(), secrets)}
    except UnicodeDecodeError:
        data = masked_bytes(wire, secrets)
        return {"encoding": "base64", "data": base64.b64encode(data).decode()}
