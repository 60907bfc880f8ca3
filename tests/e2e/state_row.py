"""A row of the state table, and the words that many of them share."""

from dataclasses import dataclass

from store.record import Transport, Verdict
from tests.e2e.moves_http1 import ASKED, Play


@dataclass(frozen=True, slots=True)
class Want:
    """What is recorded of an exchange, as far as it is the same in every run."""

    transport: Transport
    verdict: Verdict
    status: int | None
    error: str | None
    request: bytes = ASKED
    response: bytes = b""


@dataclass(frozen=True, slots=True)
class Row:
    """One end. `want` None: there is no record."""

    name: str
    """Its number, with a letter where one end is driven in several ways."""
    end: str
    driven: str
    play: Play
    want: Want | None


COMPLETE = Transport.COMPLETE
CLIENT = Transport.CLIENT_CLOSED
CLOSED = Transport.UPSTREAM_CLOSED
FAULT = Transport.UPSTREAM_ERROR
KILLED = Transport.KILLED
STOPPED = Transport.PROXY_SHUTDOWN
RECOVERED = Transport.RECOVERED

GONE = "Client disconnected."
CUT_UP = "HTTP/1 protocol error: peer closed connection without sending complete message body (…)"
WATCHDOG = "mitmproxy closed the connection after 2 s without a byte (tcp_timeout)"
INFORMED = "mitmproxy took the informational response … for the answer, which is lost"
LIMIT = "… body exceeds mitmproxy's body_size_limit."
BOTH = "Received message with both transfer-encoding and content-length headers…"
