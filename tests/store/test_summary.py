"""A row's facts from bounded reads: the ends of a body, and what to say where it went wrong."""

import pytest

from store.record import Headers, Transport, Verdict
from store.summary import Ends, Observed, summarize
from tests.store.builders import EVENTS, JSON, request_head, response_head

ID = "01JX4000000000000000000000"


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
