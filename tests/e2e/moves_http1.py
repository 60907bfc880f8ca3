"""What the two sides of an exchange do over HTTP/1 in the state table: scripts, steps, and plays.

A play takes the stage and the case's name, has both sides act, and returns what was recorded.
"""

from collections.abc import Callable

from store.record import Record
from tests.e2e.authored import event
from tests.e2e.harness import KEY, Call, Client, head, post
from tests.e2e.stage import H1, PENDING, PLAIN, REFUSED, PlainClient, Scene, Stage
from tests.e2e.upstream import Gone

type Play = Callable[[Stage, str], list[Record]]
type Up = Callable[[Call, Scene], None]
type Down = Callable[[Client, Scene], None]
type Ask = Callable[[Scene, str], bytes]

ASKED = b'{"model":"claude-test-1","stream":true,"messages":[]}'
PREFIX = ASKED[:20]
FIRST = event("message_start", {"type": "message_start", "message": {"model": "claude-test-1"}})
LAST = event("message_stop", {"type": "message_stop"})
STREAM = FIRST + LAST
JSON = b'{"type":"message","model":"claude-test-1","content":[],"stop_reason":"end_turn"}'
REFUSAL = b'{"type":"error","error":{"type":"request_too_large","message":"too large"}}'
SSE = [("content-type", "text/event-stream")]

# -- what is asked, HTTP/1 ------------------------------------------------------------------------


def whole(scene: Scene, host: str) -> bytes:
    """A whole request."""
    return post(scene.path, ASKED, host=host)


def part(scene: Scene, host: str) -> bytes:
    """A request of which more is announced than comes."""
    return post(scene.path, PREFIX, host=host, length=len(ASKED))


def chunked_part(scene: Scene, host: str) -> bytes:
    """The same with chunked framing."""
    request = post(scene.path, host=host).replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    return request + b"%x\r\n%s\r\n" % (len(PREFIX), PREFIX)


def expecting(scene: Scene, host: str) -> bytes:
    """A head that waits for 100 Continue."""
    return post(scene.path, host=host, headers=[("Expect", "100-continue")], length=len(ASKED))


def ambiguous(scene: Scene, host: str) -> bytes:
    """Both framings at once, as in request smuggling."""
    return post(scene.path, ASKED, host=host, headers=[("Transfer-Encoding", "chunked")])


def too_large(scene: Scene, host: str) -> bytes:
    """More than the proxy's limit."""
    return post(scene.path, ASKED, host=host, length=5000)


def absolute(scene: Scene, host: str) -> bytes:
    """A whole request in absolute form."""
    request = post(scene.path, ASKED, host=host)
    return request.replace(b"POST ", b"POST http://%s" % host.encode(), 1)


def hello(scene: Scene, host: str) -> bytes:
    """A WebSocket's opening, as of Codex."""
    return (
        b"GET /v1/responses?%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n"
        % (scene.path.partition("?")[2].encode(), host.encode(), KEY.encode())
    )


# -- what an HTTP/1 upstream does -----------------------------------------------------------------


def asked(then: Up) -> Up:
    """Read the whole request, say so, and go on."""

    def up(call: Call, scene: Scene) -> None:
        call.read_body()
        scene.reached.set()
        then(call, scene)

    return up


def prefix(then: Up) -> Up:
    """Read what there is of the request, say so, and go on."""

    def up(call: Call, scene: Scene) -> None:
        while PREFIX not in call.body:
            data = call.read_some()
            if not data:
                raise Gone
            call.body += data
        scene.reached.set()
        then(call, scene)

    return up


def silent(call: Call, scene: Scene) -> None:
    """Say nothing more until the proxy hangs up."""
    call.wait_closed()


def cuts(call: Call, scene: Scene) -> None:
    call.cut()


def resets(call: Call, scene: Scene) -> None:
    call.reset()


def says(data: bytes, then: Up) -> Up:
    """Raw bytes, then something else."""

    def up(call: Call, scene: Scene) -> None:
        call.send(data)
        then(call, scene)

    return up


def done(call: Call, scene: Scene) -> None:
    """Nothing more to do: ready for the next request."""


def streams(*events: bytes, then: Up = done) -> Up:
    """A chunked event stream, not ended."""

    def up(call: Call, scene: Scene) -> None:
        call.start(headers=SSE)
        for data in events:
            call.chunk(data)
        then(call, scene)

    return up


def finishes(call: Call, scene: Scene) -> None:
    call.finish()


def released(then: Up) -> Up:
    """Wait until the client's side lets it go on."""

    def up(call: Call, scene: Scene) -> None:
        scene.wait_released()
        then(call, scene)

    return up


def answers(body: bytes, status: int = 200) -> Up:
    """A whole JSON answer."""

    def up(call: Call, scene: Scene) -> None:
        call.answer(body, status, [("content-type", "application/json")])

    return up


def chunk(data: bytes, then: Up) -> Up:
    """One more chunk, then something else."""

    def up(call: Call, scene: Scene) -> None:
        call.chunk(data)
        then(call, scene)

    return up


def reads_rest(call: Call, scene: Scene) -> None:
    """The rest of the upload, after the answer; and say so."""
    while ASKED not in call.body:
        data = call.read_some()
        if not data:
            raise Gone
        call.body += data
    scene.released.set()
    call.cut()


def lengths(body: bytes, length: int) -> bytes:
    """A head that announces `length`, and that body."""
    return head(200, [*SSE, ("content-length", str(length))]) + body


# -- what an HTTP/1 client does -------------------------------------------------------------------


def waits(client: Client, scene: Scene) -> None:
    """Read until the proxy closes."""
    client.read_to_end()


def gets(mark: bytes) -> Down:
    """Read until those bytes are there."""

    def down(client: Client, scene: Scene) -> None:
        client.read_until(mark)

    return down


def when_reached(then: Down) -> Down:
    """Once the upstream has the request, or what there is of it."""

    def down(client: Client, scene: Scene) -> None:
        scene.wait_reached()
        then(client, scene)

    return down


def after(mark: bytes, then: Down) -> Down:
    """Once those bytes have come."""

    def down(client: Client, scene: Scene) -> None:
        client.read_until(mark)
        then(client, scene)

    return down


def waits_released(client: Client, scene: Scene) -> None:
    """Stay until the upstream has all it waits for."""
    scene.wait_released()


def leaves(client: Client, scene: Scene) -> None:
    client.close()


def crashes(client: Client, scene: Scene) -> None:
    client.reset()


def half_closes(client: Client, scene: Scene) -> None:
    client.half_close()
    client.read_to_end()


def releases(client: Client, scene: Scene) -> None:
    """Let the upstream go on, and read to the end."""
    scene.released.set()
    client.read_to_end()


def leaves_held(client: Client, scene: Scene) -> None:
    """Leave once the head is recorded, which is before the hook that holds it."""
    scene.live(lambda record: record.response is not None)
    client.close()


REST_AND_TRAILER = (
    b"%x\r\n%s\r\n" % (len(ASKED) - len(PREFIX), ASKED[len(PREFIX) :])
    + b"0\r\nx-checksum: 1\r\n\r\n"
)
"""The rest of what `chunked_part` began, with a field after the body."""

QUESTION = b'{"type":"response.create","response":{"model":"gpt-test-1"}}'
REPLY = b'{"type":"response.completed","response":{"status":"completed"}}'


def upgrades(call: Call, scene: Scene) -> None:
    """Accept the WebSocket, wait for one message, answer it with one."""
    call.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    call.read_some()
    call.send(bytes([0x81, len(REPLY)]) + REPLY)
    call.wait_closed()
    call.cut()


def refuses_socket(call: Call, scene: Scene) -> None:
    """No WebSocket: an answer instead."""
    call.answer(REFUSAL, 401, [("content-type", "application/json")])


BEGUN = b'{"type":"response.created","response":{"model":"gpt-test-1"}}'


def breaks_off(call: Call, scene: Scene) -> None:
    """The same, but the answer is not whole when the upstream is gone."""
    call.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    call.read_some()
    call.send(bytes([0x81, len(BEGUN)]) + BEGUN)
    scene.wait_released()
    call.cut()


def asks_on_socket(then: Down) -> Down:
    """One message up, and on once the answer has begun."""

    def down(client: Client, scene: Scene) -> None:
        client.read_until(b"\r\n\r\n")
        client.send(bytes([0x81, 0x80 | len(QUESTION)]) + bytes(4) + QUESTION)
        client.read_until(BEGUN)
        then(client, scene)
        scene.released.set()

    return down


def takes_a_turn(client: Client, scene: Scene) -> None:
    """One message each way in text frames; a mask of zeros leaves ours readable."""
    client.read_until(b"\r\n\r\n")
    client.send(bytes([0x81, 0x80 | len(QUESTION)]) + bytes(4) + QUESTION)
    client.read_until(REPLY)


def sends(data: bytes, then: Down) -> Down:
    def down(client: Client, scene: Scene) -> None:
        client.send(data)
        then(client, scene)

    return down


# -- plays ----------------------------------------------------------------------------------------


def play(
    up: Up,
    down: Down,
    *,
    ask: Ask = whole,
    rig: str = "main",
    deed: str = "",
    host: str = H1,
    recorded: bool = True,
) -> Play:
    """One exchange over HTTP/1.1; `recorded` False: none is expected, so none is waited for."""

    def run(stage: Stage, case: str) -> list[Record]:
        proxy = stage.proxy(rig)
        scene = Scene(stage, proxy, case, deed)
        stage.h1.script = stage.plain.script = lambda call: up(call, scene)
        plain = host in (PLAIN, REFUSED, PENDING)
        with PlainClient(proxy) if plain else Client(proxy, host) as client:
            client.send(ask(scene, host))
            down(client, scene)
        return stage.ended(case) if recorded else stage.none(case, proxy)

    return run


# -- no upstream ----------------------------------------------------------------------------------


def refused_connect(stage: Stage, case: str) -> list[Record]:
    """An upstream that refuses while the client asks for a tunnel: no request ever exists."""
    proxy = stage.proxy("main")
    with Client(proxy, REFUSED) as client:
        assert 502 == client.connect_status
    return stage.none(case, proxy)


def nowhere(host: str, down: Down, rig: str = "main", ask: Ask = whole) -> Play:
    """An upstream that cannot be had."""
    return play(lambda call, scene: None, down, host=host, rig=rig, ask=ask)


def pending(client: Client, scene: Scene) -> None:
    """Leave once the request is known and the connection is on its way."""
    scene.live(lambda record: True)
    client.close()
