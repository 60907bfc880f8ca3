"""The upstream of the benches, a process of its own: TLS, HTTP/1.1, keep-alive, as cheap as asyncio has it.

    python -m tests.bench.upstream CERT.pem

Prints its port. A request says in its `x-play` what it wants:

    json            about 1 KB of JSON
    sse EVENTS GAP  so many events of Anthropic's Messages, GAP milliseconds apart (0: at once), in
                    each the time at which it was written and its number: `at=123 #4 `
"""

import asyncio
import json
import ssl
import sys
import time

_JSON = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [{"type": "text", "text": "z" * 800}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }
).encode()
_WHOLE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_1\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_JSON), _JSON)
)
_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nRequest-Id: req_1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","role":'
    b'"assistant","model":"claude-test","usage":{"input_tokens":11,"output_tokens":1}},"pad":"%s"}\n\n'
)
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"%s"}}\n\n'
)
_OPEN = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""},"pad":"%s"}\n\n'
)
_STOP = b'event: message_stop\ndata: {"type":"message_stop","pad":"%s"}\n\n'
_FIRST = (_START, _OPEN)
_FILLER = b"y" * 60


def event(number: int, count: int) -> bytes:
    """One of `count` events as a chunk, with the time of now."""
    form = _FIRST[number] if number < 2 else _DELTA
    if number == count - 1:
        form = _STOP
    data = form % (b"%s at=%d #%d " % (_FILLER, time.monotonic_ns(), number))
    return b"%x\r\n%s\r\n" % (len(data), data)


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (play := self._request()) is not None:
            what, *numbers = play.split()
            if what == b"json":
                self._transport.write(_WHOLE)
                continue
            count, gap = int(numbers[0]), float(numbers[1]) / 1000
            self._transport.write(_STREAM)
            if gap:
                self._next(0, count, gap, asyncio.get_running_loop().time())
            else:
                for number in range(count):
                    self._transport.write(event(number, count))
                self._transport.write(b"0\r\n\r\n")

    def _next(self, number: int, count: int, gap: float, began: float) -> None:
        self._transport.write(event(number, count))
        if number + 1 == count:
            self._transport.write(b"0\r\n\r\n")
            self._timer = None
            return
        # By the clock of the stream's begin: lateness does not add up.
        self._timer = asyncio.get_running_loop().call_at(
            began + (number + 1) * gap, self._next, number + 1, count, gap, began
        )

    def _request(self) -> bytes | None:
        """What the next whole request wants; None if there is none yet. Its body may be chunked:
        a proxy that streams may frame anew."""
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        if b"transfer-encoding" in fields:
            end = rest.find(b"0\r\n\r\n")
            if end < 0:
                return None
            self._buffer = rest[end + 5 :]
        else:
            length = int(fields.get(b"content-length", b"0"))
            if len(rest) < length:
                return None
            self._buffer = rest[length:]
        return fields[b"x-play"]


async def serve(certificate: str) -> None:
    """Until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        Server, "127.0.0.1", 0, ssl=context, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
