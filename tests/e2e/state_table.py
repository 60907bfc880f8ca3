"""How an exchange can end, a row each: how it is driven, and what is recorded. docs/ends.md is made of it.

    python -m tests.e2e.state_table            # plays every row and shows what does not match
    python -m tests.e2e.state_table --write    # and writes docs/ends.md from what was recorded

`…` in an error stands for what differs from run to run. Rows whose numbers are alike end in the
same way, driven otherwise.
"""

import re
import sys
import tempfile
from pathlib import Path

from store.record import Record, Transport, Verdict
from tests.e2e import moves_http1 as h1
from tests.e2e import moves_http2 as h2
from tests.e2e import moves_refusals as refusals
from tests.e2e import moves_sockets as sockets
from tests.e2e.harness import head
from tests.e2e.http2 import Stream
from tests.e2e.moves_http1 import ASKED, FIRST, JSON, LAST, PREFIX, REFUSAL, STREAM
from tests.e2e.moves_stops import overdue, reloaded, stopped
from tests.e2e.stage import H1, PENDING, REFUSED, UNTRUSTED, Stage
from tests.e2e.state_row import (
    BOTH,
    CLIENT,
    CLOSED,
    COMPLETE,
    CUT_UP,
    FAULT,
    GONE,
    INFORMED,
    KILLED,
    LIMIT,
    RECOVERED,
    STOPPED,
    WATCHDOG,
    Row,
    Want,
)
from tests.e2e.state_rows_modes import MODE_ROWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ends.md"

half = h1.streams(FIRST, then=h1.silent)
all_but_end = h1.streams(FIRST, LAST, then=h1.silent)
end = b"\r\n0\r\n\r\n"
stream = h1.asked(h1.streams(FIRST, LAST, then=h1.finishes))
refusal = h1.prefix(
    h1.says(head(413, [("content-length", str(len(REFUSAL)))]) + REFUSAL, h1.reads_rest)
)

ROWS: list[Row] = [
    Row("1a", "normal", "HTTP/1.1, JSON",
        h1.play(h1.asked(h1.answers(JSON)), h1.gets(JSON)),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, JSON)),
    Row("1b", "normal", "HTTP/1.1, event stream",
        h1.play(stream, h1.gets(end)),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("1c", "normal", "HTTP/2, event stream",
        h2.play(h2.headed(FIRST, b"", LAST, then=Stream.finish), h2.ends),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("1d", "normal", "request buffered, not streamed",
        h1.play(stream, h1.gets(end), rig="buffered"),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("1e", "normal", "HTTP/2 client, HTTP/1.1 upstream",
        h2.play(h2.quiet, h2.ends, rig="lazy", host=H1, over_h1=stream),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("1f", "the stream ends without its last event", "HTTP/1.1, chunked body ended in order",
        h1.play(h1.asked(h1.streams(FIRST, then=h1.finishes)), h1.gets(end)),
        Want(COMPLETE, Verdict.TRUNCATED, 200, None, ASKED, FIRST)),
    Row("2a", "no body", "204",
        h1.play(h1.asked(h1.says(head(204, []), h1.done)), h1.gets(b"\r\n\r\n")),
        Want(COMPLETE, Verdict.COMPLETE, 204, None)),
    Row("2b", "no body", "content-length: 0",
        h1.play(h1.asked(h1.answers(b"")), h1.gets(b"\r\n\r\n")),
        Want(COMPLETE, Verdict.COMPLETE, 200, None)),
    Row("2c", "no body", "chunked, of no chunk",
        h1.play(h1.asked(h1.streams(then=h1.finishes)), h1.gets(end)),
        Want(COMPLETE, Verdict.TRUNCATED, 200, None)),
    Row("2d", "no body", "HTTP/2, END_STREAM with the head of a stream",
        h2.play(h2.at_once(h2.empty), h2.ends),
        Want(COMPLETE, Verdict.TRUNCATED, 200, None)),
    Row("3a", "client aborts its upload", "HTTP/1.1, FIN",
        h1.play(h1.prefix(h1.silent), h1.when_reached(h1.leaves), ask=h1.part),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, CUT_UP, PREFIX)),
    Row("3b", "client aborts its upload", "HTTP/1.1, RST",
        h1.play(h1.prefix(h1.silent), h1.when_reached(h1.crashes), ask=h1.part),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, CUT_UP, PREFIX)),
    Row("3c", "client aborts its upload", "HTTP/1.1 chunked, FIN",
        h1.play(h1.prefix(h1.silent), h1.when_reached(h1.leaves), ask=h1.chunked_part),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, CUT_UP, PREFIX)),
    Row("3d", "client aborts its upload", "HTTP/2, RST_STREAM",
        h2.play(h2.reached(h2.quiet), h2.cancels(), body=PREFIX, end=False, early=True),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, "stream reset by client (CANCEL)", PREFIX)),
    Row("3e", "client aborts its upload", "request buffered, not streamed",
        h1.play(h1.prefix(h1.silent), h1.leaves, ask=h1.part, rig="buffered"),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, CUT_UP, b"")),
    Row("4a", "client leaves while it waits", "HTTP/1.1, FIN",
        h1.play(h1.asked(h1.silent), h1.when_reached(h1.leaves)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, GONE)),
    Row("4b", "client leaves while it waits", "HTTP/1.1, FIN of its sending side only",
        h1.play(h1.asked(h1.silent), h1.when_reached(h1.half_closes)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, GONE)),
    Row("4c", "client leaves while it waits", "HTTP/2, RST_STREAM",
        h2.play(h2.reached(h2.quiet), h2.cancels()),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, "stream reset by client (CANCEL)")),
    Row("5a", "client leaves in mid-response", "HTTP/1.1, FIN",
        h1.play(h1.asked(half), h1.after(FIRST, h1.leaves)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, GONE, ASKED, FIRST)),
    Row("5b", "client leaves in mid-response", "HTTP/1.1, RST",
        h1.play(h1.asked(half), h1.after(FIRST, h1.crashes)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, GONE, ASKED, FIRST)),
    Row("5c", "client leaves in mid-response", "while a hook of another script awaits",
        h1.play(h1.asked(half), h1.when_reached(h1.leaves_held), deed="hold-responseheaders"),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, GONE)),
    Row("5d", "client leaves after the last event", "HTTP/1.1, FIN before the body's end",
        h1.play(h1.asked(all_but_end), h1.after(LAST, h1.leaves)),
        Want(CLIENT, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("6a", "client resets its stream", "HTTP/2, RST_STREAM in mid-response",
        h2.play(h2.headed(FIRST), h2.cancels(FIRST)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, "stream reset by client (CANCEL)", ASKED, FIRST)),
    Row("6b", "client resets its stream", "HTTP/2, RST_STREAM after the last event",
        h2.play(h2.headed(FIRST, LAST), h2.cancels(LAST)),
        Want(CLIENT, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("6c", "client resets its stream", "HTTP/2, the connection is lost",
        h2.play(h2.headed(FIRST), h2.hangs_up(FIRST)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, "peer closed connection", ASKED, FIRST)),
    Row("6d", "client resets its stream", "HTTP/2 client, HTTP/1.1 upstream",
        h2.play(h2.quiet, h2.cancels(FIRST), rig="lazy", host=H1, over_h1=h1.asked(half)),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, "stream reset by client (CANCEL)", ASKED, FIRST)),
    Row("7", "client leaves while the upstream is being connected", "plain HTTP, FIN",
        h1.nowhere(PENDING, h1.pending, ask=h1.absolute),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, GONE, b"")),
    Row("8", "upstream refuses the connection", "before the request: mitmproxy answers 502 to CONNECT",
        h1.refused_connect, None),
    Row("9a", "upstream refuses the connection", "plain HTTP",
        h1.nowhere(REFUSED, h1.waits, ask=h1.absolute),
        Want(FAULT, Verdict.FAILED, None, "[Errno 111] Connect call failed …", b"")),
    Row("9b", "upstream refuses the connection", "connection_strategy=lazy",
        h1.nowhere(REFUSED, h1.waits, rig="lazy"),
        Want(FAULT, Verdict.FAILED, None, "[Errno 111] Connect call failed …", b"")),
    Row("10", "TLS with the upstream fails", "a certificate nobody trusts",
        h1.nowhere(UNTRUSTED, h1.waits),
        Want(FAULT, Verdict.FAILED, None, "Certificate verify failed: …", b"")),
    Row("11a", "upstream closes before its head", "FIN",
        h1.play(h1.asked(h1.cuts), h1.waits),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, None, "server closed connection")),
    Row("11b", "upstream closes before its head", "RST",
        h1.play(h1.asked(h1.resets), h1.waits),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, None, "server closed connection")),
    Row("11c", "upstream closes before its head", "FIN in mid-upload",
        h1.play(h1.prefix(h1.cuts), h1.waits, ask=h1.part),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, None, "server closed connection", PREFIX)),
    Row("12", "upstream talks nonsense", "no HTTP",
        h1.play(h1.asked(h1.says(b"what?\r\n\r\n", h1.silent)), h1.waits),
        Want(FAULT, Verdict.FAILED, None, "Cannot parse HTTP response: …")),
    Row("13a", "upstream's body is cut", "content-length, FIN",
        h1.play(h1.asked(h1.says(h1.lengths(FIRST, 1000), h1.cuts)), h1.waits),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 200, CUT_UP, ASKED, FIRST)),
    Row("13b", "upstream's body is cut", "chunked, FIN",
        h1.play(h1.asked(h1.streams(FIRST, then=h1.cuts)), h1.waits),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 200, CUT_UP, ASKED, FIRST)),
    Row("13c", "upstream's body is cut", "chunked, RST after the client has it",
        h1.play(h1.asked(h1.streams(FIRST, then=h1.released(h1.resets))),
                h1.after(FIRST, h1.releases)),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 200, CUT_UP, ASKED, FIRST)),
    Row("13d", "upstream's body is cut", "chunked, a size that is none",
        h1.play(h1.asked(h1.streams(FIRST, then=h1.says(b"not a size\r\n", h1.silent))), h1.waits),
        Want(FAULT, Verdict.FAILED, 200, "HTTP/1 protocol error: …", ASKED, FIRST)),
    Row("13e", "upstream's body is cut after the last event", "chunked, FIN",
        h1.play(h1.asked(h1.streams(FIRST, LAST, then=h1.cuts)), h1.waits),
        Want(CLOSED, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("14a", "upstream resets the stream", "HTTP/2, RST_STREAM before its head",
        h2.play(h2.at_once(Stream.reset), h2.ends),
        Want(FAULT, Verdict.FAILED, None, "stream reset by upstream (INTERNAL_ERROR)")),
    Row("14b", "upstream resets the stream", "HTTP/2, RST_STREAM in mid-response",
        h2.play(h2.headed(FIRST, then=Stream.reset), h2.ends),
        Want(FAULT, Verdict.FAILED, 200, "stream reset by upstream (INTERNAL_ERROR)", ASKED, FIRST)),
    Row("14c", "upstream resets the stream", "HTTP/2, with CANCEL, which is taken for the client's",
        h2.play(h2.headed(FIRST, then=Stream.cancel), h2.ends),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 200, "stream reset by client (CANCEL)", ASKED, FIRST)),
    Row("15a", "upstream goes away", "HTTP/2, GOAWAY in mid-response",
        h2.play(h2.headed(FIRST, then=Stream.go_away), h2.ends),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 200, "HTTP/2 connection closed: …", ASKED, FIRST)),
    Row("15b", "upstream goes away", "HTTP/2, GOAWAY that would finish this stream: mitmproxy does not wait",
        h2.play(h2.goes_away_late, h2.ends_and_releases),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 200, "HTTP/2 connection closed: …", ASKED, FIRST)),
    Row("15c", "upstream goes away", "HTTP/2, the connection is lost",
        h2.play(h2.headed(FIRST, then=Stream.cut), h2.ends),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 200, "peer closed connection", ASKED, FIRST)),
    Row("16a", "a body that ends with the connection", "HTTP/1.1 without length, whole",
        h1.play(h1.asked(h1.says(head(200, h1.SSE) + STREAM, h1.cuts)), h1.waits),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("16b", "a body that ends with the connection", "HTTP/1.1 without length, cut",
        h1.play(h1.asked(h1.says(head(200, h1.SSE) + FIRST, h1.cuts)), h1.waits),
        Want(COMPLETE, Verdict.TRUNCATED, 200, None, ASKED, FIRST)),
    Row("17", "an invalid request", "two framings at once",
        h1.play(h1.asked(h1.silent), h1.waits, ask=h1.ambiguous),
        Want(KILLED, Verdict.FAILED, None, BOTH, b"")),
    Row("18", "an invalid head of the response", "two framings at once",
        h1.play(h1.asked(h1.says(head(200, [("transfer-encoding", "chunked"), ("content-length", "5")]),
                                 h1.silent)), h1.waits),
        Want(FAULT, Verdict.FAILED, 200, BOTH)),
    Row("19a", "body_size_limit", "a request beyond it",
        h1.play(h1.asked(h1.silent), h1.waits, ask=h1.too_large, rig="lazy"),
        Want(KILLED, Verdict.FAILED, None, LIMIT, b"")),
    Row("19b", "body_size_limit", "a response beyond it",
        h1.play(h1.asked(h1.says(h1.lengths(FIRST, 5000), h1.silent)), h1.waits, rig="lazy"),
        Want(KILLED, Verdict.FAILED, 200, LIMIT)),
    Row("20a", "killed", "in requestheaders",
        h1.play(h1.asked(h1.silent), h1.waits, deed="kill-requestheaders"),
        Want(KILLED, Verdict.FAILED, None, "Connection killed.", b"")),
    Row("20b", "killed", "in request, the request streamed",
        h1.play(h1.asked(half), h1.waits, deed="kill-request"),
        Want(KILLED, Verdict.FAILED, 200, "Connection killed.")),
    Row("20c", "killed", "in request, the request buffered",
        h1.play(h1.asked(half), h1.waits, deed="kill-request", rig="buffered"),
        Want(KILLED, Verdict.FAILED, None, "Connection killed.")),
    Row("20d", "killed", "in responseheaders",
        h1.play(h1.asked(half), h1.waits, deed="kill-responseheaders"),
        Want(KILLED, Verdict.FAILED, 200, "Connection killed.")),
    Row("21a", "killed in mid-stream", "takes effect at the end",
        h1.play(h1.asked(h1.streams(FIRST, then=h1.finishes)), h1.waits, deed="kill-midstream"),
        Want(KILLED, Verdict.FAILED, 200, "Connection killed.", ASKED, FIRST)),
    Row("21b", "killed in mid-stream", "after the last event: in response",
        h1.play(stream, h1.waits, deed="kill-response"),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("22a", "answer before the request is whole", "HTTP/1.1, 413; the upload is completed",
        h1.play(refusal, h1.after(REFUSAL, h1.sends(ASKED[len(PREFIX):], h1.waits_released)), ask=h1.part),
        Want(COMPLETE, Verdict.FAILED, 413, "request_too_large: too large", ASKED, REFUSAL)),
    Row("22b", "answer before the request is whole", "HTTP/2, 413; the upload is completed",
        h2.play(lambda s, scene: h2.refuses_early(s), h2.sends_rest(REFUSAL),
                body=PREFIX, end=False, early=True),
        Want(COMPLETE, Verdict.FAILED, 413, "request_too_large: too large", ASKED, REFUSAL)),
    Row("23a", "answer, and the request never whole", "HTTP/1.1, 413; the client leaves",
        h1.play(refusal, h1.after(REFUSAL, h1.leaves), ask=h1.part),
        Want(COMPLETE, Verdict.FAILED, 413, "request_too_large: too large", PREFIX, REFUSAL)),
    Row("23b", "answer, and the request never whole", "HTTP/2, 413; the client resets the stream: within 5 s",
        h2.play(lambda s, scene: h2.refuses_early(s), h2.cancels(REFUSAL),
                body=PREFIX, end=False, early=True, rig="ticking"),
        Want(COMPLETE, Verdict.FAILED, 413, "request_too_large: too large", PREFIX, REFUSAL)),
    Row("23c", "answer, and the request never whole", "HTTP/2, 413; nothing more happens: within 35 s",
        h2.play(lambda s, scene: h2.refuses_early(s), h2.stays(REFUSAL),
                body=PREFIX, end=False, early=True, rig="impatient"),
        Want(COMPLETE, Verdict.FAILED, 413, "request_too_large: too large", PREFIX, REFUSAL)),
    Row("24a", "idle beyond tcp_timeout", "waiting for the head",
        overdue("waiting"), Want(KILLED, Verdict.FAILED, None, WATCHDOG)),
    Row("24b", "idle beyond tcp_timeout", "in mid-response",
        overdue("streaming"), Want(KILLED, Verdict.FAILED, 200, WATCHDOG, ASKED, FIRST)),
    Row("24c", "idle beyond tcp_timeout", "in mid-upload",
        overdue("uploading"), Want(KILLED, Verdict.FAILED, None, WATCHDOG, PREFIX)),
    Row("24d", "idle beyond tcp_timeout", "HTTP/2, in mid-response",
        overdue("http2"), Want(KILLED, Verdict.FAILED, 200, WATCHDOG, ASKED, FIRST)),
    Row("25a", "trailers", "HTTP/1.1 response: mitmproxy's layer crashes, the client gives up",
        h1.play(h1.asked(h1.streams(FIRST, LAST, then=h1.says(b"0\r\nx-checksum: 1\r\n\r\n", h1.silent))),
                h1.after(LAST, h1.leaves)),
        Want(CLIENT, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("25b", "trailers", "HTTP/1.1 request: mitmproxy's layer crashes, the client gives up",
        h1.play(h1.prefix(h1.silent), h1.when_reached(h1.sends(h1.REST_AND_TRAILER, h1.leaves)),
                ask=h1.chunked_part),
        Want(CLIENT, Verdict.CLIENT_CLOSED, None, CUT_UP)),
    Row("25c", "trailers", "HTTP/2 response: forwarded, not stored",
        h2.play(h2.headed(FIRST, LAST, then=h2.checksums), h2.ends),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("26a", "an informational response", "HTTP/1.1 100: mitmproxy takes it for the answer",
        h1.play(h1.asked(h1.says(head(100, []) + head(200, h1.SSE), h1.silent)),
                h1.after(b" 100 ", h1.leaves)),
        Want(KILLED, Verdict.FAILED, 100, INFORMED)),
    Row("26b", "an informational response", "HTTP/1.1 103: mitmproxy takes it for the answer",
        h1.play(h1.asked(h1.says(head(103, []) + head(200, h1.SSE), h1.silent)),
                h1.after(b" 103 ", h1.leaves)),
        Want(KILLED, Verdict.FAILED, 103, INFORMED)),
    Row("26c", "an informational response", "HTTP/2 103, then 200",
        h2.play(h2.at_once(h2.informs), h2.ends),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("26d", "an informational response", "100 of mitmproxy's own, to Expect: 100-continue",
        h1.play(stream, h1.after(b" 100 ", h1.sends(ASKED, h1.gets(end))), ask=h1.expecting),
        Want(COMPLETE, Verdict.COMPLETE, 200, None, ASKED, STREAM)),
    Row("27a", "WebSocket", "a turn of the Responses API, then the client leaves",
        h1.play(h1.upgrades, h1.takes_a_turn, ask=h1.hello),
        Want(COMPLETE, Verdict.COMPLETE, 101, None, h1.QUESTION, h1.REPLY)),
    Row("27b", "WebSocket", "client leaves in mid-turn",
        h1.play(h1.breaks_off, h1.asks_on_socket(h1.leaves), ask=h1.hello),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 101, "The client closed the WebSocket (1006).",
             h1.QUESTION, h1.BEGUN)),
    Row("27c", "WebSocket", "upstream goes away in mid-turn",
        h1.play(h1.breaks_off, h1.asks_on_socket(h1.releases), ask=h1.hello),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 101, "The upstream closed the WebSocket (1006).",
             h1.QUESTION, h1.BEGUN)),
    Row("27d", "WebSocket", "the handshake is refused",
        h1.play(h1.refuses_socket, h1.gets(REFUSAL), ask=h1.hello),
        Want(COMPLETE, Verdict.FAILED, 401, "request_too_large: too large", b"", REFUSAL)),
    Row("27e", "session on a WebSocket", "the client says goodbye (1000)",
        sockets.session(sockets.hears, sockets.client(sockets.closes(1000))),
        Want(COMPLETE, Verdict.COMPLETE, 101, None, sockets.SAID, sockets.HEARD)),
    Row("27f", "session on a WebSocket", "the upstream says goodbye (1001)",
        sockets.session(sockets.closes(1001), sockets.client(sockets.hears)),
        Want(COMPLETE, Verdict.COMPLETE, 101, None, sockets.SAID, sockets.HEARD)),
    Row("27g", "session on a WebSocket", "the upstream closes it with another code (1011)",
        sockets.session(sockets.closes(1011), sockets.client(sockets.hears)),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 101, "The upstream closed the WebSocket (1011).",
             sockets.SAID, sockets.HEARD)),
    Row("27h", "session on a WebSocket", "the client leaves without a goodbye",
        sockets.session(sockets.hears, sockets.leaves),
        Want(CLIENT, Verdict.CLIENT_CLOSED, 101, "The client closed the WebSocket (1006).",
             sockets.SAID, sockets.HEARD)),
    Row("27i", "session on a WebSocket", "the upstream goes away without a goodbye",
        sockets.session(sockets.silently, sockets.client(sockets.hears)),
        Want(CLOSED, Verdict.UPSTREAM_CLOSED, 101, "The upstream closed the WebSocket (1006).",
             sockets.SAID, sockets.HEARD)),
    Row("27j", "session on a WebSocket", "the handshake is refused",
        h1.play(h1.asked(h1.says(head(401, [("content-length", str(len(REFUSAL)))]) + REFUSAL, h1.done)),
                h1.gets(REFUSAL), ask=sockets.hello),
        Want(COMPLETE, Verdict.FAILED, 401, "request_too_large: too large", b"", REFUSAL)),
    Row("27k", "session on a WebSocket", "the proxy gets SIGTERM", sockets.stopped("SIGTERM"),
        Want(STOPPED, Verdict.INTERRUPTED, 101, "The proxy was stopped.", sockets.SAID, sockets.HEARD)),
    Row("27l", "session on a WebSocket", "SIGKILL; the next start recovers", sockets.stopped("SIGKILL"),
        Want(RECOVERED, Verdict.INTERRUPTED, 101, "…", sockets.SAID, sockets.HEARD)),
    *(Row(f"28{'abcdef'[n]}", "orderly stop: SIGTERM, SIGINT or SIGHUP", how,
          stopped(("SIGTERM", "SIGINT", "SIGHUP"), position), want)
      for n, (position, how, want) in enumerate((
          ("streaming", "in mid-response",
           Want(STOPPED, Verdict.INTERRUPTED, 200, "The proxy was stopped.", ASKED, FIRST)),
          ("waiting", "waiting for the head",
           Want(STOPPED, Verdict.INTERRUPTED, None, "The proxy was stopped.")),
          ("uploading", "in mid-upload",
           Want(STOPPED, Verdict.INTERRUPTED, None, "The proxy was stopped.", PREFIX)),
          ("http2", "HTTP/2, in mid-response",
           Want(STOPPED, Verdict.INTERRUPTED, 200, "The proxy was stopped.", ASKED, FIRST)),
          ("early", "answered, the request not whole",
           Want(COMPLETE, Verdict.FAILED, 413, "request_too_large: too large", PREFIX, REFUSAL)),
          ("held", "while a hook of another script awaits",
           Want(STOPPED, Verdict.INTERRUPTED, 200, "The proxy was stopped.")),
      ))),
    Row("28g", "hot reload of the script", "in mid-response; the client gets the rest", reloaded,
        Want(STOPPED, Verdict.INTERRUPTED, 200, "The proxy was stopped.", ASKED, FIRST)),
    *(Row(f"29{'abcdef'[n]}", "SIGKILL; the next start recovers", how,
          stopped(("SIGKILL",), position), want)
      for n, (position, how, want) in enumerate((
          ("streaming", "in mid-response",
           Want(RECOVERED, Verdict.INTERRUPTED, 200, "…", ASKED, FIRST)),
          ("waiting", "waiting for the head", Want(RECOVERED, Verdict.INTERRUPTED, None, "…")),
          ("uploading", "in mid-upload", Want(RECOVERED, Verdict.INTERRUPTED, None, "…", PREFIX)),
          ("http2", "HTTP/2, in mid-response",
           Want(RECOVERED, Verdict.INTERRUPTED, 200, "…", ASKED, FIRST)),
          ("early", "answered, the request not whole",
           Want(RECOVERED, Verdict.FAILED, 413, "request_too_large: too large", PREFIX, REFUSAL)),
          ("held", "while a hook of another script awaits",
           Want(RECOVERED, Verdict.INTERRUPTED, 200, "…")),
      ))),
    Row("30a", "a bug of ours", "before the record begins: counted as lost",
        h1.play(stream, h1.gets(end), rig="raising", deed="&raise=LocalWriter.begin", recorded=False),
        None),
    Row("30b", "a bug of ours", "in mid-response; the client gets the rest",
        h1.play(stream, h1.gets(end), rig="raising", deed="&raise=LocalRecording.response_chunk"),
        Want(Transport.RECORDER_FAILED, Verdict.INTERRUPTED, 200,
             "Recording failed (ZeroDivisionError); the call went on.", ASKED, b"")),
    Row("31", "answered by another script", "in requestheaders",
        h1.play(h1.asked(h1.silent), h1.gets(b"not here"), deed="answer-requestheaders", rig="buffered"),
        Want(COMPLETE, Verdict.FAILED, 403, "HTTP 403 Forbidden", ASKED, b"not here")),
    *MODE_ROWS,
    Row("34a", "refused: flowtap_required while the store fails", "HTTP/1.1: 503, nothing upstream",
        refusals.over_http1(), None),
    Row("34b", "refused: flowtap_required while the store fails", "HTTP/2: 503, nothing upstream",
        refusals.over_http2, None),
    Row("34c", "refused: flowtap_required while the store fails",
        "the handshake of a socket that speaks in turns: 503, nothing upstream",
        refusals.over_http1(h1.hello), None),
    Row("34d", "refused: flowtap_required while the store fails",
        "the handshake of a session: 503, nothing upstream",
        refusals.over_http1(sockets.hello), None),
]  # fmt: skip


def observed(stage: Stage, row: Row) -> list[Want]:
    """Play the row; what was recorded, a value for each time it was played (nothing, or once,
    but for the rows of several signals)."""
    return [_told(record, row.want) for record in row.play(stage, row.name)]


def _told(record: Record, want: Want | None) -> Want:
    """What is the same in every run; an error that fits the wanted pattern is told as the pattern."""
    meta, error = record.meta, record.meta.error
    assert meta.transport is not None
    assert meta.verdict is not None
    assert (meta.status is None) == (record.response is None)
    if want is not None and want.error is not None and error is not None:
        pattern = ".*".join(re.escape(words) for words in want.error.split("…"))
        if re.fullmatch(pattern, error):
            error = want.error
    return Want(
        meta.transport,
        meta.verdict,
        meta.status,
        error,
        record.request_body.data,
        record.response_body.data,
    )


# -- the page -------------------------------------------------------------------------------------

INTRODUCTION = """\
# How an exchange ends

Every end that a real proxy was driven into, and what was recorded of it: exactly one record each, or none where it says so.
`transport` is how the connection ended, `verdict` what that means for the answer: the protocol's own last event comes first.
`kept` is what was stored of the bodies, byte for byte, of what had passed. `…` stands for what differs from run to run.

What is mitmproxy's own doing (15b, 24, 25, 26, 33m), and what helps: [modes.md](modes.md#where-mitmproxy-itself-ends-a-call).

Made by `python -m tests.e2e.state_table --write`; a test holds every row.

| | end | driven by | transport | verdict | status | error | kept of the request | of the response |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def extent(data: bytes, full: bytes) -> str:
    """How much of a body was kept, in words; what is no part of `full` is whole by itself."""
    if not data:
        return "-"
    return f"{len(data)} of {len(full)} bytes" if data != full and full.startswith(data) else "all"


def line(row: Row, found: Want | None) -> str:
    """A row of the page."""
    if found is None:
        cells = ["no record", "", "", "", "", ""]
    else:
        cells = [
            found.transport.value,
            found.verdict.value,
            "-" if found.status is None else str(found.status),
            found.error or "-",
            extent(found.request, ASKED),
            extent(found.response, STREAM),
        ]
    words = [row.name, row.end, row.driven, *cells]
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |\n"


def page(found: dict[str, Want | None]) -> str:
    """docs/ends.md, from what was found of each row by its name."""
    return INTRODUCTION + "".join(line(row, found[row.name]) for row in ROWS)


def main(argv: list[str]) -> int:
    """Play every row; 1 if any is not as the table says, and then nothing is written."""
    found: dict[str, Want | None] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        for row in ROWS:
            seen = observed(stage, row)
            found[row.name] = seen[0] if seen else None
            if any(each != row.want for each in seen) or bool(seen) != (row.want is not None):
                wrong.append(f"{row.name}: {seen}\n")
    sys.stdout.writelines(wrong)
    if not wrong and argv == ["--write"]:
        PAGE.write_text(page(found))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
