"""The values of store.record to and from what lies in rows and frames. Pure.

Header bytes travel in JSON as latin-1 text: one character a byte, so nothing is lost.
Reading tolerates: an unknown field is left out, an absent one takes its default.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from store.client import client_of
from store.record import (
    Ending,
    Headers,
    Key,
    KeyKind,
    KeyRule,
    Passed,
    RecordMeta,
    RequestHead,
    ResponseHead,
    State,
    Transport,
    Verdict,
    Wire,
)

COLUMNS: tuple[str, ...] = tuple(
    field.name for field in fields(RecordMeta) if field.name != "pinned"
)
"""The columns of a row that are the record's own, in RecordMeta's order; pins are not (store.pins)."""

_encode = json.JSONEncoder(separators=(",", ":")).encode

_STORED = tuple(name for name in COLUMNS if name != "seq")
_stored_of = attrgetter(*_STORED)

_ENUMS: dict[str, type[State] | type[Verdict] | type[Transport]] = {
    "state": State,
    "verdict": Verdict,
    "transport": Transport,
}
_DIRECTIONS = ("request", "response")
_ABSENT: dict[str, Any] = {"request_bytes": 0, "response_bytes": 0, "lost_bytes": 0, "streamed": 0}


KEY_COLUMNS: tuple[str, ...] = (
    *("id", "name", "last4", "retention_s", "created_ms"),
    *("kind", "rule_name", "rule_pattern"),
)
"""The columns of a key that any side may read: the hash is not among them."""


def key_from_row(row: Sequence[Any]) -> Key:
    """A Key of a row in the order of KEY_COLUMNS; ValueError if it makes no sense."""
    key_id, name, last4, retention_s, created_ms, kind, rule_name, pattern = row
    kind = KeyKind(kind)
    rule = None if pattern is None else KeyRule(kind, rule_name or "", pattern)
    return Key(key_id, name, last4, retention_s, created_ms, kind, rule)


def meta_from_row(row: Sequence[Any], *, pinned: bool = False) -> RecordMeta:
    """A row's values, in the order of COLUMNS, as a RecordMeta."""
    return _meta(dict(zip(COLUMNS, row, strict=True)) | {"pinned": pinned})


def makes_sense(row: Sequence[Any]) -> bool:
    """Whether `meta_from_row` makes something of it."""
    try:
        meta_from_row(row)
    except (ValueError, TypeError):
        return False
    return True


def meta_values(meta: RecordMeta) -> dict[str, Any]:
    """Column values of a RecordMeta, without `seq`, which the index gives.

    Model, tokens and errors are told by the other side: what a column cannot hold becomes
    None (a number beyond 64 bits) or loses what is no text (a lone surrogate). One row that
    cannot be written would hold up every other.
    """
    return dict(zip(_STORED, map(_storable, _stored_of(meta)), strict=True))


def _storable(value: object) -> str | int | None:
    if value is None or (type(value) is str and value.isascii()):
        return value
    if type(value) is not int and isinstance(value, str):
        return str(value).encode(errors="replace").decode()
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return int(value)
    return None


def _meta(values: dict[str, Any]) -> RecordMeta:
    for name, enum in _ENUMS.items():
        values[name] = None if values[name] is None else enum(values[name])
    values["streamed"] = bool(values["streamed"])
    return RecordMeta(**values)


def pack_json(value: dict[str, Any]) -> bytes:
    """Compact JSON as bytes; lone surrogates and all."""
    return _encode(value).encode("ascii")


def unpack_json(data: bytes) -> dict[str, Any]:
    """The object in `data`; ValueError if it is anything else."""
    try:
        value = json.loads(data)
    except RecursionError as exc:
        # We wrote no such thing, but a frame behind damage may be of somebody else's making.
        raise ValueError("JSON nested too deep") from exc
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def record_json(
    meta: RecordMeta,
    request: RequestHead,
    response: ResponseHead | None,
    hashes: dict[str, str],
    wire: Wire | None = None,
    values: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything of a record but its bodies, for its RECORD frame. `hashes` are of the bodies as
    stored, `wire` of the bodies as they passed, `values` the meta_values if they are there already."""
    return {
        "meta": meta_values(meta) if values is None else values,
        "request": request_json(request),
        "response": None if response is None else response_json(response),
        "sha256": hashes,
        "wire": _wire_json(wire),
    }


def end_json(end: Ending, lost_bytes: int) -> dict[str, Any]:
    """The end of an exchange but its at_ms, for the END frame of a part."""
    return {
        "transport": str(end.transport),
        "error": end.error,
        "lost_bytes": lost_bytes,
        "wire": _wire_json(end.wire),
    }


def end_from_json(value: dict[str, Any], at_ms: int) -> Ending:
    return Ending(at_ms, Transport(value["transport"]), value["error"], wire_from_json(value))


def _wire_json(wire: Wire | None) -> dict[str, Any] | None:
    if wire is None:
        return None
    return {
        name: {"bytes": passed.bytes, "sha256": passed.sha256}
        for name, passed in zip(_DIRECTIONS, (wire.request, wire.response), strict=True)
    }


def wire_from_json(value: dict[str, Any]) -> Wire | None:
    """What passed, of a RECORD or END frame; None where that was not told, as by older versions."""
    wire: Any = value.get("wire")
    try:
        return Wire(
            *(Passed(int(wire[name]["bytes"]), str(wire[name]["sha256"])) for name in _DIRECTIONS)
        )
    except (KeyError, TypeError, ValueError):
        return None


def meta_from_json(value: dict[str, Any]) -> RecordMeta:
    """The RecordMeta of a RECORD frame, `seq` 0; raises KeyError, TypeError or ValueError if it is none."""
    stored = value["meta"]
    if "client" not in stored:
        # Of an older version's; the request's head tells it.
        stored = stored | {"client": client_of(_headers_from_json(value["request"]["headers"]))}
    return _meta(
        {name: stored.get(name, _ABSENT.get(name)) for name in COLUMNS if name != "seq"}
        | {"seq": 0}
    )


def request_json(head: RequestHead) -> dict[str, Any]:
    return {
        "method": head.method,
        "scheme": head.scheme,
        "host": head.host,
        "port": head.port,
        "path": head.path,
        "http_version": head.http_version,
        "headers": _headers_json(head.headers),
    }


def request_from_json(value: dict[str, Any]) -> RequestHead:
    return RequestHead(
        method=value["method"],
        scheme=value["scheme"],
        host=value["host"],
        port=value["port"],
        path=value["path"],
        http_version=value["http_version"],
        headers=_headers_from_json(value["headers"]),
    )


def response_json(head: ResponseHead) -> dict[str, Any]:
    return {
        "status": head.status,
        "reason": head.reason,
        "http_version": head.http_version,
        "headers": _headers_json(head.headers),
    }


def response_from_json(value: dict[str, Any]) -> ResponseHead:
    return ResponseHead(
        status=value["status"],
        reason=value["reason"],
        http_version=value["http_version"],
        headers=_headers_from_json(value["headers"]),
    )


def _headers_json(headers: Headers) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def _headers_from_json(value: list[list[str]]) -> Headers:
    # TypeError for what is no text.
    return tuple((str.encode(name, "latin-1"), str.encode(text, "latin-1")) for name, text in value)
