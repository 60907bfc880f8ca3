"""What a row says of an exchange, from bounded reads of its bodies. Pure: chunks in, RecordMeta out.

This runs in the proxy's process, beside its loop, so no body is parsed whole when it is
large: the first and last stretch of it, decoded, tell model, tokens and the terminal event.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from collectors import facts
from collectors.encoding import Decoder
from collectors.protocol import (
    JSON,
    SESSIONS,
    WEBSOCKET,
    LlmProtocol,
    asks_for_websocket,
    framing_of,
    is_streamed,
)
from store.client import client_of
from store.masks import credentials, mask_all
from store.record import (
    Headers,
    RecordMeta,
    RequestHead,
    ResponseHead,
    State,
    Transport,
    header,
)
from store.verdict import one_line, verdict_of

HEAD_BYTES = 32 * 1024
TAIL_BYTES = 256 * 1024
"""The terminal event of Responses repeats the whole answer, so the end gets the larger share."""

DECODE_LIMIT = 64 * 1024 * 1024
"""A compressed stream is decoded only to look at its ends; a bomb stops here."""


RUN_BYTES = 256 * 1024
"""Chunks are looked at in runs of about that size, not one by one."""


class Ends:
    """The first and the last stretch of bytes that pass by, in bounded memory."""

    def __init__(self, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._head_size = head
        self._tail_size = tail
        self._head = bytearray()
        self._tail = bytearray()
        self.length = 0

    def feed(self, data: bytes) -> None:
        """Let bytes pass."""
        self.length += len(data)
        room = self._head_size - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._tail_size :]
        # Cut only when it has doubled, so that small chunks do not each move the whole tail.
        if len(self._tail) > 2 * self._tail_size:
            del self._tail[: -self._tail_size]

    @property
    def whole(self) -> bool:
        """Nothing is missing between head and tail."""
        return self.length <= self._head_size + min(len(self._tail), self._tail_size)

    @property
    def head(self) -> bytes:
        return bytes(self._head)

    @property
    def tail(self) -> bytes:
        """The last bytes, beginning after the head at the earliest."""
        return bytes(self._tail[-self._tail_size :])


@dataclass(frozen=True, slots=True)
class Observed:
    """What the recording side knows when an exchange is over."""

    id: str
    key_id: str
    started_ms: int
    ended_at_ms: int
    request: RequestHead
    protocol: str | None
    response: ResponseHead | None
    transport: Transport
    error: str | None
    lost_bytes: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What the body of a request says."""

    model: str | None
    bytes: int


def asked(request: RequestHead, protocol: str | None, chunks: Iterable[tuple[int, bytes]]) -> Asked:
    """The model that the request names, and its size; the chunks are read once."""
    ends, size = _pass(chunks, request.headers)
    return Asked(_model(request.path, _protocol(protocol), ends), size)


def summarize(
    seen: Observed,
    request_chunks: Iterable[tuple[int, bytes]],
    response_chunks: Iterable[tuple[int, bytes]],
    known: Asked | None = None,
) -> RecordMeta:
    """The finished record's row; each chunk source is read once, the request's only if what it
    asked is not `known`."""
    request = known or asked(seen.request, seen.protocol, request_chunks)
    ttft_ms: int | None = None
    ends = Ends()
    response_bytes = 0
    response = seen.response
    status = None if response is None else response.status
    content_type = _content_type(response)
    # Each chunk of a WebSocket's turn is a message: read one a line they are JSON values, whose
    # bounds can be found from the middle.
    messages = framing_of(content_type, status) == WEBSOCKET
    protocol = _protocol(seen.protocol)
    session = facts.SessionFacts(protocol) if messages and protocol in SESSIONS else None
    decoder = _decoder(response.headers if response and not messages else ())
    chunks = iter(response_chunks)
    if (first := next(chunks, None)) is not None:
        ttft_ms = first[0]
        chunks = chain((first,), chunks)
    for data in (data for _, data in chunks) if messages else _runs(chunks):
        response_bytes += len(data)
        if session is not None:
            # A bug there must not keep the bytes from being stored: the row says less.
            with contextlib.suppress(Exception):
                session.feed(data)
            continue
        ends.feed(decoder.feed(data))
        if messages:
            ends.feed(b"\n")
    ends.feed(decoder.close())

    streamed = is_streamed(content_type, seen.request.path, status)
    if session is None:
        told = _facts(protocol, JSON if messages else content_type, streamed, ends)
        terminal = _terminal(told, streamed=streamed, length=ends.length)
        failed = told.error is not None
    else:
        # It ends with its socket, whose goodbye says that it was whole, unless its beginning is
        # missing, which the error says. Most errors leave it open: they count if the upstream left.
        told = _session_facts(session)
        terminal = None if seen.error is None else False
        failed = told.error is not None and seen.transport in _UPSTREAM_LEFT
    verdict = verdict_of(
        seen.transport,
        status=status,
        streamed=streamed,
        terminal=terminal,
        protocol_error=failed,
    )
    return RecordMeta(
        id=seen.id,
        seq=0,
        key_id=seen.key_id,
        state=State.DONE,
        started_ms=seen.started_ms,
        completed_ms=seen.started_ms + seen.ended_at_ms,
        method=seen.request.method,
        scheme=seen.request.scheme,
        host=seen.request.host,
        port=seen.request.port,
        path=seen.request.path,
        protocol=seen.protocol,
        model=request.model or told.model,
        status=status,
        content_type=content_type,
        streamed=streamed,
        verdict=verdict,
        transport=seen.transport,
        error=_error(
            seen,
            told.error if failed else None,
            verdict_is_good=verdict == "complete",
            status=status,
        ),
        input_tokens=told.usage.input,
        output_tokens=told.usage.output,
        cache_read_tokens=told.usage.cache_read,
        cache_write_tokens=told.usage.cache_write,
        reasoning_tokens=told.usage.reasoning,
        request_bytes=request.bytes,
        response_bytes=response_bytes,
        lost_bytes=seen.lost_bytes,
        ttft_ms=ttft_ms,
        duration_ms=seen.ended_at_ms,
        client=client_of(seen.request.headers),
    )


def begun(
    record_id: str,
    key_id: str,
    started_ms: int,
    request: RequestHead,
    protocol: str | None,
    response: ResponseHead | None,
    wanted: Asked | None,
) -> RecordMeta:
    """The row of a record in flight; `wanted` None until the request body is whole."""
    if wanted is None:
        wanted = asked(request, protocol, ())
    content_type = _content_type(response)
    status = None if response is None else response.status
    return RecordMeta(
        id=record_id,
        seq=0,
        key_id=key_id,
        state=State.LIVE,
        started_ms=started_ms,
        completed_ms=None,
        method=request.method,
        scheme=request.scheme,
        host=request.host,
        port=request.port,
        path=request.path,
        protocol=protocol,
        model=wanted.model,
        status=status,
        content_type=content_type,
        streamed=is_streamed(content_type, request.path, status),
        verdict=None,
        transport=None,
        error=None,
        input_tokens=None,
        output_tokens=None,
        cache_read_tokens=None,
        cache_write_tokens=None,
        reasoning_tokens=None,
        request_bytes=wanted.bytes,
        response_bytes=0,
        lost_bytes=0,
        ttft_ms=None,
        duration_ms=None,
        client=client_of(request.headers),
    )


def _pass(chunks: Iterable[tuple[int, bytes]], headers: Headers) -> tuple[Ends, int]:
    """The ends of a request's body, and its size. Of a WebSocket's turn the first message is
    looked at: it asks, those behind it steer or cancel."""
    ends = Ends()
    size = 0
    decoder = _decoder(headers)
    first_only = asks_for_websocket(headers)
    for _, data in chunks:
        if not (first_only and size):
            ends.feed(decoder.feed(data))
        size += len(data)
    ends.feed(decoder.close())
    return ends, size


def _runs(chunks: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """The bytes of the chunks, many chunks at a time: a stream has hundreds of small ones."""
    run: list[bytes] = []
    size = 0
    for _, data in chunks:
        run.append(data)
        size += len(data)
        if size >= RUN_BYTES:
            yield b"".join(run)
            run, size = [], 0
    if run:
        yield b"".join(run)


class _Plain(Decoder):
    """Of bodies that are not encoded; keeps nothing, so one serves all."""

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""


_PLAIN = _Plain(None, limit=sys.maxsize)


def _decoder(headers: Headers) -> Decoder:
    value = header(headers, b"content-encoding")
    if value is None:
        # No bomb: what is long took long to pass, and its end is still to be told.
        return _PLAIN
    return Decoder(value.decode("latin-1"), limit=DECODE_LIMIT)


def _content_type(response: ResponseHead | None) -> str | None:
    if response is None:
        return None
    value = header(response.headers, b"content-type")
    return None if value is None else value.decode("latin-1")


def _protocol(value: str | None) -> LlmProtocol | None:
    return LlmProtocol(value) if value is not None and value in LlmProtocol else None


def _model(path: str, protocol: LlmProtocol | None, ends: Ends) -> str | None:
    # Longer than its ends the body has a hole; the scans look at less than either end.
    try:
        return facts.request_model(path, protocol, ends.head + ends.tail)
    except Exception:
        # A bug there must not keep the bytes from being stored: the row says less.
        return None


def _facts(
    protocol: LlmProtocol | None, content_type: str | None, streamed: bool, ends: Ends
) -> facts.Facts:
    try:
        if streamed:
            return facts.stream_facts(
                protocol, ends.head, ends.tail, whole=ends.whole, content_type=content_type
            )
        return facts.body_facts(protocol, ends.head + ends.tail)
    except Exception:
        # As above; and what nobody could look at is not called cut.
        return facts.Facts(terminal=True)


def _session_facts(session: facts.SessionFacts) -> facts.Facts:
    try:
        return session.facts()
    except Exception:
        # As above.
        return facts.Facts()


_UPSTREAM_LEFT = (Transport.UPSTREAM_CLOSED, Transport.UPSTREAM_ERROR)


def _terminal(told: facts.Facts, *, streamed: bool, length: int) -> bool | None:
    """For the verdict. A body that is no stream has no last event: whole JSON proves nothing
    where the connection broke off, only JSON that is cut tells something."""
    if streamed:
        return told.terminal
    return None if told.terminal or not length else False


def _error(
    seen: Observed, told: str | None, *, verdict_is_good: bool, status: int | None
) -> str | None:
    """One line: what the protocol said, else how the connection broke off, else the status alone."""
    if verdict_is_good:
        # A client that leaves after the terminal event is no error.
        return None
    text = told or seen.error
    if text is None and status is not None and status >= 400:
        reason = seen.response.reason if seen.response else ""
        text = f"HTTP {status} {reason}".strip()
    if text is None:
        return None
    # An upstream that refuses a key quotes it; a list shows this line and has no headers to mask by.
    secrets = credentials(seen.request.headers, seen.request.path)
    return one_line(mask_all(text, secrets))
