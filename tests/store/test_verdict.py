"""The verdict's table: the protocol's word first, the connection's second."""

import pytest

from store.record import Transport, Verdict
from store.verdict import one_line, verdict_of

T, V = Transport, Verdict


@pytest.mark.parametrize(
    ("transport", "status", "streamed", "terminal", "error", "verdict"),
    [
        # The protocol said the end, whatever the connection did afterwards.
        (T.COMPLETE, 200, True, True, False, V.COMPLETE),
        (T.CLIENT_CLOSED, 200, True, True, False, V.COMPLETE),
        (T.UPSTREAM_CLOSED, 200, True, True, False, V.COMPLETE),
        (T.UPSTREAM_ERROR, 200, True, True, False, V.COMPLETE),
        (T.KILLED, 200, True, True, False, V.COMPLETE),
        (T.PROXY_SHUTDOWN, 200, True, True, False, V.COMPLETE),
        (T.RECORDER_FAILED, 200, True, True, False, V.COMPLETE),
        (T.RECOVERED, 200, True, True, False, V.COMPLETE),
        # It did not: a clean close is a cut stream all the same.
        (T.COMPLETE, 200, True, False, False, V.TRUNCATED),
        (T.CLIENT_CLOSED, 200, True, False, False, V.CLIENT_CLOSED),
        (T.UPSTREAM_CLOSED, 200, True, False, False, V.UPSTREAM_CLOSED),
        (T.UPSTREAM_ERROR, 200, True, False, False, V.FAILED),
        (T.KILLED, 200, True, False, False, V.FAILED),
        (T.PROXY_SHUTDOWN, 200, True, False, False, V.INTERRUPTED),
        (T.RECORDER_FAILED, 200, True, False, False, V.INTERRUPTED),
        (T.RECOVERED, 200, True, False, False, V.INTERRUPTED),
        # A protocol without a known end: the connection decides.
        (T.COMPLETE, 200, True, None, False, V.COMPLETE),
        (T.UPSTREAM_CLOSED, 200, True, None, False, V.UPSTREAM_CLOSED),
        # A body that is no stream.
        (T.COMPLETE, 200, False, None, False, V.COMPLETE),
        (T.COMPLETE, 204, False, None, False, V.COMPLETE),
        (T.COMPLETE, 200, False, False, False, V.TRUNCATED),
        (T.CLIENT_CLOSED, 200, False, None, False, V.CLIENT_CLOSED),
        (T.UPSTREAM_CLOSED, 200, False, None, False, V.UPSTREAM_CLOSED),
        (T.PROXY_SHUTDOWN, 200, False, None, False, V.INTERRUPTED),
        # Errors.
        (T.COMPLETE, 200, True, True, True, V.FAILED),
        (T.COMPLETE, 200, True, False, True, V.FAILED),
        (T.CLIENT_CLOSED, 200, True, False, True, V.FAILED),
        (T.COMPLETE, 200, False, None, True, V.FAILED),
        (T.COMPLETE, 429, False, None, False, V.FAILED),
        (T.COMPLETE, 529, False, None, True, V.FAILED),
        (T.COMPLETE, 500, True, True, False, V.FAILED),
        (T.CLIENT_CLOSED, 500, False, None, False, V.CLIENT_CLOSED),
        # No response at all.
        (T.COMPLETE, None, False, None, False, V.FAILED),
        (T.CLIENT_CLOSED, None, False, None, False, V.CLIENT_CLOSED),
        (T.UPSTREAM_ERROR, None, False, None, False, V.FAILED),
        (T.PROXY_SHUTDOWN, None, False, None, False, V.INTERRUPTED),
        (T.RECORDER_FAILED, None, False, None, False, V.INTERRUPTED),
        (T.RECOVERED, None, False, None, False, V.INTERRUPTED),
    ],
)
def test_verdict(
    transport: Transport,
    status: int | None,
    streamed: bool,
    terminal: bool | None,
    error: bool,
    verdict: Verdict,
) -> None:
    assert verdict is verdict_of(
        transport, status=status, streamed=streamed, terminal=terminal, protocol_error=error
    )


def test_every_transport_has_a_verdict() -> None:
    for transport in Transport:
        for terminal in (True, False, None):
            for status in (None, 200, 500):
                for error in (True, False):
                    verdict_of(
                        transport,
                        status=status,
                        streamed=True,
                        terminal=terminal,
                        protocol_error=error,
                    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("a\nb\r\n\tc", "a b c"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 499 + "…"),
        ("\u2028a\u0085b", "a b"),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert line == one_line(text)
