"""Records as JSON for scripts: the schema of `ls --json`, `tail --json` and `show --json` (docs/json.md).

Pure. Secrets are masked unless revealed: the path's key, the headers that carry one, and
the credential wherever else it stands.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from collectors.encoding import decode_body
from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol
from collectors.upstream import upstream_of
from store.folded import events_of as events_of
from store.folded import outcome_of as outcome_of
from store.folded import request_bytes, text_header
from store.masks import credentials, mask_all, mask_header, mask_path
from store.record import Headers, Passed, Record, RecordMeta
from store.verification import Direction, Verification


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
        "pinned": meta.pinned,
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
