"""Records for the tests: one builder with honest defaults, so that a test names what it is about."""

from dataclasses import replace
from typing import Any

from store.record import (
    EMPTY,
    Body,
    Headers,
    Key,
    Record,
    RecordMeta,
    RequestHead,
    ResponseHead,
    State,
    Transport,
    Verdict,
)

NOW_MS = 1_770_000_000_000
"""A fixed clock, 2026-02-02 02:40:00 UTC."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

SECRET = "sk-ant-test-0000-not-a-real-key-AA3f9Qz1"

LAPTOP = Key("0011223344556677", "laptop", "9Qz1", 604_800, NOW_MS - 86_400_000)
CI = Key("8899aabbccddeeff", "ci", "c1c1", 3_600, NOW_MS - 86_400_000)
OFF = Key("aaaaaaaaaaaaaaaa", "old", "0ld0", None, NOW_MS - 86_400_000)


def record_id(number: int) -> str:
    """The id of the number-th record: a ULID whose order is the number's."""
    digits = ""
    for _ in range(24):
        number, low = divmod(number, 32)
        digits = ALPHABET[low] + digits
    return "01" + digits


def meta(number: int = 1, **changes: Any) -> RecordMeta:
    """A complete Messages exchange, `number` seconds into the test's time."""
    started = NOW_MS - 3_600_000 + number * 1000
    base = RecordMeta(
        id=record_id(number),
        seq=number,
        key_id=LAPTOP.id,
        state=State.DONE,
        started_ms=started,
        completed_ms=started + 8_100,
        method="POST",
        scheme="https",
        host="api.anthropic.com",
        port=443,
        path="/v1/messages?beta=true",
        protocol="messages",
        model="claude-opus-4-5",
        status=200,
        content_type="text/event-stream; charset=utf-8",
        streamed=True,
        verdict=Verdict.COMPLETE,
        transport=Transport.COMPLETE,
        error=None,
        input_tokens=81_246,
        output_tokens=855,
        cache_read_tokens=81_234,
        cache_write_tokens=0,
        reasoning_tokens=None,
        request_bytes=418_816,
        response_bytes=22_528,
        lost_bytes=0,
        ttft_ms=1_204,
        duration_ms=8_100,
    )
    return replace(base, **changes)


LIVE: dict[str, Any] = {
    "state": State.LIVE,
    "completed_ms": None,
    "verdict": None,
    "transport": None,
    "status": None,
    "content_type": None,
    "input_tokens": None,
    "output_tokens": None,
    "cache_read_tokens": None,
    "cache_write_tokens": None,
    "response_bytes": 0,
    "ttft_ms": None,
    "duration_ms": None,
}
"""What a row does not know while its exchange is in flight."""

REQUEST_HEADERS: Headers = (
    (b"host", b"api.anthropic.com"),
    (b"X-Api-Key", SECRET.encode()),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-type", b"application/json"),
)

STREAM_HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"request-id", b"req_test_0001"),
)


def body(*chunks: bytes, every_ms: int = 100) -> Body:
    """A body whose chunks arrived one after the other."""
    arrivals = tuple((every_ms * (at + 1), len(chunk)) for at, chunk in enumerate(chunks))
    return Body(b"".join(chunks), arrivals)


def record(
    row: RecordMeta | None = None,
    *,
    request_headers: Headers = REQUEST_HEADERS,
    request_body: bytes = b'{"model":"claude-opus-4-5","messages":[{"role":"user","content":"fix it"}]}',
    response_headers: Headers | None = STREAM_HEADERS,
    response_body: Body = EMPTY,
) -> Record:
    """A whole record around a row; `response_headers=None` is no response at all."""
    row = row or meta()
    response = None
    if response_headers is not None and row.status is not None:
        response = ResponseHead(row.status, "OK", "HTTP/1.1", response_headers)
    return Record(
        meta=row,
        request=RequestHead(
            row.method, row.scheme, row.host, row.port, row.path, "HTTP/1.1", request_headers
        ),
        request_body=body(request_body) if request_body else EMPTY,
        response=response,
        response_body=response_body,
    )
