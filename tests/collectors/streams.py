"""Authored streams as bytes, and what holds for every one of them."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

from collectors.framing import EventReader
from collectors.outcome import Outcome
from collectors.protocol import AWS_EVENT_STREAM, LlmProtocol
from collectors.registry import fold
from tests.collectors.folding import events_of


def sse(items: Sequence[Any]) -> bytes:
    """Server-sent events of data, or of (name, data)."""
    lines = []
    for item in items:
        name, data = item if isinstance(item, tuple) else (None, item)
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        lines.append((f"event: {name}\n" if name else "") + f"data: {text}\n\n")
    return "".join(lines).encode()


def ndjson(items: Sequence[Any]) -> bytes:
    """One JSON value a line."""
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items).encode()


def aws_message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of Amazon's event stream."""
    packed = b""
    for name, value in headers.items():
        key = name.encode()
        packed += bytes([len(key)]) + key + b"\7" + len(value).to_bytes(2) + value.encode()
    prelude = (16 + len(packed) + len(payload)).to_bytes(4) + len(packed).to_bytes(4)
    body = prelude + zlib.crc32(prelude).to_bytes(4) + packed + payload
    return body + zlib.crc32(body).to_bytes(4)


def aws(items: Sequence[tuple[str, Any]]) -> bytes:
    """Amazon's event stream of (event type, data); a type that ends in Exception is one."""
    made = b""
    for name, data in items:
        kind = "exception" if name.endswith("Exception") else "event"
        headers = {
            f":{kind}-type": name,
            ":content-type": "application/json",
            ":message-type": kind,
        }
        made += aws_message(headers, json.dumps(data).encode())
    return made


def read_fold(
    protocol: LlmProtocol, pieces: Sequence[bytes], content_type: str | None = None
) -> Outcome:
    """The outcome of a body that came in those pieces."""
    reader = EventReader(content_type)
    events = [event for piece in pieces for event in reader.feed(0, piece)]
    return fold(protocol, [*events, *reader.close()])


def check_cut_at_every_event(protocol: LlmProtocol, items: list[Any], *, ends: int = 1) -> None:
    """Cut before each of its last `ends` events or earlier, a complete stream says truncated."""
    events = events_of(items)
    whole = fold(protocol, events)
    assert (None, False) == (whole.error, whole.truncated)
    for count in range(len(events) - ends + 1):
        outcome = fold(protocol, events[:count])
        assert outcome.truncated, count
        assert outcome.result is not None or outcome.error is not None
        assert outcome.result is None or outcome.error is None
        # An error after it is said, and what came is kept.
        error = '{"error": {"type": "t", "message": "m"}}'
        failed = fold(protocol, [*events[:count], *events_of([("error", error)])])
        assert ("t: m", True) == (failed.error, failed.truncated), count
        assert outcome.result == failed.result


def check_every_split(protocol: LlmProtocol, body: bytes, content_type: str | None) -> None:
    """In two pieces at every byte, byte by byte, and with the framing told by the bytes: one
    outcome; and cut short at every byte it is never complete."""
    whole = read_fold(protocol, [body], content_type)
    assert whole.result is not None
    assert not whole.truncated
    for cut in range(len(body)):
        assert whole == read_fold(protocol, [body[:cut], body[cut:]], content_type), cut
    assert whole == read_fold(
        protocol, [body[at : at + 1] for at in range(len(body))], content_type
    )
    assert whole == read_fold(protocol, [body], None)
    if content_type == AWS_EVENT_STREAM:
        for cut in range(len(body)):
            assert read_fold(protocol, [body[:cut]], content_type).truncated, cut
