"""A store with one record of each kind, written as a proxy writes it, and the command run on it in this process."""

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.contract import Writer
from store.location import open_reader, open_store
from store.record import Headers, Key, RequestHead, ResponseHead, Transport, Wire

SECRET = "sk-ant-test-0000-canary-SECRET-9Qz1"
QUERY_SECRET = "AIza-test-0000-canary-QUERY-7Xw2"
COOKIE = "session=canary-COOKIE-not-for-the-screen"
CANARIES = ("canary-SECRET", "canary-QUERY", "canary-COOKIE")
"""The middle of each secret: what is left of one that is masked has none of it."""

NOW_MS = 1_770_000_000_000
"""When the records were made; the key keeps them for ten years."""

RETENTION = "3650d"

ESC = "\x1b]52;c;aGk=\x07\x1b[31m"
C1 = "\x9b31m"
BIDI = "\u202e\u2066"
HOSTILE = (*"\x1b\x07\x9b\u202e\u2066\x7f\u200b",)
"""What must never reach a terminal as it is."""

SSE = (("Content-Type", "text/event-stream"),)
JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One record to be made; None for a response is none at all."""

    path: str = "/v1/messages?beta=true"
    protocol: str = "messages"
    host: str = "api.anthropic.com"
    request_headers: tuple[tuple[str, str], ...] = ()
    request_body: bytes = b'{"model":"claude-test-1","messages":[]}'
    status: int | None = 200
    reason: str = "OK"
    response_headers: tuple[tuple[str, str], ...] = SSE
    response: Sequence[bytes] = ()
    transport: Transport = Transport.COMPLETE
    error: str | None = None
    live: bool = False


def headers(pairs: Sequence[tuple[str, str]]) -> Headers:
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)


def put(
    writer: Writer, key: Key, exchange: Exchange, started_ms: int, wire: Wire | None = None
) -> str:
    """Record it; its id. `wire`: what passed, if that is told."""
    request = RequestHead(
        "POST",
        "https",
        exchange.host,
        443,
        exchange.path,
        "HTTP/1.1",
        headers((("X-Api-Key", SECRET), ("Cookie", COOKIE), *exchange.request_headers)),
    )
    recording = writer.begin(key, started_ms, request, exchange.protocol)
    recording.request_chunk(1, exchange.request_body)
    recording.request_end(2)
    if exchange.status is not None:
        head = ResponseHead(
            exchange.status, exchange.reason, "HTTP/1.1", headers(exchange.response_headers)
        )
        recording.response_head(100, head)
        for number, chunk in enumerate(exchange.response):
            recording.response_chunk(120 + 10 * number, chunk)
    if not exchange.live:
        recording.end(900, exchange.transport, exchange.error, wire)
    return recording.id


def event(data: object) -> bytes:
    """One SSE frame of the Messages API."""
    name = data["type"] if isinstance(data, dict) else "message"
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def message(*texts: str, model: str = "claude-test-1") -> list[bytes]:
    """A whole answer of the Messages API that says that."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    usage = {"input_tokens": 20, "cache_read_input_tokens": 5, "output_tokens": 1}
    return [
        event({"type": "message_start", "message": {**start, "usage": usage}}),
        event(
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            }
        ),
        *(
            event(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": text},
                }
            )
            for text in texts
        ),
        event({"type": "content_block_stop", "index": 0}),
        event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 12},
            }
        ),
        event({"type": "message_stop"}),
    ]


EXCHANGES: dict[str, Exchange] = {
    "stream": Exchange(response=message("Hello, ", "world.")),
    "echo": Exchange(
        request_body=f'{{"model":"claude-test-1","note":"my key is {SECRET}"}}'.encode(),
        response_headers=(*SSE, ("X-Echo", f"got {SECRET}"), ("Set-Cookie", COOKIE)),
        response=message(f"Your key is {SECRET}, ", "keep it."),
    ),
    "query": Exchange(
        path=f"/v1beta/models/gemini-test:generateContent?key={QUERY_SECRET}&alt=json",
        protocol="gemini",
        host="generativelanguage.googleapis.com",
        response_headers=JSON,
        response=[f'{{"candidates":[],"note":"{QUERY_SECRET}"}}'.encode()],
    ),
    "refused": Exchange(
        path="/v1/chat/completions",
        protocol="chat",
        host="api.openai.com",
        status=401,
        reason="Unauthorized",
        response_headers=JSON,
        response=[
            json.dumps(
                {"error": {"message": f"Incorrect API key provided: {SECRET}.", "type": "auth"}}
            ).encode()
        ],
    ),
    "gzip": Exchange(
        response_headers=(*SSE, ("Content-Encoding", "gzip")),
        response=[gzip.compress(b"".join(message(f"packed {SECRET}")), mtime=0)],
    ),
    "binary": Exchange(
        path="/v1/audio/speech",
        protocol="audio",
        host="api.openai.com",
        request_body=b"\xff\xfe\x00 " + SECRET.encode(),
        response_headers=(("Content-Type", "audio/mpeg"),),
        response=[b"\xff\xfb\x90\x00" * 40],
    ),
    "cut": Exchange(
        response=message("Half an ans")[:3],
        transport=Transport.UPSTREAM_CLOSED,
        error="server closed connection",
    ),
    "silent": Exchange(status=None, transport=Transport.UPSTREAM_ERROR, error="connection refused"),
    "hostile": Exchange(
        path=f"/v1/messages?{ESC}{C1}",
        request_headers=((f"X-{C1}", f"{ESC}{C1}"),),
        request_body=json.dumps({"model": f"m{ESC}{BIDI}"}, ensure_ascii=False).encode(),
        reason=f"{ESC}{C1}",
        response_headers=(*SSE, ("X-Evil", f"{ESC}{C1}")),
        response=message(f"a{ESC}{C1}{BIDI}\x7f\u200b", model=f"m{ESC}{BIDI}"),
    ),
    "hostile-json": Exchange(
        path=f"/v1/messages?{ESC}",
        response_headers=(("Content-Type", f"application/json; {C1}"),),
        response=[f"not json {ESC}{C1}{BIDI}\x7f\u200b".encode()],
    ),
    "hostile-error": Exchange(
        path="/v1/messages",
        status=529,
        response_headers=JSON,
        response=[
            json.dumps(
                {"type": "error", "error": {"type": "e", "message": f"{ESC}{C1}{BIDI}"}},
                ensure_ascii=False,
            ).encode()
        ],
    ),
    "live": Exchange(response=message("Still ", "going")[:3], live=True),
}


class Stage:
    """A store with a key `work` that has every exchange, and a key `idle` that is off."""

    def __init__(self, root: Path) -> None:
        self.root = root
        store = open_store(str(root))
        self.key = store.add_key("work", SECRET, 315_360_000)
        store.add_key("idle", "sk-ant-test-0000-idle-idle-idle")
        self.writer = store.writer()
        store.close()
        self.writer.announce("127.0.0.1:9")
        # The key ring of the writer was read when it started: the key was there already.
        self.ids = {
            name: put(self.writer, self.key, exchange, NOW_MS + 1000 * number)
            for number, (name, exchange) in enumerate(EXCHANGES.items())
        }

    def settled(self) -> bool:
        """All of it can be read: the ended are done, of the live one there is some answer."""
        reader = open_reader(str(self.root))
        try:
            states = {meta.id: str(meta.state) for meta in reader.records()}
            live = reader.get(self.ids["live"]) if self.ids["live"] in states else None
        finally:
            reader.close()
        done = [name for name, key in self.ids.items() if states.get(key) == "done"]
        return (
            len(done) == len(EXCHANGES) - 1
            and live is not None
            and len(live.response_body.arrivals) == len(EXCHANGES["live"].response)
        )

    def close(self) -> None:
        self.writer.close()


def listing(root: Path) -> dict[str, tuple[int, str]]:
    """Every file under a folder: mode and content. SQLite's shared memory is no content."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir():
            found[name] = (path.stat().st_mode, "")
        elif not name.endswith(("-shm", "-wal")):
            found[name] = (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def is_root() -> bool:
    """Nothing is unwritable then."""
    return os.geteuid() == 0
