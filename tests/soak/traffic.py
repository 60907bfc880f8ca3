"""Bounded load of every kind, from a few threads: clients and the upstream's script.

Each exchange has a number, which its request's body carries, and a due time; whoever is free
takes the next. What the client saw of it goes into the ledger.
"""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable

from store.record import Transport
from tests.e2e.harness import HOSTS, OFF_KEY, UNKNOWN_KEY, Call, Client, Proxy, post
from tests.e2e.websocket import accept, connect
from tests.soak.ledger import Ledger, Sent, mark

LONG, SHORT = "long", "short"
SECRETS = {LONG: "sk-ant-test-0000-long-long", SHORT: "sk-ant-test-0000-short-one"}
"""The keys that are on: one keeps everything, the records of the other expire while it runs."""

EVENTS = 20
GAP_S = 0.03
TURNS = 3
CLIENTS = 16
"""More than are busy at once at the usual rate, so that the load does not wait for them."""

_WHOLE = frozenset({Transport.COMPLETE})
_LEFT = frozenset({Transport.CLIENT_CLOSED})
_CUT = frozenset({Transport.UPSTREAM_CLOSED, Transport.UPSTREAM_ERROR})


def play(call: Call) -> None:
    """The upstream: does what the request's `x-play` asks for."""
    kind = call.header("x-play")
    if call.header("upgrade") is not None:
        _socket(call)
        return
    call.read_body()
    if kind == "json":
        call.answer(_answer(call), headers=[("content-type", "application/json")])
        return
    call.start(headers=[("content-type", "text/event-stream; charset=utf-8")])
    events = _events()
    for number, event in enumerate(events):
        if number:
            time.sleep(GAP_S)
        if number == EVENTS // 2 and kind == "upstream cut":
            call.cut()
            return
        if number == EVENTS // 2 and kind == "client cut":
            # However slow its client is, it is the client that ends this.
            call.wait_closed()
            return
        call.chunk(event)
    call.finish()


def _answer(call: Call) -> bytes:
    filler = "z" * (200 + len(call.body) % 1800)
    value = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [{"type": "text", "text": filler}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }
    return json.dumps(value).encode()


def _events() -> list[bytes]:
    def event(name: str, **fields: object) -> bytes:
        return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n".encode()

    usage = {"input_tokens": 11, "output_tokens": 1}
    delta = {"type": "text_delta", "text": f"{random.random()} and so on, "}  # noqa: S311 - filler
    message = {"id": "msg_1", "role": "assistant", "model": "claude-test", "usage": usage}
    return [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *[event("content_block_delta", index=0, delta=delta) for _ in range(EVENTS)],
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7}),
        event("message_stop"),
    ]


def _socket(call: Call) -> None:
    server = accept(call)
    while server.hear() is not None:
        for kind in ("response.created", "response.output_text.delta", "response.completed"):
            response = {"id": "resp_1", "model": "gpt-test", "status": "completed", "output": []}
            server.say(json.dumps({"type": kind, "response": response, "delta": "a"}).encode())
    call.cut()


class Load:
    """The clients."""

    def __init__(self, proxy: Proxy, ledger: Ledger, rate: float) -> None:
        """`rate`: exchanges a second."""
        self._proxy = proxy
        self._ledger = ledger
        self._rate = rate
        self._numbers = itertools.count(1)
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._kinds = itertools.cycle(_SEQUENCE)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        self._given = 0
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more; returns when all that had begun is over."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _next(self) -> tuple[int, Callable[["_Worker", int, str], None], str] | None:
        with self._turn:
            due = self._began + self._given / self._rate
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return None
            self._given += 1
            kind = next(self._kinds)
            number = next(self._numbers)
            # A socket's turns have a number each.
            for _ in range(TURNS - 1 if kind == "socket" else 0):
                next(self._numbers)
            return number, _KINDS[kind], kind

    def _work(self) -> None:
        worker = _Worker(self._proxy, self._ledger)
        while (job := self._next()) is not None:
            number, run, kind = job
            try:
                run(worker, number, kind)
            except Exception as error:  # It is the soak's to find out, and to go on.
                self._ledger.failed(number, kind, error)
                worker.hang_up()
        worker.hang_up()


class _Worker:
    """One client with its connection, which it keeps as long as it may."""

    def __init__(self, proxy: Proxy, ledger: Ledger) -> None:
        self.proxy = proxy
        self.ledger = ledger
        self._client: Client | None = None

    def call(self, number: int, kind: str, secret: str) -> Client:
        """Send a request; the connection its answer comes on."""
        if self._client is None:
            self._client = Client(self.proxy, HOSTS[0])
        body = json.dumps(
            {
                "model": "claude-test",
                "stream": kind != "json",
                "metadata": {"user_id": mark(number)},
                "messages": [{"role": "user", "content": _said(number)}],
            }
        ).encode()
        self._client.received = b""
        self._client.send(post("/v1/messages", body, secret, headers=[("x-play", kind)]))
        return self._client

    def hang_up(self) -> None:
        """The next call takes a new connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _said(number: int) -> str:
    """Mostly short: bodies of 2 KB and more are remembered as bases of deltas, up to 48 MB of them,
    and a run that fills that memory could not tell it from a leak."""
    return "x" * (8_000 if number % 50 == 0 else number * 37 % 1_500)


def _key_of(number: int) -> str:
    return LONG if number % 2 else SHORT


def _whole(worker: _Worker, number: int, kind: str, key: str | None, secret: str) -> None:
    play = "stream" if kind == "off" else kind
    client = worker.call(number, play, secret)
    if play == "json":
        head = client.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")[0].lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(client.received) < len(head) + 4 + length:
            client.read_more()
        received = client.received[len(head) + 4 :]
    else:
        received = chunks_of(client.read_until(b"\r\n0\r\n\r\n"))
    worker.ledger.sent(number, Sent(kind, key, _WHOLE, received, True))


def _ordinary(worker: _Worker, number: int, kind: str) -> None:
    key = _key_of(number)
    _whole(worker, number, kind, key, SECRETS[key])


def _off(worker: _Worker, number: int, kind: str) -> None:
    _whole(worker, number, kind, None, OFF_KEY if number % 2 else UNKNOWN_KEY)


def _client_cut(worker: _Worker, number: int, kind: str) -> None:
    key = _key_of(number)
    client = worker.call(number, kind, SECRETS[key])
    client.read_until(b"content_block_delta")
    received = chunks_of(client.received)
    worker.hang_up()
    worker.ledger.sent(number, Sent(kind, key, _LEFT, received, False))


def _upstream_cut(worker: _Worker, number: int, kind: str) -> None:
    key = _key_of(number)
    client = worker.call(number, "upstream cut", SECRETS[key])
    received = chunks_of(client.read_to_end())
    worker.hang_up()
    worker.ledger.sent(number, Sent(kind, key, _CUT, received, False))


def _turns(worker: _Worker, number: int, kind: str) -> None:
    key = _key_of(number)
    with connect(worker.proxy, key=SECRETS[key]) as (peer, _):
        for turn in range(number, number + TURNS):
            peer.say(json.dumps({"type": "response.create", "input": mark(turn)}).encode())
            received = b"".join(peer.hear_all(3))
            worker.ledger.sent(turn, Sent(kind, key, _WHOLE, received, True))
        peer.close()


_KINDS: dict[str, Callable[[_Worker, int, str], None]] = {
    "json": _ordinary,
    "stream": _ordinary,
    "client cut": _client_cut,
    "upstream cut": _upstream_cut,
    "socket": _turns,
    "off": _off,
}

_SEQUENCE = (
    *("json", "stream", "json", "off", "json", "client cut", "json", "stream", "socket"),
    *("json", "upstream cut", "stream", "off", "json", "stream"),
)
"""The mix, in turn."""


def chunks_of(response: bytes) -> bytes:
    """The whole chunks of a raw chunked response, however far it came."""
    rest = response.partition(b"\r\n\r\n")[2]
    pieces = []
    while True:
        size, line_end, rest = rest.partition(b"\r\n")
        if not line_end or not size:
            break
        length = int(size, 16)
        if not length or len(rest) < length + 2:
            break
        pieces.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(pieces)
