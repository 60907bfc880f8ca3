"""How an exchange ended, in one word: the protocol's terminal event first, the socket second.

Clients leave right after the last event, and a socket may close cleanly in mid-answer, so
what the transport says counts only where the protocol said nothing.
"""

from store.record import Transport, Verdict

_WITHOUT_TERMINAL = {
    Transport.COMPLETE: Verdict.TRUNCATED,
    Transport.CLIENT_CLOSED: Verdict.CLIENT_CLOSED,
    Transport.UPSTREAM_CLOSED: Verdict.UPSTREAM_CLOSED,
    Transport.UPSTREAM_ERROR: Verdict.FAILED,
    Transport.KILLED: Verdict.FAILED,
    Transport.PROXY_SHUTDOWN: Verdict.INTERRUPTED,
    Transport.RECORDER_FAILED: Verdict.INTERRUPTED,
    Transport.RECOVERED: Verdict.INTERRUPTED,
}


def verdict_of(
    transport: Transport,
    *,
    status: int | None,
    streamed: bool,
    terminal: bool | None,
    protocol_error: bool,
) -> Verdict:
    """The verdict.

    `terminal`: the protocol said that the answer was whole (True) or it is known that it is
    not (False); None where nothing but the connection can tell, as of a body that is no
    stream: then a complete transport is a complete exchange. `protocol_error`: an error event
    or body. `status` None: no response at all.
    """
    if status is not None and terminal and not protocol_error and status < 400:
        return Verdict.COMPLETE
    if transport is not Transport.COMPLETE:
        whole = status is not None and (protocol_error or (streamed and terminal))
        return Verdict.FAILED if whole else _WITHOUT_TERMINAL[transport]
    if status is None or status >= 400 or protocol_error:
        return Verdict.FAILED
    if terminal is False:
        return Verdict.TRUNCATED
    return Verdict.COMPLETE


def one_line(text: str, limit: int = 500) -> str:
    """`text` with white space collapsed, cut to `limit` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
