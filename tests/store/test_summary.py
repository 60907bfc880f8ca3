"""A row's facts from bounded reads: the ends of a body, and what to say where it went wrong."""

import pytest

from store.record import Headers, RecordMeta, ResponseHead, Transport, Verdict
from store.summary import Ends, Observed, summarize
from tests.store.builders import EVENTS, JSON, request_head, response_head

ID = "01JX4000000000000000000000"


UPGRADE: Headers = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
CREATE = b'{"type":"response.create","model":"m-1","input":"' + b"x" * 90_000 + b'"}'
CANCEL = b'{"type":"response.cancel","model":"wrong"}'


def delta(size: int) -> bytes:
    return b'{"type":"response.output_text.delta","output_index":0,"delta":"%s"}' % (b"d" * size)


CREATED = b'{"type":"response.created","response":{"id":"r","model":"m-2","error":null}}'
COMPLETED = (
    b'{"type":"response.completed","response":{"id":"r","model":"m-2","status":"completed",'
    b'"output":[{"type":"message","content":[{"type":"output_text","text":"%s"}]}],'
    b'"usage":{"input_tokens":7,"output_tokens":2}}}'
)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 9, 10, 11, 14, 40, 200])
@pytest.mark.parametrize("step", [1, 3, 7, 200])
def test_the_ends_of_what_passes_by(size: int, step: int) -> None:
    data = bytes(index % 251 for index in range(size))
    ends = Ends(head=4, tail=6)
    for start in range(0, size, step):
        ends.feed(data[start : start + step])

    assert data[:4] == ends.head
    assert data[4:][-6:] == ends.tail
    assert (size <= 10, size) == (ends.whole, ends.length)
    assert not ends.whole or data == ends.head + ends.tail


@pytest.mark.check(32, 34, 35)
@pytest.mark.parametrize(
    ("status", "headers", "body", "transport", "told", "verdict", "error"),
    [
        (200, JSON, b'{"model":"m-2"}', Transport.COMPLETE, None, Verdict.COMPLETE, None),
        (200, JSON, b'{"model":"m', Transport.COMPLETE, None, Verdict.TRUNCATED, None),
        (200, JSON, b"", Transport.COMPLETE, None, Verdict.COMPLETE, None),
        (
            200,
            JSON,
            b'{"model":"m',
            Transport.UPSTREAM_CLOSED,
            "cut\nshort",
            Verdict.UPSTREAM_CLOSED,
            "cut short",
        ),
        (200, EVENTS, b"data: x\n\n", Transport.COMPLETE, None, Verdict.TRUNCATED, None),
        (529, (), b"", Transport.COMPLETE, None, Verdict.FAILED, "HTTP 529 OK"),
        (None, (), b"", Transport.UPSTREAM_ERROR, "refused", Verdict.FAILED, "refused"),
    ],
)
def test_how_it_ended(
    status: int | None,
    headers: Headers,
    body: bytes,
    transport: Transport,
    told: str | None,
    verdict: Verdict,
    error: str | None,
) -> None:
    response = None if status is None else response_head(status, headers)
    seen = Observed(
        ID, "k", 1_000, 70, request_head(), "messages", response, transport, told, lost_bytes=2
    )
    row = summarize(seen, [(0, b'{"model":"m-1"}')], [(9, body)] if body else [])

    assert (verdict, error, "m-1", status) == (row.verdict, row.error, row.model, row.status)
    assert (15, len(body), 2, 1_070) == (
        row.request_bytes,
        row.response_bytes,
        row.lost_bytes,
        row.completed_ms,
    )
    assert (9 if body else None) == row.ttft_ms


@pytest.mark.parametrize(
    ("status", "headers", "form"),
    [(200, EVENTS, b"data: %s\n\n"), (101, UPGRADE, b"%s")],
    ids=["stream", "messages"],
)
def test_a_stream_longer_than_what_is_decoded(
    monkeypatch: pytest.MonkeyPatch, status: int, headers: Headers, form: bytes
) -> None:
    """The bound is against bombs; a stream that was not encoded is as long as it is."""
    monkeypatch.setattr("store.summary.DECODE_LIMIT", 1_000)
    seen = Observed(
        ID,
        "k",
        0,
        9,
        request_head("/v1/responses", headers),
        "responses",
        response_head(status, headers),
        Transport.COMPLETE,
        None,
        0,
    )
    passed = [CREATED, *[delta(100)] * 3_000, COMPLETED % b"t"]

    row = summarize(seen, [(0, CREATE)], [(5, form % each) for each in passed])

    assert (Verdict.COMPLETE, 2, "m-1") == (row.verdict, row.output_tokens, row.model)


@pytest.mark.check(128)
def test_an_error_that_quotes_the_key_does_not_tell_it() -> None:
    """A list shows the error and has no request headers to know the key by."""
    refused = b'{"error":{"message":"Incorrect API key provided: sk-ant-test-0000."}}'
    seen = Observed(
        ID,
        "k",
        0,
        9,
        request_head(),
        "chat",
        response_head(401, JSON),
        Transport.COMPLETE,
        None,
        lost_bytes=0,
    )

    error = summarize(seen, [], [(5, refused)]).error

    assert error is not None
    assert error.startswith("Incorrect API key provided: ••••")
    assert "sk-ant-test-0000" not in error


def turn(
    transport: Transport, asked: list[bytes], answered: list[bytes], told: str | None = None
) -> RecordMeta:
    """The row of a turn on a WebSocket."""
    head = ResponseHead(101, "Switching Protocols", "HTTP/1.1", UPGRADE) if answered else None
    seen = Observed(
        ID,
        "k",
        0,
        99,
        request_head("/v1/responses", UPGRADE),
        "responses",
        head,
        transport,
        told,
        0,
    )
    return summarize(
        seen, [(0, each) for each in asked], [(at, each) for at, each in enumerate(answered, 5)]
    )


@pytest.mark.check(14, 34)
@pytest.mark.parametrize("deltas", [0, 3, 3_000], ids=["none", "few", "many"])
@pytest.mark.parametrize("last", [1, 100_000, 400_000], ids=["short", "long", "longer than read"])
def test_a_turn_on_a_websocket(deltas: int, last: int) -> None:
    """Messages have no framing between them; model, tokens and the end are found all the same."""
    answered = [CREATED, *[delta(100)] * deltas, COMPLETED % (b"t" * last)]
    row = turn(Transport.COMPLETE, [CREATE], answered)

    assert (Verdict.COMPLETE, None, True, 101) == (row.verdict, row.error, row.streamed, row.status)
    assert ("m-1", 7, 2) == (row.model, row.input_tokens, row.output_tokens)
    assert (len(CREATE), sum(map(len, answered)), 5) == (
        row.request_bytes,
        row.response_bytes,
        row.ttft_ms,
    )


@pytest.mark.parametrize(
    ("transport", "answered", "told", "verdict", "error"),
    [
        (Transport.CLIENT_CLOSED, [CREATED, delta(9)], "left", Verdict.CLIENT_CLOSED, "left"),
        (Transport.UPSTREAM_CLOSED, [], "gone", Verdict.UPSTREAM_CLOSED, "gone"),
        (
            Transport.COMPLETE,
            [b'{"type":"error","status":400,"error":{"code":"c","message":"no such model"}}'],
            None,
            Verdict.FAILED,
            "c: no such model",
        ),
        # Codex drops the socket once it has its answer.
        (Transport.CLIENT_CLOSED, [CREATED, COMPLETED % b"t"], "1006", Verdict.COMPLETE, None),
    ],
    ids=["cut", "cut before an answer", "an error", "left after the end"],
)
def test_how_a_turn_on_a_websocket_ends(
    transport: Transport, answered: list[bytes], told: str | None, verdict: Verdict, error: str
) -> None:
    """And what the client said behind its request does not hide the request's model."""
    row = turn(transport, [CREATE, CANCEL], answered, told)

    assert (verdict, error, "m-1") == (row.verdict, row.error, row.model)
    assert len(CREATE + CANCEL) == row.request_bytes


SESSION = b'{"type":"session.created","session":{"id":"s","model":"m-2"}}'
AUDIO = b'{"type":"response.output_audio.delta","delta":"%s"}' % (b"A" * 8_000)
TOLD_OFF = b'{"type":"error","error":{"type":"t","message":"no such tool"}}'
FIRST_MISSING = "The first 3.0 s of the session are missing: the key was off."


def said(read: int, written: int) -> bytes:
    return (
        b'{"type":"response.done","response":{"id":"r%d","status":"completed","output":[],'
        b'"usage":{"input_tokens":%d,"output_tokens":%d}}}' % (read, read, written)
    )


@pytest.mark.check(30, 33, 34, 40)
@pytest.mark.parametrize(
    ("transport", "told", "passed", "verdict", "error"),
    [
        (Transport.COMPLETE, None, [], Verdict.COMPLETE, None),
        (Transport.COMPLETE, None, [TOLD_OFF], Verdict.COMPLETE, None),
        (Transport.COMPLETE, FIRST_MISSING, [], Verdict.TRUNCATED, FIRST_MISSING),
        (Transport.CLIENT_CLOSED, "closed (1006)", [], Verdict.CLIENT_CLOSED, "closed (1006)"),
        (Transport.CLIENT_CLOSED, "closed (1006)", [TOLD_OFF], Verdict.CLIENT_CLOSED, "closed (1006)"),
        (Transport.UPSTREAM_CLOSED, "closed (1011)", [], Verdict.UPSTREAM_CLOSED, "closed (1011)"),
        (Transport.UPSTREAM_CLOSED, "closed (1008)", [TOLD_OFF], Verdict.FAILED, "t: no such tool"),
        (Transport.PROXY_SHUTDOWN, "stopped", [TOLD_OFF], Verdict.INTERRUPTED, "stopped"),
        (Transport.RECOVERED, "recovered", [], Verdict.INTERRUPTED, "recovered"),
        (Transport.KILLED, "not recordable", [], Verdict.FAILED, "not recordable"),
    ],
)  # fmt: skip
def test_a_session(
    transport: Transport, told: str | None, passed: list[bytes], verdict: Verdict, error: str | None
) -> None:
    """Its socket says how it ended; its tokens are those of all its responses, whatever lies between."""
    head = request_head("/v1/realtime?model=m-1", UPGRADE)
    response = response_head(101, UPGRADE)
    seen = Observed(ID, "k", 0, 9, head, "realtime", response, transport, told, 0)
    messages = [SESSION, said(7, 2), *[AUDIO] * 60, *passed, said(11, 3), *[AUDIO] * 60]

    row = summarize(seen, [(0, b'{"type":"session.update"}')], [(4, each) for each in messages])

    assert (verdict, error, "m-1") == (row.verdict, row.error, row.model)
    assert (18, 5, 101, True, 4) == (
        row.input_tokens,
        row.output_tokens,
        row.status,
        row.streamed,
        row.ttft_ms,
    )
    assert sum(map(len, messages)) == row.response_bytes


def test_a_refused_session() -> None:
    """An exchange like any other."""
    head = request_head("/v1/realtime?model=m-1", UPGRADE)
    body = b'{"error":{"type":"t","message":"no such key"}}'
    seen = Observed(
        ID, "k", 0, 9, head, "realtime", response_head(401, JSON), Transport.COMPLETE, None, 0
    )

    row = summarize(seen, [], [(4, body)])

    assert (Verdict.FAILED, "t: no such key", "m-1", False) == (
        row.verdict,
        row.error,
        row.model,
        row.streamed,
    )


def test_a_bug_in_reading_a_session_costs_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("collectors.facts.SessionFacts.feed", bug)
    monkeypatch.setattr("collectors.facts.SessionFacts.facts", bug)
    head = request_head("/v1/realtime?model=m-1", UPGRADE)
    response = response_head(101, UPGRADE)
    seen = Observed(ID, "k", 0, 9, head, "realtime", response, Transport.COMPLETE, None, 0)

    row = summarize(seen, [], [(4, SESSION)])

    assert (Verdict.COMPLETE, len(SESSION), None) == (row.verdict, row.response_bytes, row.error)
